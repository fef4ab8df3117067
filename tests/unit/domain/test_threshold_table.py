"""The table of thresholds: what is written down, who goes by it, and that no garbage and no low value comes through."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearhit.domain.hit_policy import Rules
from nearhit.domain.scope import Scope, scope_digest, tenant_digest
from nearhit.domain.threshold_table import (
    NAMESPACE,
    ThresholdEntry,
    check_bounds,
    decode,
    encode,
    in_force,
    read,
    scope_field,
    tenant_field,
)
from nearhit.errors import ConfigError
from nearhit.settings import Settings

SIMILARITIES = st.floats(min_value=0.0, max_value=1.0, exclude_min=True)
RULES = Rules(0.9, k=7)
GARBAGE = (
    *(b"", b"0.95", b"[0.95]", b"{", b"\xff\xfe", b'{"threshold": "0.95"}', b'{"threshold": true}', b"{}"),
    *(b'{"threshold": NaN}', b'{"threshold": 1e999}', b'{"threshold": -1}', b'{"threshold": 0}', b"[" * 100_000),
)


def blob(threshold: float) -> bytes:
    return encode(ThresholdEntry(NAMESPACE, threshold, when_ms=5))


@given(st.text(), SIMILARITIES, st.text(), st.text(), st.one_of(st.none(), SIMILARITIES))
def test_what_is_written_is_read(field: str, threshold: float, who: str, why: str, was: float | None) -> None:
    entry = ThresholdEntry(field, threshold, who[:50], 1_700_000_000_000, why[:50], was, "the namespace")
    found = decode(field, encode(entry))
    assert (found.threshold, found.when_ms, found.was) == (threshold, 1_700_000_000_000, was)
    assert found.who == entry.who.encode("utf-8", "replace").decode()


def test_only_the_threshold_must_be_there() -> None:
    assert decode("*", b'{"threshold": 0.95, "when_ms": "x", "was": []}') == ThresholdEntry("*", 0.95)


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda one: repr(one[:30]))
def test_garbage_is_refused_and_changes_nothing(garbage: bytes) -> None:
    with pytest.raises(ConfigError):
        decode("*", garbage)
    table = read({"*": garbage, "tenant:x": blob(0.95)}, RULES, 0.9)
    assert table.refused == {"*": "unreadable"}
    assert in_force(table.rules, "s", "", RULES) is RULES


@given(st.dictionaries(st.text(max_size=10), st.one_of(st.binary(max_size=40), SIMILARITIES.map(blob))), SIMILARITIES)
def test_no_entry_brings_a_threshold_below_the_floor(rows: dict[str, bytes], floor: float) -> None:
    rules = Rules(max(floor, 0.5))
    table = read(rows, rules, floor)
    assert all(floor <= one.threshold <= 1 for one in table.rules.values())
    assert all(field in rows for field in [*table.rules, *table.refused])


def test_an_entry_below_the_floor_is_held_at_it_and_named() -> None:
    table = read({"*": blob(0.4)}, RULES, 0.85)
    assert (table.rules["*"].threshold, table.refused) == (0.85, {"*": "below_floor"})


def test_the_most_particular_threshold_holds_and_all_else_stays_as_configured() -> None:
    scope, tenant = scope_digest(Scope(tenant="acme", model="m")), tenant_digest("acme")
    rows = {"*": blob(0.91), tenant_field(tenant): blob(0.93), scope_field(scope): blob(0.92)}
    table = read(rows, RULES, 0.9).rules
    found = [in_force(table, *whose, RULES) for whose in ((scope, tenant), ("other", tenant), ("other", ""))]
    assert [one.threshold for one in found] == [0.92, 0.93, 0.91]
    assert [one.origin for one in found] == [scope_field(scope), tenant_field(tenant), "*"]
    assert {(one.k, one.since_ms) for one in found} == {(7, 5)}
    assert in_force({}, scope, tenant, RULES) is RULES


def test_a_threshold_below_the_floor_cannot_be_set() -> None:
    with pytest.raises(ConfigError, match=r"0\.8 is below the floor 0\.9"):
        check_bounds(0.8, 0.9)
    with pytest.raises(ConfigError, match="threshold must be a similarity"):
        check_bounds(1.5, 0.9)


def test_the_floor_is_the_configured_threshold_unless_the_operator_sets_a_lower_one() -> None:
    assert Settings(threshold=0.9).lowest_threshold == 0.9
    assert Settings(threshold=0.9, threshold_floor=0.85).lowest_threshold == 0.85
    with pytest.raises(ConfigError, match="threshold_floor must be at most the threshold"):
        Settings(threshold=0.9, threshold_floor=0.95)


def test_an_entry_is_json_that_people_can_read() -> None:
    row = json.loads(encode(ThresholdEntry("*", 0.95, "ann", 7, "prices", 0.9, "the namespace")))
    assert row == {
        "threshold": 0.95,
        "who": "ann",
        "when_ms": 7,
        "why": "prices",
        "was": 0.9,
        "about": "the namespace",
    }
