"""Registry: which embedders a namespace knows, so that one embedder has one fingerprint everywhere.

A hosted model gives the same text slightly different vectors from call to call, so a digest of the probe vector alone
would differ between processes. The first process that meets a model writes its probe down; every other one compares
its own probe with what is there and takes over the fingerprint. Two models never match, so their entries never mix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nearhit.embedding import fingerprint
from nearhit.errors import ConfigError, ContractError, EmbedderUnavailableError, StoreUnavailableError
from nearhit.flow.steps import Embed, Flow, ReplyError, Send, ask
from nearhit.valkey import key_names, search_protocol
from nearhit.valkey.replies import mapping

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MAX_SLOTS = 64


@dataclass(frozen=True, slots=True)
class Known:
    """An embedder that a namespace knows.

    Attributes:
        id: fingerprint, 12 hex digits: part of every key.
        dimension: length of its vectors.
        verified: its probe was compared; False while the embedder does not answer and the name alone was found.
    """

    id: str
    dimension: int
    verified: bool = True


@dataclass(frozen=True, slots=True)
class Registered:
    """An embedder as a namespace has it written down.

    Attributes:
        field: of the registry's hash.
        id: fingerprint.
        model: its model string.
        dimension: length of its vectors.
    """

    field: str
    id: str
    model: str
    dimension: int


def registered(namespace: str) -> Flow[list[Registered]]:
    """Return all embedders that a namespace has ever met and not forgotten.

    Raises:
        StoreUnavailableError: the server does not answer.
        ContractError: a record is damaged.
    """
    table = key_names.embedders(namespace)
    reply = yield from ask(("HGETALL", table))
    if isinstance(reply, ReplyError):
        raise _refused(table, reply)
    found = []
    for field, blob in mapping(reply).items():
        record = fingerprint.decode_probe(blob)
        known = record.fingerprint
        found.append(Registered(field.decode(), known.id, record.model, record.dimension))
    return sorted(found, key=lambda one: one.field)


def forget(namespace: str, known: Registered) -> Flow[None]:
    """Take an embedder out of a namespace's registry; one that is still in use writes itself down again."""
    yield Send((("HDEL", key_names.embedders(namespace), known.field),))


def resolve(namespace: str, model: str) -> Flow[Known]:
    """Return the fingerprint of the embedder in use, writing it down when it is new.

    An embedder that does not answer is identified by its name, so that exact hits continue during its outage.

    Raises:
        EmbedderUnavailableError: it does not answer, and the namespace does not know it.
        StoreUnavailableError: the server does not answer.
    """
    table = key_names.embedders(namespace)
    try:
        probe = (yield Embed((fingerprint.PROBE_TEXT,))).vectors[0]
    except EmbedderUnavailableError:
        newest = None
        for slot in range(_MAX_SLOTS):
            there = yield from _read(table, _field(model, slot))
            if there is None:
                break
            newest = there
        if newest is None:
            raise
        return Known(fingerprint.fingerprint_of(model, newest).id, len(newest), verified=False)
    return (yield from register(table, model, probe))


def register(table: str, model: str, probe: NDArray[np.float32]) -> Flow[Known]:
    """Return the fingerprint that a probe has in the registry, written down there if it is new."""
    for slot in range(_MAX_SLOTS):
        field = _field(model, slot)
        there = yield from _read(table, field)
        if there is None:
            blob = fingerprint.encode_probe(fingerprint.ProbeRecord(model, len(probe), probe))
            written = yield from ask(("HSETNX", table, field, blob))
            if isinstance(written, ReplyError):
                raise _refused(table, written)
            there = yield from _read(table, field)  # another process may have been first
        if there is None:
            raise StoreUnavailableError(f"{table} does not keep what is written to it")
        if len(there) == len(probe) and fingerprint.same_embedder(there, probe):
            return Known(fingerprint.fingerprint_of(model, there).id, len(there))
    raise ContractError(f"model {model!r} has given {_MAX_SLOTS} different probe vectors: it is not deterministic")


def _read(table: str, field: str) -> Flow[NDArray[np.float32] | None]:
    reply = yield from ask(("HGET", table, field))
    if isinstance(reply, ReplyError):
        raise _refused(table, reply)
    return None if reply is None else fingerprint.decode_probe(reply).probe


def _refused(table: str, reply: ReplyError) -> ConfigError | StoreUnavailableError:
    text = f"{table}: {reply.kind}: {reply.text}"
    if search_protocol.is_forbidden(reply.kind, reply.text):
        return ConfigError(f"{text}; grant the user the keys nearhit:*")
    return StoreUnavailableError(text)


def _field(model: str, slot: int) -> str:
    return f"{slot}:{model}"
