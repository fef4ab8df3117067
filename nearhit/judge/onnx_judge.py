"""Onnx judge: a cross-encoder from a local folder, behind the judge port."""

from __future__ import annotations

import asyncio
import math
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearhit.errors import ConfigError, ContractError
from nearhit.flow.ports import Judgement, Sameness
from nearhit.resilience.per_process import PerProcess

if TYPE_CHECKING:
    pass

PREFIX = "onnx:"
MODEL_FILE, TOKENIZER_FILE = "model.onnx", "tokenizer.json"
MAX_TOKENS = 512
MAX_CHARACTERS = 8_000
_KNOWN_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class OnnxJudge:
    """A cross-encoder: a model that reads both texts at once and gives one score.

    Judges in this process, without a network: some 5 to 20 ms for short texts and a small model. Texts are cut so that
    the pair has 512 tokens. Safe to share between threads; each process loads for itself.

    Args:
        folder: holds ``model.onnx`` (inputs ``input_ids``, ``attention_mask``, maybe ``token_type_ids``; one score a
            pair, or one for *different* and one for *same*) and ``tokenizer.json``.
        level: the smallest probability, the score's sigmoid, that means *same*.

    Raises:
        ConfigError: ``folder`` is empty. It is first looked at when it is needed.
    """

    def __init__(self, folder: str, *, level: float = 0.5) -> None:
        if not folder:
            raise ConfigError("the judge's folder is empty")
        self.name = PREFIX + folder
        self._folder = Path(folder)
        self._level = level
        self._models = PerProcess(_Slot)

    def __repr__(self) -> str:
        return f"OnnxJudge({str(self._folder)!r}, level={self._level})"

    def load(self) -> None:
        """Load the model; later calls cost nothing.

        Raises:
            ConfigError: a file or a package is missing, or the model is no cross-encoder.
        """
        self._model()

    def judge(self, prompt: str, candidate: str, timeout_seconds: float) -> Judgement:  # noqa: ARG002 - held from outside
        """Return the model's verdict: ``same`` from ``level`` on, else ``different``; never ``unsure``.

        Raises:
            ConfigError: a file or a package is missing, or the model is no cross-encoder.
            ContractError: a text is not valid Unicode, or the model gave what is no number.
        """
        probability = self._model().probability(prompt, candidate)
        verdict = Sameness.SAME if probability >= self._level else Sameness.DIFFERENT
        return Judgement(verdict, probability)

    async def judge_async(self, prompt: str, candidate: str, timeout_seconds: float) -> Judgement:
        """Return what ``judge`` returns, from a thread of the event loop's pool."""
        return await asyncio.to_thread(self.judge, prompt, candidate, timeout_seconds)

    def _model(self) -> _CrossEncoder:
        slot = self._models.get()
        if slot.model is None:
            with slot.loading:
                if slot.model is None:
                    slot.model = _CrossEncoder(self._folder)
        return slot.model


class _Slot:
    """The model of one process, loaded once by whichever thread comes first."""

    def __init__(self) -> None:
        self.loading = threading.Lock()
        self.model: _CrossEncoder | None = None


class _CrossEncoder:
    """Tokenizer and session of one folder; a session may run on several threads at once."""

    def __init__(self, folder: Path) -> None:
        missing = [name for name in (MODEL_FILE, TOKENIZER_FILE) if not (folder / name).is_file()]
        if missing:
            raise ConfigError(f"the judge's folder {folder} has no {missing[0]}")
        self._path = folder / MODEL_FILE
        self._pieces = _pieces(folder / TOKENIZER_FILE)
        self._session = _session(self._path)
        self._inputs = [one.name for one in self._session.get_inputs()]
        unknown = sorted(set(self._inputs) - set(_KNOWN_INPUTS))
        if unknown or "input_ids" not in self._inputs:
            raise ConfigError(f"{self._path} takes {', '.join(self._inputs)}; a cross-encoder takes {_KNOWN_INPUTS}")

    def probability(self, prompt: str, candidate: str) -> float:
        """Return the chance that the texts ask the same."""
        import numpy as np  # noqa: PLC0415 - what needs no model needs no numpy

        try:
            pair = self._pieces.encode(prompt[:MAX_CHARACTERS], candidate[:MAX_CHARACTERS])
        except (TypeError, UnicodeEncodeError) as error:  # a TypeError is how the library names a lone surrogate
            raise ContractError(f"a text is not a string of valid Unicode: {error}") from error
        rows = {"input_ids": pair.ids, "attention_mask": pair.attention_mask, "token_type_ids": pair.type_ids}
        given = {name: np.array([rows[name]], dtype=np.int64) for name in self._inputs}
        scores = np.asarray(self._session.run(None, given)[0], dtype=np.float64).reshape(-1)
        if len(scores) not in (1, 2):
            raise ConfigError(f"{self._path} gives {len(scores)} numbers a pair; a cross-encoder gives 1 or 2")
        score = float(scores[-1] - (scores[0] if len(scores) == 2 else 0.0))
        if math.isnan(score):
            raise ContractError(f"{self._path} returned NaN")
        small = math.exp(-abs(score))  # never overflows
        return (1.0 if score >= 0 else small) / (1.0 + small)


def _pieces(path: Path) -> Any:
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415 - an optional dependency
    except ImportError as error:
        raise ConfigError("a local judge needs the package tokenizers: pip install 'nearhit[local]'") from error
    try:
        pieces = Tokenizer.from_file(str(path))
    except Exception as error:
        raise ConfigError(f"tokenizer file {path} cannot be read: {error}") from error
    pieces.no_padding()
    pieces.enable_truncation(MAX_TOKENS)
    return pieces


def _session(path: Path) -> Any:
    # its import alone writes a device id into the home directory otherwise (1.32)
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime  # noqa: PLC0415 - an optional dependency, 0.2 s
    except ImportError as error:
        raise ConfigError("a local judge needs the package onnxruntime: pip install 'nearhit[local]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ConfigError(f"model file {path} cannot be read: {error}") from error
