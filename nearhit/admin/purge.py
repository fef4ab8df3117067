"""Purge: removes entries by name, or all of a namespace, and tells replicas."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from nearhit.embedding import fingerprint
from nearhit.flow.steps import accepted
from nearhit.index.litellm_layout import keys_of
from nearhit.index.local.changes import changed
from nearhit.valkey import key_names, keyspace
from nearhit.valkey.link import link_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from nearhit.flow.ports import Link
    from nearhit.flow.steps import Command
    from nearhit.settings import Settings
    from nearhit.valkey.key_names import CacheKeys

_BATCH = 500
_SECONDS = 5.0


def remove_all(settings: Settings) -> int:
    """Remove every entry of a namespace that its known embedders made; return how many there were.

    What waits in the fill log is written after this.

    Raises:
        StoreUnavailableError: the server does not answer.
    """
    with closing(link_for(settings.server().client())) as link:
        return sum(_remove(link, keys, _names(link, keys)) for keys in _spaces(link, settings))


def remove_questions(settings: Settings, questions: Iterable[str]) -> int:
    """Remove the entries of questions under every known embedder; return how many there were.

    Args:
        settings: whose cache.
        questions: the end of an entry's key: scope digest, a colon, and digest of the canonical text.

    Raises:
        StoreUnavailableError: the server does not answer.
    """
    ends = list(questions)
    with closing(link_for(settings.server().client())) as link:
        return sum(_remove(link, keys, (keys.prefix + end for end in ends)) for keys in _spaces(link, settings))


def _spaces(link: Link, settings: Settings) -> list[CacheKeys]:
    records = map(fingerprint.decode_probe, _one(link, ("HVALS", key_names.embedders(settings.namespace))))
    ids = [fingerprint.fingerprint_of(one.model, one.probe).id for one in records]
    return [keys_of(settings.namespace, one, settings.shared_index) for one in ids]


def _names(link: Link, keys: CacheKeys) -> Iterator[str]:
    for page in keyspace.pages(partial(_one, link), keyspace.under(keys.prefix), _BATCH):
        yield from (name.decode() for name in page)


def _remove(link: Link, keys: CacheKeys, names: Iterable[str]) -> int:
    removed, left = 0, iter(names)
    while some := list(islice(left, _BATCH)):
        commands: list[Command] = [("UNLINK", name) for name in some]
        replies = link.send([*commands, *(changed(keys, name) for name in some)], _SECONDS)
        removed += sum(accepted(reply, "the server refuses") for reply in replies[: len(some)])
    return removed


def _one(link: Link, command: Command) -> Any:
    return accepted(link.send([command], _SECONDS)[0], "the server refuses")
