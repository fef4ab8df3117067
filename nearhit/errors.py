"""Errors: the one tree, branched by what to do next.

NearhitError
├── ConfigError             an operator's mistake: stop at start, say what to change
├── ContractError           bytes, dimension or embedder disagree: never retried, counted, dead-lettered
│   ├── VectorError         not a finite, non-zero vector of the right dimension
│   ├── EntryError          an entry that cannot be encoded or decoded
│   ├── MessageError        a fill message that cannot be encoded or decoded
│   │   └── NewerMessageError   one of a version that only a newer worker knows: it waits for one
│   ├── TooLargeError       a scope or a conversation that is too large to be digested before a lookup
│   └── IndexMismatchError  an index of that name exists with another shape
└── UnavailableError        try later: retried with backoff and a ceiling
    ├── StoreUnavailableError     the cache server or the broker does not answer
    │   └── BusyError             no connection is free yet; the server has not failed
    ├── EmbedderUnavailableError  the embedder does not answer, or not in time
    │   └── EmbedderBusyError     no embedding call is free yet; the embedder has not failed
    ├── JudgeUnavailableError     the second stage does not answer, or not in time
    └── IndexLostError            the index is gone; a writer makes it again
"""

from __future__ import annotations


class NearhitError(Exception):
    """Any failure that Nearhit names."""


class ConfigError(NearhitError):
    """A setting is missing or wrong; the message names the setting and the value."""


class ContractError(NearhitError):
    """Two parts disagree about bytes, dimension or embedder; trying again cannot help."""


class VectorError(ContractError):
    """A vector is not finite, is zero, or has the wrong dimension."""


class EntryError(ContractError):
    """An entry cannot be encoded or decoded."""


class MessageError(ContractError):
    """A fill message cannot be encoded or decoded."""


class NewerMessageError(MessageError):
    """A message of a version that only a newer worker knows; it waits for one."""


class TooLargeError(ContractError):
    """A scope or a conversation has more values or bytes than a lookup digests before its first step."""


class IndexMismatchError(ContractError):
    """An index of the wanted name exists with another shape; the message names both and the way out."""


class UnavailableError(NearhitError):
    """A part does not answer now; trying later may help.

    Attributes:
        part: which one, for the log; empty where nobody said.
    """

    part = ""

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class StoreUnavailableError(UnavailableError):
    """The cache server or the broker does not answer, or not within the deadline."""


class BusyError(StoreUnavailableError):
    """The deadline went by in a queue of this process: for a connection, the first one, or behind other callers.

    That is a limit of this process, or of the way to the server: circuit breakers do not count it.
    """


class EmbedderUnavailableError(UnavailableError):
    """The embedder does not answer, or not within the deadline."""

    part = "embedder"


class EmbedderBusyError(EmbedderUnavailableError):
    """As many embedding calls were under way as may be, and none ended within the deadline; no breaker counts it."""


class JudgeUnavailableError(UnavailableError):
    """The judge of the second stage does not answer, or not within the deadline."""


class IndexLostError(UnavailableError):
    """The index is not on the server; it is made again by the write path."""
