"""Fills go on after exceptions that signal handlers raise in the middle of others."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nearhit_worker.stack import ValkeyServer

INTERRUPTED = """
import signal, sys, threading, time
from nearhit import FillOutcome, SemanticCache, Settings

class Interrupt(BaseException):
    pass

def interrupt(*_):
    raise Interrupt

cache = SemanticCache(Settings(
    threshold=0.8, url=sys.argv[1], broker_url="memory://", namespace="interrupts", model="hash/64",
    enqueue_deadline_ms=1_000, deadline_ms=1_000,
))
assert cache.fill("a first one", "x") is FillOutcome.ACCEPTED
signal.signal(signal.SIGALRM, interrupt)
interrupted = at = 0
end = time.monotonic() + 60
while interrupted < int(sys.argv[2]) and time.monotonic() < end:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.00001 + 0.000023 * (at % 31))
        while True:
            at += 1
            cache.fill(f"question {at % 500}", "x", ttl_seconds=60)
    except Interrupt:
        interrupted += 1
signal.setitimer(signal.ITIMER_REAL, 0)
found = []

def ask():
    for number in range(50):
        found.append(cache.fill(f"afterwards {number}", "x", ttl_seconds=60))

threads = [threading.Thread(target=ask, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(20)
print(interrupted, len(found), sum(one is FillOutcome.ACCEPTED for one in found), flush=True)
"""


def test_fills_are_accepted_after_thousands_of_interrupts(plain_server: ValkeyServer) -> None:
    command = [sys.executable, "-W", "ignore", "-c", INTERRUPTED, plain_server.url, "10000"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=150)
    assert ran.returncode == 0, ran.stderr
    interrupted, asked, accepted = map(int, ran.stdout.split())
    assert interrupted >= 3_000
    assert asked == accepted == 200
    with plain_server.client() as client:
        client.delete(*client.scan_iter("nearhit:{interrupts}:*"))
