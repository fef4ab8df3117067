"""What every embedder promises, tried on each of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nearhit.embedding.deadline_embedder import DeadlineEmbedder
from nearhit.embedding.joined_embedder import JoinedEmbedder
from nearhit.embedding.litellm_embedder import LiteLLMEmbedder
from nearhit.embedding.minilm.embedder import MiniLMEmbedder
from nearhit.testing import HashEmbedder
from tests.support.embedding_server import EmbeddingServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nearhit.flow.ports import Embedder

# litellm and what it imports warn of their own affairs
pytestmark = pytest.mark.filterwarnings("ignore")

KINDS = ["hash", "minilm-onnxruntime", "minilm-numpy", "litellm-base64", "litellm-floats", "deadline", "joined"]
TIMEOUT_SECONDS = 60.0
TEXTS = [
    "How do I reset my password?",
    "?",
    "東京への送料はいくらですか",
    "one more question, a good deal longer than the others " * 6,
    "How do I reset my password?",
]


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as server:
        yield server


@pytest.fixture(scope="module", params=KINDS)
def embedder(request: pytest.FixtureRequest, server: EmbeddingServer) -> Embedder:
    match request.param:
        case "minilm-onnxruntime":
            return MiniLMEmbedder(runtime="onnxruntime")
        case "minilm-numpy":
            return MiniLMEmbedder(runtime="numpy")
        case "litellm-base64":
            return LiteLLMEmbedder("openai/model", api_base=server.url, api_key="k", max_texts_per_call=2)
        case "litellm-floats":
            extra = {"encoding_format": "float"}
            return LiteLLMEmbedder("hosted_vllm/model", api_base=server.url, extra=extra)
        case "deadline":
            return DeadlineEmbedder(HashEmbedder())
        case "joined":
            return JoinedEmbedder(HashEmbedder())
        case _:
            return HashEmbedder()


def test_vectors_are_unit_rows_of_float32(embedder: Embedder) -> None:
    vectors = embedder.embed(TEXTS, TIMEOUT_SECONDS).vectors
    assert vectors.dtype == np.dtype("<f4")
    assert vectors.ndim == 2
    assert vectors.flags.c_contiguous
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)


def test_a_batch_gives_in_order_what_each_text_gives_alone(embedder: Embedder) -> None:
    alone = np.concatenate([embedder.embed([text], TIMEOUT_SECONDS).vectors for text in TEXTS])
    assert embedder.embed(TEXTS, TIMEOUT_SECONDS).vectors == pytest.approx(alone, abs=1e-5)


def test_equal_texts_have_equal_vectors_and_others_do_not(embedder: Embedder) -> None:
    vectors = embedder.embed(TEXTS, TIMEOUT_SECONDS).vectors
    assert vectors[0] @ vectors[4] == pytest.approx(1.0, abs=1e-5)
    assert vectors[0] @ vectors[3] < 0.9


def test_the_asyncio_twin_gives_the_same(embedder: Embedder) -> None:
    waited = asyncio.run(embedder.embed_async(TEXTS, TIMEOUT_SECONDS))
    direct = embedder.embed(TEXTS, TIMEOUT_SECONDS)
    assert waited.vectors == pytest.approx(direct.vectors, abs=1e-5)
    assert (waited.tokens, waited.cost_dollars) == (direct.tokens, direct.cost_dollars)


def test_no_texts_give_no_rows(embedder: Embedder) -> None:
    assert len(embedder.embed([], TIMEOUT_SECONDS).vectors) == 0
    assert len(asyncio.run(embedder.embed_async([], TIMEOUT_SECONDS)).vectors) == 0


def test_it_has_a_name_and_says_where_it_works(embedder: Embedder) -> None:
    assert embedder.name
    assert isinstance(embedder.in_process, bool)
