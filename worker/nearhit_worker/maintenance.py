"""Maintenance: repairs, rotates and reports on the index at regular times."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from nearhit.errors import NearhitError
from nearhit.index import loss, rotation
from nearhit.index.rotation import Step, Wear
from nearhit.index.survey import survey
from nearhit.index.valkey_search import ValkeySearchEngine
from nearhit_worker.gauges import IndexGauges

if TYPE_CHECKING:
    from nearhit.flow.runner import Runner
    from nearhit.index.space import Space
    from nearhit.index.survey import Survey
    from nearhit.telemetry.metrics import Metrics

log = logging.getLogger("nearhit")

_SECONDS = 10.0


class Maintenance:
    """Looks after the index of one space. Any number of workers may do so at once.

    Args:
        runner: runs flows against the cache server.
        metrics: where everything is counted.
        wear: when an index is worn.
    """

    def __init__(self, runner: Runner, metrics: Metrics, wear: Wear | None = None) -> None:
        self._runner = runner
        self._metrics = metrics
        self._wear = wear or Wear()
        self._gauges = IndexGauges(runner, metrics)
        self._said: set[str] = set()

    def look(self, space: Space) -> tuple[Space, bool]:
        """Look once; return the space with what the server is now, and whether it must be opened again.

        Raises:
            NearhitError: the server does not answer or refuses, or an index of another shape has its name.
        """
        try:
            return self._look(space)
        except NearhitError:
            if isinstance(space.engine, ValkeySearchEngine):
                self._gauges.forget()
            raise

    def _look(self, space: Space) -> tuple[Space, bool]:
        watched = self._runner.run(loss.watch(space), _SECONDS)
        if watched.reason is not None:
            self._metrics.heals[watched.reason].inc()
            log.warning("index made again", extra={"action": "heal", "reason": watched.reason.value})
        if isinstance(space.engine, ValkeySearchEngine):
            self._rotate(space, space.engine)
            try:
                self._gauges.observe(space.engine, space.keys)
            except NearhitError as error:  # what is only shown must not keep the index from being healed
                self._metrics.count_error("observe", error)
                self._gauges.forget()
        return replace(space, run_id=watched.run_id), watched.reopen

    def _rotate(self, space: Space, engine: ValkeySearchEngine) -> None:
        seen = self._runner.run(survey(space.keys, engine.generation), _SECONDS)
        if not seen.listed:
            self._say_once("indexes are not rotated: the user may not list them; grant +ft._list")
            return
        self._observe(seen)
        engine.generation = seen.current
        step, about = rotation.decide(seen, self._wear)
        if self._runner.run(rotation.take(step, about, seen.current, engine, space.keys, self._wear), _SECONDS):
            self._metrics.rotations[step].inc()
            self._metrics.generation.set(engine.generation)
            log.info("index rotation", extra={"action": "rotate", "step": step.value, "generation": about})
        elif step is Step.NO_ROOM:
            self._say_once("the index is worn, and maxmemory leaves no room for another one beside it")

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            log.warning(text, extra={"action": "rotate"})

    def _observe(self, seen: Survey) -> None:
        self._metrics.generation.set(seen.current)
        current = seen.generations.get(seen.current)
        if current is not None:
            self._metrics.entries.set(current.info.documents)
            bytes_each = 4 * current.info.shape.dimension
            self._metrics.index_vector_bytes.set(current.info.vectors * bytes_each)
            self._metrics.reclaimable.set(current.dead(seen.reclaimable_bytes) * bytes_each)
            self._metrics.index_failures.set(max(current.info.indexing_failures, current.skipped))
