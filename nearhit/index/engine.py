"""Engine: the interface of both index engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from nearhit.domain.neighbour import Neighbour
    from nearhit.flow.steps import Flow
    from nearhit.index.quick_search import QuickSearch


class Engine(Protocol):
    """Finds the nearest entries of a scope. Sans-IO: every method that needs the server is a flow.

    Attributes:
        name: ``valkey-search`` or ``local``.
        backfilling: the server is still reading existing entries into the index, so that a search may miss some.
    """

    name: str
    backfilling: bool

    @property
    def quick(self) -> QuickSearch | None:
        """Whether lookups should begin with few candidates; ``None`` where that is no faster."""

    def search(self, scope: str, vector: NDArray[np.float32], k: int, candidates: int = 0) -> Flow[Sequence[Neighbour]]:
        """Return up to ``k`` entries of ``scope``, nearest first, for a ``(dim,) float32`` unit vector.

        Args:
            scope: whose.
            vector: of the question.
            k: how many.
            candidates: of an approximate index to look at; 0 takes what is set for it.

        Raises:
            IndexLostError: there is no index on the server; a writer makes it again.
            UnavailableError: the server does not answer, or the replica is still loading.
        """

    def prepare(self) -> Flow[bool]:
        """Create the index, or verify an existing one; safe to call from many processes at once.

        Returns:
            Whether it had to be made.

        Raises:
            IndexMismatchError: an index of that name has another shape.
        """

    def wait_ready(self, timeout_seconds: float) -> bool:
        """Wait until searches find what is there; returns whether they do. At once where the server searches."""

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Stop whatever the engine runs in the background, and wait for its end, not longer than the timeout."""
