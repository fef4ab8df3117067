"""LiteLLM's layout, held to what its own class wrote (litellm 1.106.2, redis-py 5.3, valkey-search 1.2.1)."""

from __future__ import annotations

import json

import pytest

from nearhit.domain.entry import Entry, Usage, from_fields
from nearhit.domain.fill_message import decode
from nearhit.domain.hit_policy import Lifetimes
from nearhit.errors import EntryError
from nearhit.index.litellm_layout import SharedEngine, SharedKeys, completed
from nearhit.write.fill_encoding import fill_of

SCOPE = "a766e386cd6c92f8f95894758c6617a9b59192d84d61dd863c7e5efe69f85b8e"
KEY = "litellm_semantic_cache_index:a766e386cd6c92f8f95894758c6617a9b59192d84d61dd863c7e5efe69f85b8e:5d0d337a-2722"
RECORDED = {
    b"litellm_cache_key": SCOPE.encode(),
    b"prompt": b"is it open on sunday?",
    b"response": b"{'timestamp': 1795401001.5774477, 'response': '{\"id\": \"chatcmpl-9\", \"choices\": []}'}",
    b"embedding": b"\x9a\x99\x19?\xcd\xccL?\x00\x00\x00\x00",
}
KEYS = SharedKeys("default", "0123456789ab")


def entry(response: object, **changes: object) -> Entry:
    values = {
        "scope": SCOPE,
        "tenant": "",
        "prompt": "is it open on sunday?",
        "response": json.dumps(response).encode(),
        "embedding": RECORDED[b"embedding"],
        "embedder": "0123456789ab",
        "created_us": 1_795_401_001_577_447,
        "fresh_until_ms": 1_795_401_900_000,
        "expires_ms": 1_795_401_900_000,
        **changes,
    }
    return Entry(**values)  # type: ignore[arg-type]


def test_an_entry_that_litellm_wrote_reads_as_one_of_ours() -> None:
    read = from_fields(completed(RECORDED, "0123456789ab"))
    assert (read.scope, read.prompt, read.embedder) == (SCOPE, "is it open on sunday?", "0123456789ab")
    assert read.created_us == 1_795_401_001_577_448
    stored = json.loads(read.response)
    assert stored == {"timestamp": 1795401001.5774477, "response": '{"id": "chatcmpl-9", "choices": []}'}


def test_our_entry_has_the_very_fields_that_litellm_wrote() -> None:
    written = KEYS.fields(entry({"id": "chatcmpl-9", "choices": []}))
    for name in (b"litellm_cache_key", b"prompt", b"embedding"):
        assert written[name] == RECORDED[name]
    ours = json.loads(written[b"response"])
    assert ours["timestamp"] == pytest.approx(1795401001.577447)
    assert json.loads(ours["response"]) == {"id": "chatcmpl-9", "choices": []}


def test_the_key_has_the_prefix_and_the_scope_that_litellm_looks_under() -> None:
    assert KEYS.entry(SCOPE, "ff").rsplit(":", 1)[0] == KEY.rsplit(":", 1)[0]
    assert KEYS.index(7) == "litellm_semantic_cache_index"


def test_the_index_is_made_as_litellm_makes_it() -> None:
    flow = SharedEngine(KEYS, 1536, 40).prepare()
    (command,) = next(flow).commands  # type: ignore[union-attr]
    told = [word.decode() if isinstance(word, bytes) else str(word) for word in command]
    assert " ".join(told) == (
        "FT.CREATE litellm_semantic_cache_index ON HASH PREFIX 1 litellm_semantic_cache_index: SCHEMA "
        "litellm_cache_key TAG embedding VECTOR HNSW 6 TYPE FLOAT32 DIM 1536 DISTANCE_METRIC COSINE"
    )
    flow.close()


def test_a_plain_text_is_written_as_the_chat_completion_that_would_have_carried_it() -> None:
    written = KEYS.fields(entry("Yes, from nine.", usage=Usage(3, 4, 0.1, "gpt-4o-mini")))
    response = json.loads(json.loads(written[b"response"])["response"])
    assert response["choices"][0]["message"] == {"role": "assistant", "content": "Yes, from nine."}
    assert response["choices"][0]["finish_reason"] == "stop"
    assert response["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def test_what_litellm_stored_already_is_not_wrapped_twice() -> None:
    stored = {"timestamp": 1.0, "response": "{}"}
    assert json.loads(KEYS.fields(entry(stored))[b"response"]) == stored


@pytest.mark.parametrize("blob", [b"", b"import os", b"[1, 2]", b"\xff", b"{'a': set()}", b"(" * 5000])
def test_an_answer_that_is_neither_json_nor_a_literal_makes_the_entry_unreadable(blob: bytes) -> None:
    with pytest.raises(EntryError):
        from_fields(completed({**RECORDED, b"response": blob}, "0123456789ab"))


def test_a_row_of_a_bulk_load_can_name_litellms_scope() -> None:
    row = {"prompt": "is it open on sunday?", "answer": "Yes, from nine.", "scope_digest": SCOPE}
    _, blob = fill_of(row, Lifetimes())
    assert decode(blob).scope == SCOPE


@pytest.mark.parametrize("digest", ["ff", SCOPE.upper(), SCOPE + "0", "*" * 64, "a" * 40])
def test_a_scope_that_is_no_digest_is_refused(digest: str) -> None:
    with pytest.raises(EntryError, match="scope_digest"):
        fill_of({"prompt": "x", "answer": "y", "scope_digest": digest}, Lifetimes())


def test_a_row_that_names_its_scope_twice_is_refused() -> None:
    row = {"prompt": "x", "answer": "y", "scope_digest": SCOPE, "scope": {"tenant": "acme"}}
    with pytest.raises(EntryError, match="'scope_digest'"):
        fill_of(row, Lifetimes())


def test_a_digest_in_the_scope_of_a_row_is_one_of_its_parameters() -> None:
    rows = [{"prompt": "x", "answer": "y", "scope": {"tenant": name, "digest": SCOPE}} for name in ("acme", "other")]
    scopes = {decode(fill_of(row, Lifetimes())[1]).scope for row in rows}
    assert len(scopes) == 2
    assert SCOPE not in scopes


def test_the_turns_before_the_question_count_beside_the_digest_of_a_row() -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    asked = {"role": "user", "content": "is it open?"}
    rows = [{"prompt": prompt, "answer": "y", "scope_digest": SCOPE} for prompt in ([asked], [*turns, asked])]
    assert len({decode(fill_of(row, Lifetimes())[1]).scope for row in rows}) == 2
