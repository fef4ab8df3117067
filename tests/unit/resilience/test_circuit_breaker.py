"""Circuit breaker: opens after failures in a row, and lets one call try again."""

from __future__ import annotations

from nearhit.resilience.circuit_breaker import CircuitBreaker


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_breaker_opens_after_failures_in_a_row_and_lets_one_call_try() -> None:
    clock = Clock()
    breaker = CircuitBreaker(failures=3, cool_down_seconds=1.0, clock=clock)
    breaker.failed()
    breaker.failed()
    breaker.succeeded()
    for _ in range(3):
        assert breaker.allows()
        breaker.failed()
    assert (breaker.open, breaker.allows()) == (True, False)
    clock.now += 1.0
    assert [breaker.allows(), breaker.allows()] == [True, False]
    breaker.failed()
    clock.now += 0.9
    assert not breaker.allows()
    clock.now += 0.2
    assert breaker.allows()
    breaker.succeeded()
    assert [breaker.open, breaker.allows(), breaker.allows()] == [False, True, True]


def test_calls_that_were_under_way_together_fail_as_one() -> None:
    clock = Clock()
    breaker = CircuitBreaker(failures=3, cool_down_seconds=1.0, clock=clock)
    for expected in (False, False, True):
        began = clock.now
        clock.now += 0.25
        for _ in range(200):
            breaker.failed(began)
        assert breaker.open is expected
    assert not breaker.allows()
