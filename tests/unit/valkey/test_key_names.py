"""Key names: what lies on the servers under which name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearhit.errors import ConfigError
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
    assert (log.late("bulk"), log.expired) == ("nearhit:{shop}:late:bulk", "nearhit:{shop}:expired")
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
