"""Agreement: the text of answers, and whether two are equal without asking a model. Pure."""

from __future__ import annotations

import json
import string
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

_EDGES = string.punctuation + string.whitespace


@dataclass(frozen=True, slots=True)
class Answers:
    """Two answers to one question.

    Attributes:
        question: what was asked.
        cached: the answer that was served.
        fresh: the answer that the model gives now.
        model: which model.
    """

    question: str
    cached: str
    fresh: str
    model: str = ""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Whether two answers agree, and what it cost to say so."""

    agrees: bool
    dollars: float = 0.0


def text_of(answer: Any) -> str:
    """Return the text of an answer: itself, or what a chat, completion or Responses reply says; else its JSON."""
    if isinstance(answer, str):
        return answer
    said = _said(answer) if isinstance(answer, Mapping) else ""
    return said or json.dumps(answer, sort_keys=True, ensure_ascii=False)


def equal(one: str, other: str) -> bool:
    """Return whether two texts are the same but for case, white space, and punctuation around them."""
    return _folded(one) == _folded(other)


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(_EDGES)


def _said(answer: Mapping[str, Any]) -> str:
    if "timestamp" in answer and "response" in answer:  # as LiteLLM's own cache dates an answer
        inner = answer["response"]
        with suppress(ValueError):
            inner = json.loads(inner) if isinstance(inner, str) else inner
        return text_of(inner)
    choices = _listed(answer.get("choices"))
    if choices:
        message = choices[0].get("message")
        said = message.get("content") if isinstance(message, Mapping) else choices[0].get("text")
        return said if isinstance(said, str) else ""
    parts = [part for item in _listed(answer.get("output")) for part in _listed(item.get("content"))]
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))


def _listed(values: Any) -> list[Mapping[str, Any]]:
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        return []
    return [one for one in values if isinstance(one, Mapping)]
