"""Purge: removes entries by name, or all of a namespace, and tells replicas."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from nearhit.embedding import registry
from nearhit.flow.runner import run_sends
from nearhit.flow.steps import ask
from nearhit.index.litellm_layout import keys_of
from nearhit.valkey import keyspace
from nearhit.valkey.link import link_for
from nearhit.write.upsert import remove

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from nearhit.flow.steps import Flow
    from nearhit.settings import Settings
    from nearhit.valkey.key_names import CacheKeys

    Run = Callable[[Flow[Any]], Any]

_BATCH = 500
_SECONDS = 5.0


def remove_all(settings: Settings) -> int:
    """Remove every entry of a namespace that its known embedders made; return how many there were.

    What waits in the fill log is written after this.
    """

    def pages(run: Run, keys: CacheKeys) -> Iterator[list[str]]:
        for page in keyspace.pages(lambda command: run(ask(command)), keyspace.under(keys.prefix), _BATCH):
            yield [name.decode() for name in page]

    return _remove(settings, pages)


def remove_questions(settings: Settings, questions: Iterable[str]) -> int:
    """Remove the entries of questions under every known embedder; return how many there were.

    Args:
        settings: whose cache.
        questions: the end of an entry's key: scope digest, a colon, and digest of the canonical text.
    """
    ends = list(questions)
    parts = [ends[at : at + _BATCH] for at in range(0, len(ends), _BATCH)]
    return _remove(settings, lambda _, keys: ([keys.prefix + end for end in part] for part in parts))


def _remove(settings: Settings, pages: Callable[[Run, CacheKeys], Iterator[list[str]]]) -> int:
    """Remove the entries that ``pages`` names for each embedder that the namespace knows; return how many."""
    with closing(link_for(settings.server().client())) as link:

        def run(flow: Flow[Any]) -> Any:
            return run_sends(flow, link, _SECONDS)

        removed = 0
        for known in run(registry.registered(settings.namespace)):
            keys = keys_of(settings.namespace, known.id, settings.shared_index)
            removed += sum(run(remove(names, keys)) for names in pages(run, keys))
        return removed
