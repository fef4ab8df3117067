"""Keys, backoff and breaker: small, and everything stands on them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearhit.errors import ConfigError
from nearhit.resilience.backoff import Backoff
from nearhit.resilience.circuit_breaker import CircuitBreaker
from nearhit.valkey import key_names
from nearhit.valkey.key_names import CacheKeys, LogKeys


def test_the_names_on_the_servers_are_these() -> None:
    cache, log = CacheKeys("shop", "0123456789ab"), LogKeys("shop")
    assert cache.entry("a" * 32, "b" * 32) == "nearhit:shop:0123456789ab:e:" + "a" * 32 + ":" + "b" * 32
    assert cache.index(2) == "nearhit:shop:0123456789ab:g2"
    assert (cache.changes, cache.generation) == (
        "nearhit:shop:0123456789ab:changes",
        "nearhit:shop:0123456789ab:generation",
    )
    assert (log.log("bulk"), log.retry("bulk")) == ("nearhit:{shop}:log:bulk", "nearhit:{shop}:retry:bulk")
    assert (log.wake("bulk"), log.dead) == ("nearhit:{shop}:wake:bulk", "nearhit:{shop}:dead")
    assert key_names.embedders("shop") == "nearhit:shop:embedders"


def test_a_lease_lies_in_the_hash_slot_of_its_entry() -> None:
    assert key_names.lease("nearhit:a:b:e:c:d") == "nearhit:lease:{nearhit:a:b:e:c:d}"


@given(st.from_regex("[A-Za-z0-9_.-]{1,64}", fullmatch=True), st.from_regex("[A-Za-z0-9_.-]{1,64}", fullmatch=True))
def test_two_namespaces_never_share_a_prefix(one: str, other: str) -> None:
    assert key_names.check_namespace(one) == one
    mine, theirs = CacheKeys(one, "0123456789ab").prefix, CacheKeys(other, "0123456789ab").prefix
    assert mine.startswith(theirs) is (one == other)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "{a}", "*", "é", "x" * 65, "a\n", None, 5, b"a"], ids=repr)
def test_a_namespace_that_no_key_can_hold_is_refused(name: object) -> None:
    with pytest.raises(ConfigError, match="namespace"):
        key_names.check_namespace(name)  # type: ignore[arg-type]  # what a caller may pass all the same


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 1e6))
def test_a_wait_is_never_negative_and_never_without_end(tries: int, chance: float, retry_after: float | None) -> None:
    backoff = Backoff(0.25, 60.0)
    wait = backoff.wait_seconds(tries, chance, retry_after)
    assert 0 <= wait <= 601
    if retry_after is not None:
        assert wait >= min(retry_after, 600)
    else:
        assert wait <= 60


def test_waits_double_until_the_ceiling() -> None:
    assert [Backoff(0.25, 2.0).wait_seconds(tries, 1.0) for tries in range(5)] == [0.25, 0.5, 1.0, 2.0, 2.0]


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
