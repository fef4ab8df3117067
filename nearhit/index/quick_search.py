"""Quick search: when the first search of a lookup looks at few candidates of the graph."""

from __future__ import annotations

from typing import Final

CANDIDATES: Final = 10
"""EF_RUNTIME of a quick search: finds nine in ten nearest neighbours in half the server's time, see docs/index.md."""

_WORTH = 2 / 3
_WEIGHT = 1 / 64


class QuickSearch:
    """Whether lookups should begin with a quick search, which may miss what a thorough one finds.

    What it finds and may be served is as good an answer as that of a nearer entry. Where it finds nothing to serve, the
    lookup searches thoroughly as well, so that nothing is missed. That costs more than searching thoroughly at once, so
    lookups begin quickly only while two thirds of the latest ones were served what their first search found.

    >>> quick = QuickSearch()
    >>> quick.worth
    False
    >>> for _ in range(100):
    ...     quick.count(served=True)
    >>> quick.worth
    True
    """

    def __init__(self) -> None:
        self._share = 0.0

    @property
    def worth(self) -> bool:
        """Whether the next lookup should begin with it."""
        return self._share >= _WORTH

    def count(self, *, served: bool) -> None:
        """Count what became of a first search, quick or thorough; threads may lose a count to each other."""
        self._share += _WEIGHT * (served - self._share)
