"""Question: what is asked and by whom, and the outcomes that a lookup of it can have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from msgspec import Struct

from nearhit.domain.entry import decode_response
from nearhit.domain.outcome import Hit, Miss, MissReason, Nearest, Tier
from nearhit.domain.prompt import Bypass, read_prompt
from nearhit.domain.scope import Scope, scope_digest, tenant_digest
from nearhit.errors import ContractError, TooLargeError

if TYPE_CHECKING:
    from nearhit.domain.neighbour import Chosen


class MissDetails(TypedDict, total=False):
    """What a miss may say besides its question and its reason; see ``Miss``."""

    nearest: Nearest | None
    vector: bytes
    embedder: str
    detail: str
    threshold: float | None
    stages: dict[str, float]


class Question(Struct, frozen=True):
    """A question that can be cached, from the caller's prompt to the outcome.

    Attributes:
        text: its canonical text, see ``prompt.canonical_text``.
        scope: hex digest of who may share the answer, and of what the answer depends on.
        tenant: hex digest of the tenant; empty for none.

    >>> question = read_question("What is a semantic cache? ", {"model": "gpt-4o"})
    >>> question.text
    'What is a semantic cache?'
    >>> question.miss(MissReason.EMPTY).prompt
    'What is a semantic cache?'
    >>> read_question("   ", None).reason.value
    'bypass_empty'
    """

    text: str
    scope: str
    tenant: str = ""

    def miss(self, reason: MissReason, **details: Unpack[MissDetails]) -> Miss:
        """Return the miss of this question."""
        return Miss(reason=reason, prompt=self.text, scope=self.scope, tenant=self.tenant, **details)

    def hit(self, tier: Tier, chosen: Chosen, now_seconds: float, threshold: float, stages: dict[str, float]) -> Hit:
        """Return the hit of this question.

        Args:
            tier: where the entry was found.
            chosen: the entry that answers, with its answer.
            now_seconds: now, since the epoch.
            threshold: the one in force.
            stages: seconds by stage; the hit carries this very mapping.

        Raises:
            EntryError: the stored answer cannot be read.
        """
        found = chosen.entry
        return Hit(
            answer=decode_response(found.response),
            tier=tier,
            similarity=chosen.similarity,
            prompt=self.text,
            cached_prompt=found.prompt,
            key=chosen.key.decode(),
            age_seconds=max(0.0, now_seconds - found.created_us / 1e6),
            lifetime_seconds=max(0.0, found.expires_ms / 1000 - found.created_us / 1e6),
            fresh=now_seconds * 1000 < found.fresh_until_ms,
            refreshable=bool(found.refresh),
            usage=found.usage,
            threshold=threshold,
            stages=stages,
        )


def read_question(prompt: Any, scope: Scope | Mapping[str, Any] | None) -> Question | Miss:
    """Return the question of a prompt in a scope, or the miss that says why it cannot be cached. Never raises."""
    read = read_prompt(prompt)
    if isinstance(read, Bypass):
        return Miss(reason=MissReason(read.value))
    try:
        who = Scope.of(scope)
        return Question(read.text, scope_digest(who, read.context), tenant_digest(who.tenant))
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
