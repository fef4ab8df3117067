"""Thresholds that change while processes run: every process goes by them within seconds, whatever happens meanwhile."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.stack import ValkeyServer, wait_until

from nearhit import ConfigError, Hit, Miss, MissReason, Settings, StoreUnavailableError, Thresholds, Tier
from nearhit.domain import threshold_table
from nearhit.read.live_thresholds import POLL_SECONDS
from nearhit.valkey.key_names import LogKeys

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import redis

    from tests.support.faces import Face
    from tests.support.store import Store

pytestmark = pytest.mark.usefixtures("no_immortal_keys")

CACHED = "how do i reset my password please"
ASKED = "how can i reset my password please"
"""0.87 from the cached one for hash/64."""

SECONDS = POLL_SECONDS + 8
"""Within how long a change must be seen, on a machine with more to do than this test."""


def refused(face: Face, scope: Any = None) -> Callable[[], bool]:
    def look() -> bool:
        return not face.lookup(ASKED, scope)

    return look


def test_a_raised_threshold_turns_a_hit_into_a_miss_and_back(
    face: Callable[..., Face], store: Callable[..., Store], settings: Callable[..., Settings]
) -> None:
    store().add(CACHED)
    one = face()
    assert one.warm_up()
    wait_until(lambda: bool(one.lookup(ASKED)), 10, "the entry is found")
    assert one.lookup(ASKED).threshold == 0.8
    with Thresholds(settings()) as thresholds:
        entry = thresholds.set(0.9, who="ann", why="prices")
        assert (entry.field, entry.threshold, entry.was) == ("*", 0.9, None)
        wait_until(refused(one), SECONDS, "the lookup is refused")
        miss = one.lookup(ASKED)
        assert isinstance(miss, Miss)
        assert (miss.reason, miss.threshold) == (MissReason.BELOW_THRESHOLD, 0.9)
        gauge = one.metrics.registry.get_sample_value("nearhit_threshold", {"namespace": one.metrics.namespace})
        assert gauge == 0.9
        exact = one.lookup(CACHED)
        assert isinstance(exact, Hit)
        assert exact.tier is Tier.EXACT
        assert thresholds.set(0.95).was == 0.9
        assert thresholds.unset()
        assert not thresholds.unset()
        wait_until(lambda: bool(one.lookup(ASKED)), SECONDS, "the lookup is answered again")


def test_a_tenant_and_a_scope_have_thresholds_of_their_own(
    face: Callable[..., Face], store: Callable[..., Store], settings: Callable[..., Settings]
) -> None:
    here = store()
    acme, other, model = {"tenant": "acme"}, {"tenant": "other"}, {"tenant": "acme", "model": "m"}
    for scope in (acme, other, model):
        here.add(CACHED, scope=scope)
    with Thresholds(settings()) as thresholds:
        thresholds.set(0.9, tenant="acme")
        thresholds.set(0.82, scope=model)
        assert [one.field.partition(":")[0] for one in thresholds.entries()] == ["scope", "tenant"]
        assert {thresholds.in_force(scope).threshold for scope in (acme, other, model)} == {0.9, 0.8, 0.82}
        with pytest.raises(ConfigError, match="not for both"):
            thresholds.set(0.9, scope=acme, tenant="acme")
    one = face()
    assert one.warm_up()
    wait_until(lambda: bool(one.lookup(ASKED, other)), 10, "the entry is found")
    found = {name: one.lookup(ASKED, scope) for name, scope in (("acme", acme), ("other", other), ("model", model))}
    assert {name: bool(one) for name, one in found.items()} == {"acme": False, "other": True, "model": True}
    assert [outcome.threshold for outcome in found.values()] == [0.9, 0.8, 0.82]
    many = one.run(one.cache.lookup_many([ASKED, CACHED], acme))
    assert [bool(outcome) for outcome in many] == [False, True]


def test_lookups_never_wait_for_the_entries_to_be_read(
    face: Callable[..., Face], store: Callable[..., Store], client: redis.Redis
) -> None:
    store().add(CACHED)
    one = face()
    assert one.warm_up()
    before, started = reads(client), time.monotonic()
    for _ in range(300):
        one.lookup(ASKED)
    most = 2 + (time.monotonic() - started) / POLL_SECONDS
    assert reads(client) - before <= most


def reads(client: redis.Redis) -> int:
    stats: Any = client.info("commandstats")
    return int(stats.get("cmdstat_hgetall", {}).get("calls", 0))


def test_garbage_and_low_values_on_the_server_are_counted_once_and_harm_nobody(
    face: Callable[..., Face], store: Callable[..., Store], client: redis.Redis, namespace: str
) -> None:
    store().add(CACHED)
    name = LogKeys(namespace).thresholds
    low = threshold_table.encode(threshold_table.ThresholdEntry("*", 0.1))
    client.hset(name, mapping={"*": low, "scope:x": b"\xff garbage", "tenant:y": b'{"threshold": 7}'})
    one = face()
    assert one.warm_up()

    def counted(reason: str) -> float:
        labels = {"namespace": namespace, "reason": reason}
        return one.metrics.registry.get_sample_value("nearhit_refused_thresholds_total", labels) or 0

    wait_until(lambda: (counted("unreadable"), counted("below_floor")) == (2, 1), SECONDS, "they are counted")
    far = one.lookup("how much does a new password for my account cost please")
    assert (bool(far), far.threshold) == (False, 0.8)
    client.hset(name, "scope:z", b"more")
    wait_until(lambda: counted("unreadable") == 3, SECONDS, "the new one is counted")
    assert counted("below_floor") == 1


def test_what_was_read_last_holds_while_the_log_server_is_away(
    face: Callable[..., Face], store: Callable[..., Store], settings: Callable[..., Settings], tmp_path: Path
) -> None:
    store().add(CACHED)
    with ValkeyServer(tmp_path / "log", durable=True) as log:
        with Thresholds(settings(log_url=log.url)) as thresholds:
            thresholds.set(0.9)
        one = face(log_url=log.url)
        assert one.warm_up()
        wait_until(refused(one), SECONDS, "the threshold is known")
    errors = "nearhit_errors_total"
    labels = {"namespace": one.metrics.namespace, "stage": "thresholds", "kind": "StoreUnavailableError"}
    wait_until(lambda: bool(one.metrics.registry.get_sample_value(errors, labels)), SECONDS, "the outage is counted")
    assert one.lookup(ASKED).threshold == 0.9
    with Thresholds(settings(log_url=log.url)) as thresholds, pytest.raises(StoreUnavailableError):
        thresholds.entries()
    fresh = face(log_url=log.url)
    assert fresh.warm_up()
    assert fresh.lookup(ASKED).threshold == 0.8  # the configured one, where nothing was ever read


def test_of_two_who_change_an_entry_none_is_lost_unseen(settings: Callable[..., Settings]) -> None:
    with Thresholds(settings()) as ann, Thresholds(settings()) as ben:
        values = [round(0.81 + n / 1000, 3) for n in range(20)]
        was = [(ann if n % 2 else ben).set(value).was for n, value in enumerate(values)]
        assert was == [None, *values[:-1]]


def test_a_namespace_has_a_bounded_number_of_thresholds(
    settings: Callable[..., Settings], client: redis.Redis, namespace: str
) -> None:
    entry = threshold_table.encode(threshold_table.ThresholdEntry("*", 0.9))
    name = LogKeys(namespace).thresholds
    client.hset(name, mapping={f"scope:{n}": entry for n in range(threshold_table.MAX_ENTRIES)})
    with Thresholds(settings()) as thresholds:
        with pytest.raises(ConfigError, match="1000 thresholds already"):
            thresholds.set(0.9, tenant="one too many")
        assert len(thresholds.entries()) == threshold_table.MAX_ENTRIES
    client.delete(name)


OTHER_PROCESS = """
import sys
from nearhit_worker.stack import wait_until
from nearhit import SemanticCache, Settings
url, namespace, engine = sys.argv[1:]
settings = Settings(threshold=0.8, url=url, namespace=namespace, model="hash/64", guard=False, deadline_ms=2000)
with SemanticCache(settings) as cache:
    cache.warm_up(30)
    outcomes = []
    for wanted in (True, False):
        def there():
            outcomes.append(cache.lookup("how can i reset my password please"))
            return bool(outcomes[-1]) == wanted
        wait_until(there, 60, f"a hit: {wanted}")
        print(*(["hit"] if wanted else ["miss", outcomes[-1].threshold]), flush=True)
"""


def test_another_process_goes_by_a_threshold_from_the_command_line(
    server: ValkeyServer, store: Callable[..., Store], namespace: str
) -> None:
    store().add(CACHED)
    command = [sys.executable, "-c", OTHER_PROCESS, server.url, namespace, "auto"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "hit\n"
        words = ("threshold", "set", "0.93", "--url", server.url, "--namespace", namespace, "--why", "a test")
        done = subprocess.run(
            [sys.executable, "-m", "nearhit", *words], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        assert other.stdout.readline() == "miss 0.93\n"
