from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import numpy as np
import pytest

from nearhit.embedding.minilm.embedder import MiniLMEmbedder
from nearhit.embedding.minilm.tokens import MAX_CHARACTERS
from nearhit.errors import ConfigError, ContractError, EmbedderUnavailableError

VARIED = [
    "",
    " \n\t ",
    "?",
    "\u0000\u200b",
    "hello",
    "How do I reset my password?",
    "Übergrößenträger — 東京は晴れ, Ελλάδα, 🎉🎉👩‍👩‍👧",
    "x" * 3000,
    "word " * 1000,
    *(f"question {number} " + "about this and that " * number for number in range(0, 30, 4)),
]


@pytest.fixture(scope="module")
def onnx_embedder() -> MiniLMEmbedder:
    return MiniLMEmbedder(runtime="onnxruntime")


def test_onnxruntime_and_numpy_give_the_same_vectors(onnx_embedder: MiniLMEmbedder) -> None:
    by_hand = MiniLMEmbedder(runtime="numpy").embed(VARIED, 60.0).vectors
    assert np.abs(onnx_embedder.embed(VARIED, 60.0).vectors - by_hand).max() < 1e-5


def test_a_known_vector_is_still_what_the_model_gives(onnx_embedder: MiniLMEmbedder) -> None:
    # published by the model's authors: the first numbers of sentence-transformers' vector for this sentence
    vector = onnx_embedder.embed(["This is an example sentence"], 30.0).vectors[0]
    assert vector[:4] == pytest.approx([0.0677, 0.0635, 0.0487, 0.0793], abs=1e-4)


def test_rewordings_are_nearer_than_strangers(onnx_embedder: MiniLMEmbedder) -> None:
    pairs = [
        ("How do I reset my password?", "I forgot my password, how can I get a new one?"),
        ("Which countries do you ship to?", "To what countries can you deliver?"),
        (
            "Can I cancel my subscription at any time?",
            "Is it possible to end my subscription whenever I want?",
        ),
        ("Why was my card declined?", "What is the reason my card payment did not go through?"),
    ]
    vectors = onnx_embedder.embed([text for pair in pairs for text in pair], 30.0).vectors
    similarities = vectors[0::2] @ vectors[1::2].T
    strangers = similarities[~np.eye(len(pairs), dtype=bool)]
    assert similarities.diagonal().min() > 0.6
    assert similarities.diagonal().min() > strangers.max() + 0.15


def test_text_past_256_tokens_is_not_read(onnx_embedder: MiniLMEmbedder) -> None:
    start = "the same beginning " * 100
    vectors = onnx_embedder.embed([start + "cats", start + "a tax return"], 30.0).vectors
    assert np.array_equal(vectors[0], vectors[1])


def test_a_megabyte_of_text_costs_no_more_than_its_beginning(onnx_embedder: MiniLMEmbedder) -> None:
    text = "word " * 200_000
    long, short = onnx_embedder.embed([text, text[:MAX_CHARACTERS]], 5.0).vectors
    assert np.array_equal(long, short)


def test_tokens_are_counted(onnx_embedder: MiniLMEmbedder) -> None:
    assert onnx_embedder.embed(["hello world", "hello"], 30.0).tokens == 4 + 3


def test_a_text_that_is_not_unicode_is_a_contract_error(onnx_embedder: MiniLMEmbedder) -> None:
    with pytest.raises(ContractError, match="valid Unicode"):
        onnx_embedder.embed(["broken \ud800 text"], 30.0)


def test_no_time_left_is_an_unavailable_embedder(onnx_embedder: MiniLMEmbedder) -> None:
    onnx_embedder.embed(["loaded"], 30.0)
    with pytest.raises(EmbedderUnavailableError, match=r"local/minilm did not embed 200 texts within 0\.02 s"):
        onnx_embedder.embed(["some words to embed"] * 200, 0.02)


def test_an_unknown_runtime_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="runtime='torch'"):
        MiniLMEmbedder(runtime="torch")  # type: ignore[arg-type]


def test_threads_share_one_embedder_from_its_first_use_on() -> None:
    embedder = MiniLMEmbedder()
    texts = [f"question number {number}" for number in range(12)]
    found: dict[int, np.ndarray] = {}

    def embed(place: int) -> None:
        found[place] = embedder.embed([texts[place]], 60.0).vectors[0]

    threads = [threading.Thread(target=embed, args=(place,)) for place in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = embedder.embed(texts, 60.0).vectors
    assert max(np.abs(found[place] - together[place]).max() for place in found) < 1e-5


def test_embedding_on_the_event_loop_leaves_it_free(onnx_embedder: MiniLMEmbedder) -> None:
    async def turns_while_embedding() -> int:
        work = asyncio.create_task(onnx_embedder.embed_async(["some longer words " * 50] * 16, 30.0))
        turns = 0
        while not work.done():
            await asyncio.sleep(0.001)
            turns += 1
        return turns

    assert asyncio.run(turns_while_embedding()) > 5


FORK_SCRIPT = """
import os, sys, threading
import numpy as np
from nearhit.embedding.minilm.embedder import MiniLMEmbedder

embedder = MiniLMEmbedder()
before = embedder.embed(["hello"], 60.0).vectors
busy = threading.Thread(target=lambda: [embedder.embed(["busy"] * 8, 60.0) for _ in range(20)], daemon=True)
busy.start()
unloaded = MiniLMEmbedder()
unloaded._models.get().loading.acquire()  # as if another thread were loading at the moment of the fork
pid = os.fork()
if pid == 0:
    same = all(np.allclose(before, e.embed(["hello"], 60.0).vectors, atol=1e-6) for e in (embedder, unloaded))
    os._exit(0 if same else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_forked_child_embeds_as_its_parent_does() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK_SCRIPT],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
