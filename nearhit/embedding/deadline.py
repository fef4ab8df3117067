"""Deadline: holds a remote embedder to its time limit, whatever its client does.

A client's own timeout is not enough: it counts each read anew, it retries, and a dead endpoint has held
requests for eleven minutes. Here the call runs on a thread that its caller stops waiting for.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from nearhit.embedding.per_process import PerProcess
from nearhit.errors import ConfigError, EmbedderUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit.embedding.port import Embedder, Embeddings

MAX_ABANDONED = 8


class DeadlineEmbedder:
    """The embedder ``inner``, with answers or errors within ``timeout_seconds``.

    A call costs a thread start, 0.1 ms. The threads are bounded: one for each waiting caller, and at most
    ``max_abandoned`` that nobody waits for any more; while that many hang, further calls fail at once.

    Args:
        inner: the embedder that does the work.
        max_abandoned: how many hanging calls are borne before further ones are refused.

    Raises:
        ConfigError: ``max_abandoned`` is less than 1.
    """

    def __init__(self, inner: Embedder, max_abandoned: int = MAX_ABANDONED) -> None:
        if max_abandoned < 1:
            raise ConfigError(f"max_abandoned={max_abandoned} is less than 1")
        self.name = inner.name
        self.in_process = inner.in_process
        self.inner = inner
        self._max_abandoned = max_abandoned
        self._counts = PerProcess(_Abandoned)  # a forked child has none of its parent's threads

    def __repr__(self) -> str:
        return f"DeadlineEmbedder({self.inner!r})"

    def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        """Embed ``texts``; raises what the inner embedder raises.

        Raises:
            EmbedderUnavailableError: also when nothing came within ``timeout_seconds``, or when too many
            earlier
                calls still hang.
        """
        abandoned = self._counts.get()
        if abandoned.count >= self._max_abandoned:
            raise EmbedderUnavailableError(f"{self.name}: {abandoned.count} earlier calls still hang")
        call = _Call(self.inner, list(texts), timeout_seconds)
        call.start()
        try:
            return call.answer.result(timeout_seconds)
        except TimeoutError as error:
            abandoned.add(call)
            raise _too_late(self.name, timeout_seconds) from error

    async def embed_async(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        """Embed ``texts`` as ``embed`` does; the inner call is cancelled at the deadline."""
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self.inner.embed_async(texts, timeout_seconds)
        except TimeoutError as error:
            raise _too_late(self.name, timeout_seconds) from error


class _Call:
    """One call of an embedder on a daemon thread, which never keeps the process from ending."""

    def __init__(self, inner: Embedder, texts: list[str], timeout_seconds: float) -> None:
        self.answer: Future[Embeddings] = Future()
        self._work = (inner, texts, timeout_seconds)

    def start(self) -> None:
        context = contextvars.copy_context()  # tracing of the application goes along
        threading.Thread(target=context.run, args=(self._run,), name="nearhit-embed", daemon=True).start()

    def _run(self) -> None:
        inner, texts, timeout_seconds = self._work
        try:
            self.answer.set_result(inner.embed(texts, timeout_seconds))
        except BaseException as error:  # noqa: BLE001 - raised again in the waiting caller
            self.answer.set_exception(error)


class _Abandoned:
    """How many calls run that nobody waits for."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def add(self, call: _Call) -> None:
        with self._lock:
            self.count += 1
        call.answer.add_done_callback(lambda _: self._remove())  # runs at once if it has ended meanwhile

    def _remove(self) -> None:
        with self._lock:
            self.count -= 1


def _too_late(name: str, timeout_seconds: float) -> EmbedderUnavailableError:
    return EmbedderUnavailableError(f"{name} gave no answer within {timeout_seconds:g} s")
