"""Question: what is asked and by whom, as the cache sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nearhit.domain.outcome import Miss, MissReason
from nearhit.domain.prompt import Bypass, read_prompt
from nearhit.domain.scope import Scope, scope_digest, tenant_digest
from nearhit.errors import (
    ContractError,
    TooLargeError,
)


@dataclass(frozen=True, slots=True)
class Query:
    """A question on its way: canonical text, scope digest, tenant digest."""

    text: str
    scope: str
    tenant: str = ""


def read_question(prompt: Any, scope: Scope | Mapping[str, Any] | None) -> Query | Miss:
    """Return the query for a prompt in a scope, or the miss that says why it cannot be cached. Never raises."""
    question = read_prompt(prompt)
    if isinstance(question, Bypass):
        return Miss(reason=MissReason(question.value))
    try:
        who = Scope.of(scope)
        return Query(question.text, scope_digest(who, question.context), tenant_digest(who.tenant))
    except TooLargeError as error:
        return Miss(reason=MissReason.BYPASS_TOO_LARGE, detail=str(error))
    except ContractError as error:
        return Miss(reason=MissReason.BYPASS_SCOPE, detail=str(error))
    except Exception as error:  # noqa: BLE001 - the methods of a caller's own mapping raise whatever they like
        return Miss(reason=MissReason.BYPASS_SCOPE, detail=f"the scope cannot be read: {type(error).__name__}")


def listed_prompts(prompts: Any) -> list[Any] | Miss:
    """Return the prompts of a ``lookup_many``, or the miss that says why there are none. Never raises."""
    if isinstance(prompts, str | bytes | bytearray | Mapping):  # their letters and keys are no prompts
        return Miss(reason=MissReason.BYPASS_NOT_TEXT, detail=f"prompts are a list, not {type(prompts).__name__}")
    try:
        return list(prompts)
    except Exception as error:  # noqa: BLE001 - a caller's own iterable raises whatever it likes
        detail = f"prompts are a list, not {type(prompts).__name__}: {type(error).__name__}"
        return Miss(reason=MissReason.BYPASS_NOT_TEXT, detail=detail)
