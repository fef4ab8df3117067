"""MiniLM embedder: the local model behind the embedder port."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
import time
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from nearhit.domain.vectors import unit_rows
from nearhit.embedding.minilm.architecture import HIDDEN, weight_shapes
from nearhit.embedding.minilm.folder import TOKENIZER_FILE, WEIGHTS_FILE, find_model_folder
from nearhit.embedding.minilm.numpy_model import NumpyModel
from nearhit.embedding.minilm.onnx_model import OnnxModel
from nearhit.embedding.minilm.safetensors import map_weights
from nearhit.embedding.minilm.tokens import Tokenizer, padded
from nearhit.errors import ConfigError, EmbedderUnavailableError
from nearhit.flow.ports import Embeddings
from nearhit.resilience.per_process import PerProcess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nearhit.domain.sight import Sight

NAME = "local/minilm"
Runtime = Literal["auto", "onnxruntime", "numpy"]
_RUNTIMES = ("auto", "onnxruntime", "numpy")
_LOAD_SECONDS = 10.0
_BATCH = 16  # measured: larger batches are no faster on one thread and pad more


class _Forward(Protocol):
    def pooled(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]: ...


class _Model:
    """Tokenizer and forward pass of one process, loaded once by whichever thread comes first."""

    def __init__(self) -> None:
        self.loading = threading.Lock()
        self.tokenizer: Tokenizer | None = None
        self.forward: _Forward | None = None


class MiniLMEmbedder:
    """all-MiniLM-L6-v2 in this process: 384 dimensions, 4 ms a short prompt, 0.25 s on first use.

    Texts are cut at 256 tokens. Safe to share between threads, and between processes over a fork: each
    process loads for itself.

    Args:
        folder: a folder that holds ``config.json``, ``tokenizer.json`` and ``model.safetensors``; by default
            that of the package which ``nearhit model install`` brings.
        runtime: ``onnxruntime``, ``numpy`` (half as fast, no further package), or ``auto``: the first if it
            is installed.

    Raises:
        ConfigError: the runtime is none of the three. The folder is read when it is first needed.
    """

    in_process = True

    def __init__(self, folder: str | None = None, runtime: Runtime = "auto") -> None:
        if runtime not in _RUNTIMES:
            raise ConfigError(f"runtime={runtime!r} is not one of {', '.join(_RUNTIMES)}")
        self.name = NAME
        self._folder = folder
        self._runtime = runtime
        self._models = PerProcess(_Model)

    def __repr__(self) -> str:
        return f"MiniLMEmbedder(folder={self._folder!r}, runtime={self._runtime!r})"

    def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        """Embed ``texts``; the deadline is checked between batches of 16, so one batch may run over.

        Raises:
            ConfigError: the model or a package is missing, or the folder holds another model.
            ContractError: a text is not valid Unicode.
            EmbedderUnavailableError: not done within ``timeout_seconds``.
        """
        if not texts:
            return Embeddings(np.zeros((0, HIDDEN), dtype=np.float32))
        deadline = time.monotonic() + timeout_seconds
        tokenizer, forward = self._load(deadline, timeout_seconds)
        rows = tokenizer.rows(texts)
        by_length = sorted(range(len(rows)), key=lambda place: len(rows[place]))
        vectors = np.empty((len(rows), HIDDEN), dtype=np.float32)
        for start in range(0, len(rows), _BATCH):
            if time.monotonic() > deadline:
                raise _too_late(len(texts), timeout_seconds)
            places = by_length[start : start + _BATCH]
            vectors[places] = forward.pooled(*padded([rows[place] for place in places]))
        return Embeddings(unit_rows(vectors), tokens=sum(map(len, rows)))

    async def embed_async(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        """Embed ``texts`` on a thread of the event loop's pool; raises as ``embed`` does."""
        return await asyncio.to_thread(self.embed, texts, timeout_seconds)

    def sight(self, text: str) -> Sight:
        """Return how much of ``text`` the model reads: 256 tokens, without accents, unknown words all alike.

        Costs nothing for a short text in ASCII, else splitting it into tokens once: 0.5 ms for 1,000 characters.

        Raises:
            ConfigError: the model or a package is missing.
            ContractError: the text is not valid Unicode.
            EmbedderUnavailableError: another thread has been loading the model for ten seconds.
        """
        tokenizer = self._models.get().tokenizer
        if tokenizer is None:
            tokenizer, _ = self._load(time.monotonic() + _LOAD_SECONDS, _LOAD_SECONDS)
        return tokenizer.sight(text)

    def _load(self, deadline: float, timeout_seconds: float) -> tuple[Tokenizer, _Forward]:
        model = self._models.get()
        if model.tokenizer is not None and model.forward is not None:
            return model.tokenizer, model.forward
        if not model.loading.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise _too_late(1, timeout_seconds)
        try:
            if model.tokenizer is None or model.forward is None:
                folder = find_model_folder(self._folder)
                model.tokenizer = Tokenizer(folder / TOKENIZER_FILE)
                weights = map_weights(folder / WEIGHTS_FILE, weight_shapes())
                installed = importlib.util.find_spec("onnxruntime") is not None
                if self._runtime == "onnxruntime" and not installed:
                    raise ConfigError(
                        "runtime='onnxruntime' needs the package onnxruntime: pip install 'nearhit[local]'"
                    )
                by_numpy = self._runtime == "numpy" or not installed
                model.forward = NumpyModel(weights) if by_numpy else OnnxModel(weights)
            return model.tokenizer, model.forward
        finally:
            model.loading.release()


def _too_late(count: int, timeout_seconds: float) -> EmbedderUnavailableError:
    return EmbedderUnavailableError(f"{NAME} did not embed {count} texts within {timeout_seconds:g} s")
