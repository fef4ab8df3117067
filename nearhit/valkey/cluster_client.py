"""Cluster client: makes redis-py's cluster client in the background, since its constructor reads the nodes."""

from __future__ import annotations

import _thread
import threading
import time
from typing import TYPE_CHECKING, Final

from nearhit.errors import BusyError, StoreUnavailableError
from nearhit.resilience.per_process import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

_SLICE_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 1.0
"""How long the first reading of the nodes is no failure of the cluster."""


class ClusterClient:
    """Holds the client of a cluster once it is made; until then its callers wait within their deadlines.

    Thread-safe and fork-safe; no exception of a signal handler makes it hang.

    Args:
        make: makes the client, which connects at once.
    """

    def __init__(self, make: Callable[[], redis.RedisCluster]) -> None:
        self._make = make
        self._client: redis.RedisCluster | None = None
        self._making = PerProcess(_Making)
        self._closed = False

    def get(self, deadline: float) -> redis.RedisCluster:
        """Return the client.

        Args:
            deadline: of ``time.monotonic``.

        Raises:
            BusyError: the nodes are being read for the first time.
            StoreUnavailableError: they cannot be read.
        """
        making = self._making.get()
        failed: int | None = None
        while True:
            client = self._client
            if client is not None:
                return client
            if failed is not None and making.failures > failed:
                raise StoreUnavailableError(making.failure)
            failed = making.failures
            left = deadline - time.monotonic()
            if left <= 0:
                raise making.too_late()
            if making.thread is None or not making.thread.is_alive():
                try:
                    _thread.start_new_thread(self._start, (making,))  # a thread that no signal handler interrupts
                except RuntimeError as error:
                    making.failure = str(error)
            if making.done.acquire(timeout=min(left, _SLICE_SECONDS)):
                making.done.release()  # for the others that wait

    def close(self) -> None:
        """Close the client, also one that is still being made."""
        self._closed = True
        if self._client is not None:
            self._client.close()

    def _start(self, making: _Making) -> None:
        with making.lock:
            if self._client is not None or (making.thread is not None and making.thread.is_alive()):
                return
            making.began = time.monotonic()
            making.thread = threading.Thread(target=self._run, args=(making,), name="nearhit-cluster", daemon=True)
            try:
                making.thread.start()
            except RuntimeError as error:
                making.failure = str(error)

    def _run(self, making: _Making) -> None:
        try:
            made = self._make()
        except BaseException as error:  # noqa: BLE001 - raised again in those who wait
            making.failure = f"{type(error).__name__}: {error}"
            making.failures += 1
            return
        self._client = made
        making.done.release()
        if self._closed:
            made.close()


class _Making:
    """One process's state while the client is made."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.done = threading.Lock()
        self.done.acquire()
        self.thread: threading.Thread | None = None
        self.began = 0.0
        self.failures = 0
        self.failure = ""

    def too_late(self) -> StoreUnavailableError:
        """Return what a caller raises whose time is over."""
        if self.failure:
            return StoreUnavailableError(f"the cluster's nodes are not known yet; before: {self.failure}")
        if self.began and time.monotonic() - self.began > _PATIENCE_SECONDS:
            return StoreUnavailableError(f"the cluster's nodes were not read within {_PATIENCE_SECONDS:g} s")
        return BusyError("the cluster's nodes are still being read")
