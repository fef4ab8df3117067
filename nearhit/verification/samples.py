"""Samples: verified hits, in a stream on the log's server that expires with its window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nearhit.flow.steps import Flow, Send, accepted
from nearhit.valkey.replies import mapping

if TYPE_CHECKING:
    from nearhit.flow.steps import Word
    from nearhit.valkey.key_names import LogKeys

MAX_SAMPLES = 10_000
"""Samples kept in a namespace; the oldest go first."""

PAGE = 1_000

TRUE_HIT, FALSE_HIT, UNJUDGED = "true_hit", "false_hit", "unjudged"
VERDICTS = (TRUE_HIT, FALSE_HIT, UNJUDGED)

ANEW = "anew"
"""Verdict of a mark: samples before it no longer count."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A verified hit. It holds no text.

    Attributes:
        verdict: one of ``VERDICTS``, or ``ANEW`` for a mark among them.
        similarity: of the question and the cached one.
        threshold: by which the hit was judged.
        origin: where that came from: ``settings``, or the field of an entry.
        since_ms: when that entry was set, milliseconds since the epoch; 0 for the setting.
        scope: digest of its scope.
        at_ms: when it was judged.
        id: of its place in the stream.
    """

    verdict: str
    similarity: float
    threshold: float
    origin: str
    since_ms: int
    scope: str = ""
    at_ms: int = 0
    id: bytes = b""

    @property
    def readable(self) -> bool:
        """Whether it is what this module writes."""
        return self.verdict in {*VERDICTS, ANEW}


def fields_of(sample: Sample) -> tuple[Word, ...]:
    """Return a sample as it is stored."""
    return (
        *("v", sample.verdict, "s", f"{sample.similarity:.6f}", "t", f"{sample.threshold:.6f}"),
        *("o", sample.origin, "e", sample.since_ms, "c", sample.scope),
    )


def newer(keys: LogKeys, after: bytes = b"") -> Flow[tuple[bytes, list[Sample]]]:
    """Return the id of the oldest sample that is there, empty for none, and up to ``PAGE`` samples after ``after``.

    What cannot be read is left out.
    """
    start = b"(" + after if after else b"-"
    commands = (
        ("XRANGE", keys.verified, "-", "+", "COUNT", 1),
        ("XRANGE", keys.verified, start, "+", "COUNT", PAGE),
    )
    oldest, page = [accepted(reply, keys.verified) for reply in (yield Send(commands, "verify"))]
    return (oldest[0][0] if oldest else b""), [read_sample(row[0], row[1]) for row in page]


def everything(keys: LogKeys) -> Flow[list[Sample]]:
    """Return all samples of a namespace, oldest first."""
    found: list[Sample] = []
    page = (yield from newer(keys))[1]
    while page:
        found += page
        page = (yield from newer(keys, page[-1].id))[1]
    return [one for one in found if one.readable]


def begin_anew(keys: LogKeys, life_ms: int) -> Flow[None]:
    """Discard the samples until now: somebody took a raised threshold back."""
    mark = fields_of(Sample(ANEW, 0.0, 0.0, "settings", 0))
    commands = (("XADD", keys.verified, "MAXLEN", "~", MAX_SAMPLES, "*", *mark), ("PEXPIRE", keys.verified, life_ms))
    for reply in (yield Send(commands, "verify")):
        accepted(reply, keys.verified)


def read_sample(id_: bytes, values: list[Any]) -> Sample:
    """Return a sample as it is stored; one that cannot be read has a verdict without a name, which nobody counts."""
    row = mapping(values)
    at_ms = int(id_.split(b"-")[0])
    try:
        return Sample(
            verdict=row[b"v"].decode(),
            similarity=float(row[b"s"]),
            threshold=float(row[b"t"]),
            origin=row[b"o"].decode(),
            since_ms=int(row[b"e"]),
            scope=row[b"c"].decode(),
            at_ms=at_ms,
            id=id_,
        )
    except (KeyError, ValueError):
        return Sample("", 0.0, 0.0, "", 0, at_ms=at_ms, id=id_)
