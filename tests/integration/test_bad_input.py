"""Bad input: a clear named error or a named bypass, never a wrong hit, never a silent skip."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nearhit import ConfigError, EntryError, FillOutcome, Hit, Miss, MissReason, Settings, Usage
from nearhit.domain.fill_message import decode
from nearhit.domain.vectors import to_bytes
from tests.support import nonsense
from tests.support.ids import stable
from tests.support.outcomes import FAR, NOTHING
from tests.support.writer import written

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from tests.support.faces import Face


@pytest.fixture
def cache(face: Callable[..., Face]) -> Face:
    one = face()
    assert one.warm_up()
    return one


def reason(outcome: Hit | Miss) -> MissReason:
    assert isinstance(outcome, Miss), outcome
    return outcome.reason


def detail(outcome: Hit | Miss) -> str:
    assert isinstance(outcome, Miss), outcome
    return outcome.detail


def count(cache: Face, name: str, **labels: str) -> float:
    labels = {"namespace": cache.metrics.namespace, **labels}
    return cache.metrics.registry.get_sample_value(name, labels) or 0.0


def log_of(client: redis.Redis, namespace: str) -> list[Any]:
    rows: Any = client.xrange(f"nearhit:{{{namespace}}}:log:interactive")
    return [decode(fields[b"m"]) for _, fields in rows]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("", MissReason.BYPASS_EMPTY),
        (" \n ", MissReason.BYPASS_EMPTY),
        ("x" * 1_000_000, MissReason.BYPASS_TOO_LONG),
        ("é" * 1_000_000, MissReason.BYPASS_TOO_LONG),
        ([{"role": "user", "content": "x " * 500_000}], MissReason.BYPASS_TOO_LONG),
        (b"\xff\xfe\xfa", MissReason.BYPASS_NOT_UNICODE),
        ("half a pair \ud83d", MissReason.BYPASS_NOT_UNICODE),
        ([{"role": "user", "content": "half a pair \ud83d"}], MissReason.BYPASS_NOT_UNICODE),
        (5, MissReason.BYPASS_NOT_TEXT),
        (None, MissReason.BYPASS_NOT_TEXT),
        ((one for one in "abc"), MissReason.BYPASS_NOT_TEXT),
        ([{"role": "user", "content": [{"type": "hologram"}]}], MissReason.BYPASS_UNKNOWN_PART),
    ],
    ids=stable,
)
def test_a_prompt_that_cannot_be_cached_is_bypassed_by_name_and_counted(
    cache: Face, client: redis.Redis, namespace: str, prompt: Any, expected: MissReason
) -> None:
    missed = cache.lookup(prompt)
    assert reason(missed) is expected
    assert count(cache, "nearhit_lookups_total", tier="none", outcome=expected.value) == 1
    assert cache.fill(missed, "x") is FillOutcome.BYPASSED
    assert cache.fill(prompt, "x") is FillOutcome.BYPASSED
    assert count(cache, "nearhit_fills_total", outcome="bypassed") == 2
    assert log_of(client, namespace) == []


@pytest.mark.parametrize(
    "scope",
    [5, "acme", {"tenant": 5}, {"x": object()}, {"x": float("nan")}, {1: 2}, {"parameters": 5}, {"x": "\ud800"}, [1]],
    ids=stable,
)
def test_a_scope_that_has_no_form_is_bypassed_by_name(
    cache: Face, client: redis.Redis, namespace: str, scope: Any
) -> None:
    missed = cache.lookup("What is it?", scope)
    assert reason(missed) is MissReason.BYPASS_SCOPE
    assert detail(missed)
    assert cache.fill("What is it?", "x", scope) is FillOutcome.BYPASSED
    assert log_of(client, namespace) == []


HOSTILE = [
    *('"', "'", "{", "}", ",", "|", "\\", "a,b", "a}b", "{a}", "@scope:{x}", "* => [KNN 1 @v $v]", "a b", "\0", "\r\n"),
    *("é", "日本語", "x" * 10_240, "-", "$v", "%", "]", "(", "a:b", "a*", "?"),
]


def test_scopes_of_punctuation_and_of_ten_kilobytes_never_share_an_answer(
    cache: Face, settings: Callable[..., Settings]
) -> None:
    for number, text in enumerate(HOSTILE):
        for name in ("tenant", "model", "note"):
            assert cache.fill("What is it?", [number, name], {name: text}) is FillOutcome.ACCEPTED
    assert written(settings()) == 3 * len(HOSTILE)
    for number, text in enumerate(HOSTILE):
        for name in ("tenant", "model", "note"):
            found = cache.lookup("What is it?", {name: text})
            assert isinstance(found, Hit), (text, found)
            assert found.answer == [number, name]
    for scope in ({"tenant": "a"}, {"tenant": "b"}, {"tenant": "a,b,"}, {"tenant": "x" * 10_239}, None, {"note": "*"}):
        assert reason(cache.lookup("What is it?", scope)) in NOTHING


@pytest.mark.parametrize(
    "answer",
    [None, "", object(), {1, 2}, b"bytes", float("nan"), "\ud800", "x" * (8 * 1024 * 1024), {"a": [object()]}],
    ids=stable,
)
def test_an_answer_that_cannot_be_stored_is_refused_and_counted(
    cache: Face, client: redis.Redis, namespace: str, answer: Any
) -> None:
    assert cache.fill("What is it?", answer) is FillOutcome.REFUSED
    assert count(cache, "nearhit_fills_total", outcome="refused") == 1
    assert log_of(client, namespace) == []


@pytest.mark.parametrize("answer", [0, False, [], {}, 0.0, " ", "\0", ["\u2028"], {"é": None}], ids=repr)
def test_an_answer_that_is_little_is_an_answer(cache: Face, settings: Callable[..., Settings], answer: Any) -> None:
    assert cache.fill("What is it?", answer) is FillOutcome.ACCEPTED
    assert written(settings()) == 1
    found = cache.lookup("What is it?")
    assert isinstance(found, Hit)
    assert found.answer == answer
    assert type(found.answer) is type(answer)


@pytest.mark.parametrize(
    "options",
    [
        *(
            {"ttl_seconds": 0},
            {"ttl_seconds": -1},
            {"ttl_seconds": float("nan")},
            {"ttl_seconds": 1e12},
            {"ttl_seconds": "1"},
        ),
        *({"fresh_seconds": -1}, {"lane": "fast"}, {"lane": []}, {"usage": {"prompt_tokens": 1}}, {"refresh": 5}),
        *({"refresh": {"model": object()}}, {"tll_seconds": 5}),
    ],
    ids=stable,
)
def test_an_option_of_nonsense_is_refused(cache: Face, client: redis.Redis, namespace: str, options: Any) -> None:
    assert cache.fill("What is it?", "x", **options) is FillOutcome.REFUSED
    assert log_of(client, namespace) == []


def test_a_usage_that_cannot_be_counted_cannot_be_made() -> None:
    with pytest.raises(EntryError, match="prompt_tokens"):
        Usage(prompt_tokens=-1)


def test_a_usage_written_by_another_program_breaks_no_hit(
    cache: Face, settings: Callable[..., Settings], client: redis.Redis, namespace: str
) -> None:
    assert cache.fill("What is it?", "x", usage=Usage(1, 2, 0.5, "m")) is FillOutcome.ACCEPTED
    assert written(settings()) == 1
    assert isinstance(cache.lookup("What is it?"), Hit)
    (key,) = client.scan_iter(f"nearhit:{namespace}:*:e:*")
    client.hset(key, "usage", '[-5,1,1,"m"]')
    assert reason(cache.lookup("What is it?")) in FAR | {MissReason.UNREADABLE, MissReason.EMPTY}


VECTORS = {
    "nan": np.full(64, np.nan, dtype=np.float32),
    "zero": np.zeros(64, dtype=np.float32),
    "infinite": np.full(64, np.inf, dtype=np.float32),
    "short": np.ones(32, dtype=np.float32),
    "long": np.ones(128, dtype=np.float32),
    "not scaled": np.full(64, 5.0, dtype=np.float32),
}


@pytest.mark.parametrize("name", VECTORS)
def test_a_fill_with_a_vector_of_nonsense_is_buried_by_name(
    cache: Face, settings: Callable[..., Settings], client: redis.Redis, namespace: str, name: str
) -> None:
    missed = cache.lookup("What is it?")
    assert isinstance(missed, Miss)
    bad = Miss(
        reason=missed.reason,
        prompt=missed.prompt,
        scope=missed.scope,
        vector=to_bytes(VECTORS[name]),
        embedder=missed.embedder,
    )
    assert cache.fill(bad, "x") is FillOutcome.ACCEPTED
    assert written(settings()) == 0
    letters: Any = client.xrange(f"nearhit:{{{namespace}}}:dead")
    ((_, letter),) = letters
    assert letter[b"reason"] == b"bad_vector"
    assert reason(cache.lookup("What is it?")) in NOTHING


def test_a_miss_that_knows_no_question_is_never_filled(cache: Face, client: redis.Redis, namespace: str) -> None:
    assert cache.fill(Miss(reason=MissReason.ERROR), "x") is FillOutcome.REFUSED
    assert log_of(client, namespace) == []


def test_a_hit_is_nothing_to_fill(cache: Face, settings: Callable[..., Settings]) -> None:
    cache.fill("What is it?", "x")
    written(settings())
    assert cache.fill(cache.lookup("What is it?"), "y") is FillOutcome.BYPASSED


@pytest.mark.parametrize("blob", [b"", b"\xc1", b"\x80", b"x" * 1000, b"\x93" * 5000], ids=lambda blob: repr(blob[:8]))
def test_garbage_in_the_log_is_buried_and_its_neighbours_are_stored(
    cache: Face, settings: Callable[..., Settings], client: redis.Redis, namespace: str, blob: bytes
) -> None:
    log = f"nearhit:{{{namespace}}}:log:interactive"
    cache.fill("What is it?", "x")
    client.xadd(log, {"m": blob, "n": "many", "q": "soon"})
    client.xadd(log, {"something": "else"})
    cache.fill("Who is it?", "y")
    assert written(settings()) == 2
    assert client.xlen(log) == 0
    assert client.xlen(f"nearhit:{{{namespace}}}:dead") == 2
    assert isinstance(cache.lookup("Who is it?"), Hit)


@pytest.mark.parametrize(
    "text",
    [
        "कैसे बदलूँ?",
        "パスワードを変更",
        "как сменить",
        "كيف أغير",
        "איך לשנות",
        "👩‍👩‍👧‍👦",
        "Z͑ͫ̓a",
        "\u202eabc",
        "ﷺ",
        "a\u0000b",
        "𝕏",
    ],
)
def test_a_question_in_any_script_is_found_again(cache: Face, settings: Callable[..., Settings], text: str) -> None:
    assert cache.fill(text, text) is FillOutcome.ACCEPTED
    assert written(settings()) == 1
    found = cache.lookup(f" {text} ")
    assert isinstance(found, Hit)
    assert found.answer == text


def test_an_index_of_another_dimension_in_the_way_is_a_clear_error(
    face: Callable[..., Face], store: Any, client: redis.Redis, server: Any
) -> None:
    if not server.module:
        return  # the local engine has no index on the server
    one = store()
    index = one.space.engine.index
    client.execute_command("FT.DROPINDEX", index)
    schema = [
        "scope",
        "TAG",
        "embedding",
        "VECTOR",
        "HNSW",
        "6",
        "TYPE",
        "FLOAT32",
        "DIM",
        "7",
        "DISTANCE_METRIC",
        "COSINE",
    ]
    client.execute_command("FT.CREATE", index, "ON", "HASH", "PREFIX", "1", one.keys.prefix, "SCHEMA", *schema)
    missed = face().lookup("What is it?")
    assert reason(missed) is MissReason.MISCONFIGURED
    assert "dimension" in detail(missed)
    assert "64" in detail(missed)
    assert "7" in detail(missed)


def test_valkey_search_on_a_server_without_it_is_a_clear_error(face: Callable[..., Face], server: Any) -> None:
    if server.module:
        return
    missed = face(engine="valkey-search").lookup("What is it?")
    assert reason(missed) is MissReason.MISCONFIGURED
    assert "search module" in detail(missed)


def test_lookups_of_nonsense_beside_an_entry_return_a_hit_or_a_miss(
    cache: Face, settings: Callable[..., Settings]
) -> None:
    cache.fill("hi", "x")
    written(settings())
    random = Random(3)
    for _ in range(2_000):
        found = [cache.lookup(nonsense.prompt(random), nonsense.scope(random))]
        found += cache.run(cache.cache.lookup_many(nonsense.nonsense(random), nonsense.scope(random)))
        assert all(isinstance(one, Hit | Miss) for one in found)
        assert MissReason.ERROR not in [one.reason for one in found if isinstance(one, Miss)]


def test_a_wrong_setting_is_an_error_at_once(settings: Callable[..., Settings]) -> None:
    with pytest.raises(ConfigError, match="neighbours"):
        settings(neighbours=0)
