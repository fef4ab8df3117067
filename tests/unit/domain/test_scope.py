"""The scope digest: one digest for what shares an answer, another for all else."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearhit.domain.scope import (
    MAX_BYTES,
    MAX_VALUES,
    PARAMETERS_THAT_DO_NOT_SPLIT,
    Scope,
    canonical_json,
    digest_of,
    scope_digest,
    tenant_digest,
)
from nearhit.errors import ContractError, TooLargeError

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


class Dumped:
    """A pydantic model as far as anybody outside pydantic can see."""

    def __init__(self, values: Any) -> None:
        self._values = values

    def model_dump(self) -> Any:
        return self._values


def shuffled(value: Any) -> Any:
    """Return an equal value whose mappings have their keys the other way round."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(list(value))}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@given(JSON)
def test_the_order_of_keys_never_changes_the_digest(value: Any) -> None:
    assert digest_of(shuffled(value)) == digest_of(value)


@given(JSON, JSON)
def test_values_that_are_not_equal_never_share_a_digest(one: Any, other: Any) -> None:
    assert (digest_of(one) == digest_of(other)) == same(one, other)


def same(one: Any, other: Any) -> bool:
    """Say what JSON says: true is not 1, and 1.0 is 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    return (numbers or type(one) is type(other)) and bool(one == other)


@given(JSON)
def test_a_digest_is_hex_whatever_goes_in(value: Any) -> None:
    assert re.fullmatch("[0-9a-f]{32}", scope_digest(Scope(parameters={"x": value}), "0" * 32))


@given(st.dictionaries(st.sampled_from(sorted(PARAMETERS_THAT_DO_NOT_SPLIT)), JSON))
def test_parameters_that_leave_the_meaning_alone_do_not_split(extra: dict[str, Any]) -> None:
    assert scope_digest(Scope.of({"model": "m", **extra})) == scope_digest(Scope.of({"model": "m"}))


def test_a_parameter_splits_when_it_is_asked_to() -> None:
    one, other = ({"user": name, "split_by": ["user"]} for name in ("ann", "bob"))
    assert scope_digest(Scope.of(one)) != scope_digest(Scope.of(other))


@pytest.mark.parametrize("name", ["tenant", "model", "system", "tools", "response_format", "temperature"])
def test_every_attribute_and_every_parameter_splits(name: str) -> None:
    digests = {scope_digest(Scope.of({name: value})) for value in ("", "a", "b")}
    assert len(digests) == 3


def test_the_same_text_in_another_attribute_is_another_scope() -> None:
    digests = {scope_digest(Scope.of({name: "x"})) for name in ("tenant", "model", "system", "top_p")}
    assert len(digests) == 4


def test_a_parameter_of_none_is_as_good_as_absent() -> None:
    assert scope_digest(Scope.of({"stop": None})) == scope_digest(Scope.of(None))


def test_a_mapping_and_a_scope_say_the_same() -> None:
    mapping = {"tenant": "acme", "model": "m", "temperature": 0.5}
    assert scope_digest(Scope.of(mapping)) == scope_digest(
        Scope(tenant="acme", model="m", parameters={"temperature": 0.5})
    )


def test_a_model_of_pydantic_is_what_it_dumps() -> None:
    assert digest_of(Dumped({"b": 1, "a": [2]})) == digest_of({"a": [2], "b": 1})


def test_a_set_has_no_order_and_a_list_has_one() -> None:
    assert digest_of({"b", "a", "c"}) == digest_of({"c", "b", "a"})
    assert digest_of(["a", "b"]) != digest_of(["b", "a"])


def test_whole_floats_are_ints_and_true_is_not_one() -> None:
    assert canonical_json([1.0, 1, True]) == b"[1,1,true]"


def test_bytes_stand_in_the_scope_by_their_digest() -> None:
    blob = bytes(range(256)) * 4000
    assert len(canonical_json(blob)) < 120
    assert digest_of(blob) == digest_of(bytearray(blob)) != digest_of(blob[:-1])


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def looped() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [
        *(object(), (number for number in [1]), float("nan"), float("inf"), {1: 2}, deep(80), deep(5000), looped()),
        *(Unprintable(), {Unprintable()}, int, lambda: 1, "\ud800", {"\udfff": 1}, 10**5000, range(10**12)),
        Dumped(object()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_canonical_form_is_refused_by_name(value: Any) -> None:
    with pytest.raises(ContractError):
        scope_digest(Scope(parameters={"x": value}))


@pytest.mark.parametrize(
    "scope",
    [
        *(5, "acme", ["acme"], {"tenant": 5}, {"system": ["x"]}, {"parameters": 5}, {"parameters": [1]}),
        *({"split_by": 5}, {"split_by": "user"}, {"split_by": [[]]}, {5: 6}, {"parameters": {5: 6}}),
    ],
    ids=str,
)
def test_a_scope_of_another_shape_is_refused_by_name(scope: Any) -> None:
    with pytest.raises(ContractError):
        scope_digest(Scope.of(scope))


@pytest.mark.parametrize("change", [{"tenant": ["x"]}, {"model": 5}, {"parameters": None}, {"split_by": None}], ids=str)
def test_a_scope_made_by_hand_is_checked_like_a_mapping(change: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        Scope.of(Scope(**change))


@pytest.mark.parametrize(
    "text", ["{", "}", ",", '"', "'", "\\", "|", "@scope:{x}", "a b", "\0", "*", "é", "x" * 10_240]
)
def test_punctuation_and_length_stay_outside_the_digest(text: str) -> None:
    digest = scope_digest(Scope(tenant=text, model=text))
    assert re.fullmatch("[0-9a-f]{32}", digest)
    assert re.fullmatch("[0-9a-f]{32}", tenant_digest(text))


def test_no_tenant_has_no_digest() -> None:
    assert tenant_digest("") == ""


A = "a" * 32


def test_two_tenants_with_one_digest_are_two_scopes() -> None:
    digests = {scope_digest(Scope.from_digest(A, tenant=name)) for name in ("", "acme", "other")}
    assert len(digests) == 3
    assert scope_digest(Scope.from_digest(A)) == A


def test_a_digest_that_holds_the_tenant_is_taken_as_it_is_and_keeps_its_owner() -> None:
    scope = Scope.from_digest(A, tenant="acme", holds_tenant=True)
    assert scope_digest(scope) == A
    assert scope.tenant == "acme"


def test_the_rest_of_a_conversation_counts_beside_a_digest() -> None:
    scope = Scope.from_digest(A)
    assert len({scope_digest(scope, context) for context in ("", "b" * 32, "c" * 32)}) == 3


@pytest.mark.parametrize("digest", ["", "ff", "A" * 32, A + "0", "*" * 64, 5, None, b"a" * 32, ["a"] * 32], ids=str)
def test_what_is_no_digest_makes_no_scope(digest: Any) -> None:
    with pytest.raises(ContractError, match="hex digits"):
        Scope.from_digest(digest)


@pytest.mark.parametrize("name", ["digest", "holds_tenant"])
def test_a_mapping_has_no_way_to_name_a_digest(name: str) -> None:
    scopes = [Scope.of({"tenant": tenant, name: A}) for tenant in ("acme", "other")]
    assert len({scope_digest(scope) for scope in scopes}) == 2
    assert [scope.parameters for scope in scopes] == [{name: A}] * 2
    with pytest.raises(TypeError):
        Scope(**{name: A})  # type: ignore[arg-type]  # what a caller may try all the same


def test_a_parameter_that_is_given_twice_is_refused_instead_of_lost() -> None:
    with pytest.raises(ContractError, match="'temperature' of the scope is given twice"):
        Scope.of({"parameters": {"temperature": 0}, "temperature": 1})


@pytest.mark.parametrize("value", [b"x", "x" * 1000], ids=["bytes", "a long text"])
def test_a_mapping_cannot_pass_for_what_stands_by_its_digest(value: Any) -> None:
    shown = json.loads(canonical_json(value))
    assert canonical_json(shown) != canonical_json(value)


@pytest.mark.parametrize("size", [256, 257, 5000])
def test_a_long_text_counts_to_its_last_letter(size: int) -> None:
    texts = ["x" * size, "x" * (size - 1) + "y", "é" * size, "x" * (size - 1) + "é"]
    assert len({digest_of(text) for text in texts}) == len(texts)


@pytest.mark.parametrize(
    "value",
    [
        [0] * (MAX_VALUES + 1),
        dict.fromkeys(map(str, range(MAX_VALUES + 1))),
        [[[0] * 100] * 10] * 10,
        "x" * (MAX_BYTES + 1),
        "é" * (MAX_BYTES // 4 + 1),
        bytes(MAX_BYTES + 1),
        memoryview(bytes(MAX_BYTES + 8)).cast("d"),
        {"k" * (MAX_BYTES + 1): 1},
        [10**4000] * 200,
    ],
    ids=lambda value: type(value).__name__,
)
def test_more_than_a_lookup_digests_is_refused_by_name(value: Any) -> None:
    with pytest.raises(TooLargeError):
        scope_digest(Scope(parameters={"x": value}))


def test_a_scope_of_too_many_parameters_is_refused_before_they_are_copied() -> None:
    with pytest.raises(TooLargeError):
        Scope.of(dict.fromkeys(map(str, range(MAX_VALUES + 1)), 1))
