"""Key names: every name that Nearhit uses on a server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nearhit.domain.entry import to_fields
from nearhit.errors import ConfigError

if TYPE_CHECKING:
    from nearhit.domain.entry import Entry

_NAMESPACE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def check_namespace(namespace: str) -> str:
    """Return ``namespace``, or raise ``ConfigError`` when a key or a metric label could not hold it."""
    if not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace):
        shown = repr(namespace)[:80]
        raise ConfigError(f"namespace {shown} must be 1 to 64 letters, digits, dots, dashes and underscores")
    return namespace


@dataclass(frozen=True, slots=True)
class LogKeys:
    """Names on the log's server, one set a namespace: they never depend on an embedder.

    All have the namespace in braces, their hash tag: a fill moves between them in one step, so that a cluster must
    keep them on one node.
    """

    namespace: str

    def log(self, lane: str) -> str:
        """Return the fill log of a lane, ``interactive`` or ``bulk``."""
        return f"nearhit:{{{self.namespace}}}:log:{lane}"

    def retry(self, lane: str) -> str:
        """Return the sorted set of fills of a lane that wait for their next try, by due time in milliseconds."""
        return f"nearhit:{{{self.namespace}}}:retry:{lane}"

    def late(self, lane: str) -> str:
        """Return the sorted set of fills of a lane that failed and are not done: log ids by when they were accepted."""
        return f"nearhit:{{{self.namespace}}}:late:{lane}"

    @property
    def dead(self) -> str:
        """The dead-letter log."""
        return f"nearhit:{{{self.namespace}}}:dead"

    @property
    def expired(self) -> str:
        """How many fills ended in the log, since their time to live was over; nothing else is kept of them."""
        return f"nearhit:{{{self.namespace}}}:expired"

    @property
    def thresholds(self) -> str:
        """The thresholds that were set while processes run, by whom they concern."""
        return f"nearhit:{{{self.namespace}}}:thresholds"

    @property
    def verified(self) -> str:
        """The stream of hits that were verified: verdicts and similarities, no texts."""
        return f"nearhit:{{{self.namespace}}}:verified"

    def wake(self, lane: str) -> str:
        """Return the flag that says a wake-up of a lane is on its way."""
        return f"nearhit:{{{self.namespace}}}:wake:{lane}"

    @property
    def trial(self) -> str:
        """Return the key that is written to try out whether the server can confirm a write."""
        return f"nearhit:{{{self.namespace}}}:trial"

    def refreshing(self, digest: str) -> str:
        """Return the flag that says an entry's model was asked again a moment ago."""
        return f"nearhit:{{{self.namespace}}}:refreshing:{digest}"

    @property
    def invalidated(self) -> str:
        """Changes with every invalidation: earlier answers are then no longer handed over."""
        return f"nearhit:{{{self.namespace}}}:invalidated"

    def flight(self, digest: str) -> str:
        """Return the lease of the one process that asks the model a question, or the answer that it got."""
        return f"nearhit:{{{self.namespace}}}:flight:{digest}"


@dataclass(frozen=True, slots=True)
class CacheKeys:
    """Names on the cache server, for one namespace and one embedder fingerprint."""

    namespace: str
    embedder: str

    @property
    def prefix(self) -> str:
        """The prefix of every entry, which is also the index's."""
        return f"nearhit:{self.namespace}:{self.embedder}:e:"

    def entry(self, scope: str, digest: str) -> str:
        """Return the key of an entry: ``{prefix}{scope}:{digest of the canonical text}``."""
        return f"{self.prefix}{scope}:{digest}"

    def fields(self, one: Entry) -> dict[bytes, bytes]:
        """Return the HASH fields of an entry."""
        return to_fields(one)

    @property
    def changes(self) -> str:
        """The change stream that replicas of the local engine follow."""
        return f"nearhit:{self.namespace}:{self.embedder}:changes"

    @property
    def generation(self) -> str:
        """The pointer to the generation of the index that readers use."""
        return f"nearhit:{self.namespace}:{self.embedder}:generation"

    @property
    def reindexed(self) -> str:
        """How far another embedder has taken these entries over."""
        return f"nearhit:{self.namespace}:{self.embedder}:reindexed"

    def rotation(self, what: str) -> str:
        """Return a short-lived key of the index's rotation: ``lock``, ``grace`` or ``pause``."""
        return f"nearhit:{self.namespace}:{self.embedder}:rotation:{what}"

    def index(self, generation: int) -> str:
        """Return the name of the index of a generation."""
        return f"nearhit:{self.namespace}:{self.embedder}:g{generation}"


def lease(entry_key: str) -> str:
    """Return the key of an entry's write lease, in the entry's hash slot."""
    return f"nearhit:lease:{{{entry_key}}}"


def embedders(namespace: str) -> str:
    """Return the hash of embedders known to a namespace."""
    return f"nearhit:{namespace}:embedders"
