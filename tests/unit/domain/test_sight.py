"""Sight: which differences between two texts an embedder did not read."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearhit.domain.sight import ALL, Reads, Sight, Unseen, assumed_sight, cut_at_bytes, sight_of, unseen
from nearhit.embedding.deadline_embedder import DeadlineEmbedder
from nearhit.embedding.litellm_embedder import LiteLLMEmbedder
from nearhit.embedding.litellm_sight import bytes_of, reads_of
from nearhit.embedding.minilm.embedder import MiniLMEmbedder
from nearhit.errors import ContractError
from nearhit.testing import HashEmbedder

if TYPE_CHECKING:
    from nearhit.flow.ports import Embeddings

CONTEXT = "The tram to the harbour leaves every ten minutes and stops at the museum. " * 25
READ = 1_300  # MiniLM's limit lies well before the end of CONTEXT, and well behind its first 900 characters


@pytest.fixture(scope="module")
def minilm() -> MiniLMEmbedder:
    return MiniLMEmbedder()


@pytest.mark.parametrize(
    ("prompt", "candidate"),
    [
        ("如何重置我的密码？", "如何删除我的账户？"),
        ("როგორ აღვადგინო პაროლი?", "როგორ წავშალო ანგარიში?"),
        ("የይለፍ ቃል እንዴት እቀይራለሁ", "መለያዬን እንዴት እሰርዛለሁ"),
        ("is this 👍", "is this 👎"),
        ("does ∀ x hold", "does ∃ x hold"),
        ("is it good👍 now", "is it good👎 now"),
        ("the private sign \ue000", "the private sign \ue001"),
        ("which key is " + "a" * 120, "which key is " + "a" * 119 + "b"),
        ("reset my password", "reset my password 👍"),
    ],
)
def test_a_difference_in_unknown_tokens_is_not_seen(minilm: MiniLMEmbedder, prompt: str, candidate: str) -> None:
    assert unseen(prompt, candidate, minilm.sight) is Unseen.UNKNOWN
    assert unseen(candidate, prompt, minilm.sight) is Unseen.UNKNOWN


@pytest.mark.parametrize(
    ("prompt", "candidate"),
    [("tôi bán hàng", "tôi bạn hàng"), ("かきを買う", "がきを買う"), ("мой счёт", "мои счёт"), ("कल का", "केल का")],
)
def test_another_word_by_an_accent_that_is_dropped_is_not_seen(
    minilm: MiniLMEmbedder, prompt: str, candidate: str
) -> None:
    assert unseen(prompt, candidate, minilm.sight) is Unseen.ACCENTS


@pytest.mark.parametrize(
    ("prompt", "candidate"),
    [
        ("How do I reset my password?", "How can I reset my password?"),
        ("Où est la gare ?", "ou est la gare"),
        ("¿Cuántos años tienes?", "cuantos anos tienes"),
        ("Is it “open” – or not…", 'Is it "open" - or not...'),
        ("I ❤ trams", "I ❤️ trams"),
        ("is a ≤ b", "is a ≥ b"),
        ("key " + "ab " * 80, "key " + "cd " * 80),
        ("東京の人口", "東京の人口？"),
        ("def f():\n    return 1", "def f(): return 1"),
    ],
)
def test_a_difference_that_has_tokens_of_its_own_is_seen(minilm: MiniLMEmbedder, prompt: str, candidate: str) -> None:
    assert unseen(prompt, candidate, minilm.sight) is None


def test_another_question_behind_the_limit_is_not_seen(minilm: MiniLMEmbedder) -> None:
    for length in (1_300, 1_600, 1_850):
        context = CONTEXT[:length]
        prompt, candidate = f"{context} How do I cancel?", f"{context} Where do I sit?"
        assert unseen(prompt, candidate, minilm.sight) is Unseen.CUT
    vectors = minilm.embed([prompt, candidate], 30.0).vectors
    assert vectors[0] @ vectors[1] > 0.999


def test_the_same_end_behind_the_limit_is_no_difference(minilm: MiniLMEmbedder) -> None:
    assert unseen(f"Well, {CONTEXT}", CONTEXT, minilm.sight) is None
    assert unseen(f"{CONTEXT} Is it so?", f"{CONTEXT}\n  Is it  so?", minilm.sight) is None


def test_one_text_that_goes_on_behind_the_limit_is_a_difference(minilm: MiniLMEmbedder) -> None:
    short = CONTEXT[:900]
    assert minilm.sight(short) == ALL
    assert unseen(short, short + CONTEXT, minilm.sight) is Unseen.CUT


def test_the_cut_lies_where_the_next_character_changes_nothing(minilm: MiniLMEmbedder) -> None:
    cut = minilm.sight(CONTEXT).cut
    assert cut is not None
    kept, changed, more = CONTEXT[:cut], CONTEXT[:cut] + " cats", CONTEXT[: cut - 8] + " cats and dogs"
    vectors = minilm.embed([CONTEXT, kept, changed, more], 30.0).vectors
    assert vectors[0] @ vectors[1] > 0.9999
    assert vectors[0] @ vectors[2] > 0.9999
    assert vectors[0] @ vectors[3] < 0.9999


def test_a_text_behind_the_characters_that_are_split_is_cut_there(minilm: MiniLMEmbedder) -> None:
    blank = "start" + " " * 9_000
    assert unseen(blank + "one", blank + "two", minilm.sight) is Unseen.CUT


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200), st.text(max_size=200))
def test_what_is_not_seen_is_the_same_from_both_sides(one: str, other: str) -> None:
    for embedder in (MINILM, HashEmbedder(32), LiteLLMEmbedder("cohere/embed-english-v3.0")):
        try:
            found = unseen(one, other, sight_of(embedder))
        except ContractError:  # a lone surrogate
            continue
        assert found == unseen(other, one, sight_of(embedder))
        assert unseen(one, one, sight_of(embedder)) is None


MINILM = MiniLMEmbedder()


@settings(max_examples=300, deadline=None)
@given(st.text(), st.integers(1, 60))
def test_no_text_is_said_to_fit_that_has_more_bytes(text: str, most: int) -> None:
    cut = cut_at_bytes(text, most)
    size = len(text.encode("utf-8", "surrogatepass"))
    assert (cut is None) == (size <= most)
    if cut is not None:
        assert len(text[:cut].encode("utf-8", "surrogatepass")) <= most


@pytest.mark.parametrize(
    ("model", "reads"),
    [
        ("openai/text-embedding-3-small", Reads.ALL),
        ("azure/text-embedding-ada-002", Reads.ALL),
        ("mistral/mistral-embed", Reads.ALL),
        ("voyage/voyage-3.5-lite", Reads.ALL),
        ("cohere/embed-multilingual-v3.0", Reads.LETTERS),
        ("gemini/gemini-embedding-001", Reads.LETTERS),
        ("ollama/bge-m3", Reads.LETTERS),
        ("cohere/embed-english-v3.0", Reads.LATIN),
        ("ollama/all-minilm", Reads.LATIN),
        ("openai/a-model-of-ours", Reads.LATIN),
    ],
)
def test_a_hosted_model_is_known_by_its_name_or_assumed_to_read_latin_alone(model: str, reads: Reads) -> None:
    assert reads_of(model) is reads


@pytest.mark.parametrize(
    ("prompt", "candidate", "reads"),
    [
        ("如何重置我的密码", "如何删除我的账户", {Reads.LATIN}),
        ("как отменить", "как оплатить", {Reads.LATIN}),
        ("is this 👍", "is this 👎", {Reads.LATIN, Reads.LETTERS}),
        ("a ≤ b", "a ≥ b", {Reads.LATIN, Reads.LETTERS}),
        ("25 °C für 5 €", "30 °C für 9 €", set()),
        ("Łódź – “trams”", "Łódź - 'trams'", set()),
    ],
)
def test_what_a_model_may_not_tell_apart_counts_as_unknown(prompt: str, candidate: str, reads: set[Reads]) -> None:
    for known in Reads:
        found = unseen(prompt, candidate, partial(assumed_sight, most_bytes=512, reads=known))
        assert found == (Unseen.UNKNOWN if known in reads else None)


def test_the_limit_of_a_hosted_model_comes_from_the_table() -> None:
    table = {"embed-x": {"max_input_tokens": 128}, "gateway/y": {"max_input_tokens": 0}}
    assert bytes_of("cohere/embed-x", table) == 128
    assert bytes_of("gateway/y", table) == 512
    assert bytes_of("nobody/knows", table) == 512


@pytest.mark.filterwarnings("ignore")
def test_a_long_limit_lets_long_texts_through() -> None:
    wide, narrow = LiteLLMEmbedder("openai/text-embedding-3-small"), LiteLLMEmbedder("cohere/embed-english-v3.0")
    prompt, candidate = f"{CONTEXT} How do I cancel?", f"{CONTEXT} Where do I sit?"
    assert unseen(prompt, candidate, wide.sight) is None
    assert unseen(prompt, candidate, narrow.sight) is Unseen.CUT


class Plain:
    """An embedder of somebody's own, that says nothing of what it reads."""

    name, in_process = "plain", False

    def embed(self, texts: object, timeout_seconds: float) -> Embeddings:
        raise NotImplementedError

    async def embed_async(self, texts: object, timeout_seconds: float) -> Embeddings:
        raise NotImplementedError


class Frank(Plain):
    def sight(self, text: str) -> Sight:
        return Sight(cut=3)


def test_an_embedder_that_says_nothing_is_assumed_to_read_little() -> None:
    for embedder in (Plain(), DeadlineEmbedder(Plain())):
        assert sight_of(embedder)("a short text") is ALL
        assert sight_of(embedder)("x" * 513).cut == 512
        assert sight_of(embedder)("да").unknown == ("да",)
    assert sight_of(DeadlineEmbedder(Frank()))("long") == Sight(cut=3)


def test_the_hash_embedder_knows_no_symbols() -> None:
    assert unseen("a ≤ b", "a ≥ b", HashEmbedder().sight) is Unseen.UNKNOWN
    assert unseen("a < b", "a > b", HashEmbedder().sight) is Unseen.UNKNOWN
    assert unseen("what is it?", "What is it", HashEmbedder().sight) is None


def test_white_space_leaves_the_vector_as_it_is(minilm: MiniLMEmbedder) -> None:
    one, other = minilm.embed(["def f():\n\treturn  1\n", "def f(): return 1"], 30.0).vectors
    assert one @ other > 0.9999
    waited = asyncio.run(minilm.embed_async(["def f():\r\n    return 1"], 30.0)).vectors[0]
    assert one @ waited > 0.9999
