"""Deadline judge: adds a deadline to a judge and translates its errors."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nearhit.errors import ConfigError, ContractError, JudgeUnavailableError, NearhitError, UnavailableError
from nearhit.flow.ports import Judgement, Sameness
from nearhit.resilience.deadline import BoundedCalls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nearhit.flow.ports import PairJudge


class DeadlineJudge:
    """The judge ``inner``, with a judgement or an error of two kinds within ``timeout_seconds``.

    Whatever is wrong with a judge, lookups go on: a refused key is an unavailability here, too.

    Args:
        inner: the judge that does the work; it may be the caller's own.
    """

    def __init__(self, inner: PairJudge) -> None:
        self.name = inner.name
        self.inner = inner
        self._calls: BoundedCalls[Judgement] = BoundedCalls(inner.name, JudgeUnavailableError, "nearhit-judge")

    def __repr__(self) -> str:
        return f"DeadlineJudge({self.inner!r})"

    def load(self) -> None:
        """Load what the first call would load, where the judge has such a thing.

        Raises:
            NearhitError: it cannot be loaded.
        """
        load = getattr(self.inner, "load", None)  # no part of the port: a judge of the caller's need not have it
        if load is not None:
            with self._translated(NearhitError):
                load()

    def judge(self, prompt: str, candidate: str, timeout_seconds: float) -> Judgement:
        """Return what the inner judge says.

        Raises:
            ContractError: it gave what is no judgement.
            JudgeUnavailableError: it raised anything else, or nothing came within ``timeout_seconds``.
        """
        with self._translated(UnavailableError, ContractError):
            said = self._calls.run(lambda: self.inner.judge(prompt, candidate, timeout_seconds), timeout_seconds)
        return self._checked(said)

    async def judge_async(self, prompt: str, candidate: str, timeout_seconds: float) -> Judgement:
        """Return what ``judge`` returns without blocking the event loop; raises as ``judge`` does."""
        with self._translated(UnavailableError, ContractError):
            call = self.inner.judge_async(prompt, candidate, timeout_seconds)
            said = await self._calls.run_async(call, timeout_seconds)
        return self._checked(said)

    @contextmanager
    def _translated(self, *known: type[Exception]) -> Iterator[None]:
        """Let what is known through; whatever else the judge raises is an unavailability."""
        try:
            yield
        except known:
            raise
        except ConfigError as error:
            raise JudgeUnavailableError(str(error)) from error
        except Exception as error:
            raise JudgeUnavailableError(f"judge {self.name} raised {type(error).__name__}") from error

    def _checked(self, said: Any) -> Judgement:
        if isinstance(said, Judgement) and isinstance(said.verdict, Sameness) and 0.0 <= said.probability <= 1.0:
            return said
        raise ContractError(f"judge {self.name} returned a {type(said).__name__} instead of a judgement")
