from __future__ import annotations

import signal
import threading
import time

from nearhit.resilience.flag import Flag


class StoppedError(Exception):
    pass


def test_a_flag_wakes_all_who_wait() -> None:
    flag, woken = Flag(), []
    threads = [threading.Thread(target=lambda: woken.append(flag.wait(10))) for _ in range(8)]
    for thread in threads:
        thread.start()
    flag.set()
    for thread in threads:
        thread.join(10)
    assert woken == [True] * 8
    assert flag.is_set()


def test_a_cleared_flag_waits_its_time() -> None:
    flag = Flag()
    flag.set()
    flag.clear()
    started = time.monotonic()
    assert not flag.wait(0.05)
    assert time.monotonic() - started >= 0.05


def test_interrupted_waiters_keep_nobody_from_setting_it() -> None:
    def interrupt(*_: object) -> None:
        raise StoppedError

    flag, interrupts = Flag(), 0
    before = signal.signal(signal.SIGALRM, interrupt)
    end = time.monotonic() + 3.0
    try:
        while interrupts < 5_000 and time.monotonic() < end:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.00005)
                flag.wait(0.001)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except StoppedError:
                interrupts += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupts > 500
    setter = threading.Thread(target=flag.set)
    setter.start()
    setter.join(5)
    assert not setter.is_alive()
    assert flag.wait(0.0)
