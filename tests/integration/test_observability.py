"""Every expression of every panel and alert, evaluated by a real Prometheus over a real stack under load."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.stack import wait_until

from nearhit.errors import UnavailableError
from nearhit.valkey.key_names import LogKeys
from tests.conftest import MODULE
from tests.support import monitored_stack, renderer
from tests.support import observability as seen
from tests.support.chat_server import ChatServer
from tests.support.monitored_stack import NAMESPACE, MonitoredStack
from tests.support.shown import Shown, agree, shown, stats
from tests.support.states import CACHE_DOWN, LOG_DOWN, NO_WORKERS, expected, fits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.states import Expected

pytestmark = pytest.mark.timeout(300)

EMPTY_IN_HEALTH = {
    "Nearhit / Overview / Lookup p99 by stage / B",  # how late event loops are: none is
    "Nearhit / Overview / Failures by stage and class / A",
    "Nearhit / Index health / On demand / A",
    "Nearhit / Replicas / On demand / A",
    "Nearhit / Overview / Judgements by verdict / A",
    "Nearhit / Overview / Saved and spent / D",
    "Nearhit / Overview / Saved tokens / B",
    "Nearhit / Overview / Firing alerts / A",
    "Nearhit / Write-behind / Firing alerts / A",
    "Nearhit / Index health / Firing alerts / A",
    "Nearhit / Replicas / Firing alerts / A",
}
"""Panels that are empty while all is well, nobody asks for maintenance and no judge is set; that, too, is checked."""

OF_THE_SERVERS_INDEX = re.compile(
    r"nearhit_index_(?!heals)\w+|nearhit_(?:recall_probes|write_verifications)_total|nearhit:tombstones"
)
OF_REPLICAS = re.compile(r"nearhit_replica_\w+")
INTERVAL = "60s"


@dataclass
class Watched(MonitoredStack):
    """A stage, and which engine its readers use."""

    engine: str


@pytest.fixture(scope="module", params=["local", "valkey-search"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A stage that has seen some load."""
    if request.param == "valkey-search" and not MODULE:
        pytest.skip("no search module: set NEARHIT_TEST_SEARCH_MODULE to the path of libsearch.so")
    seen.program("prometheus")
    seen.program("redis_exporter", "prometheus-redis-exporter")
    settings = {
        "NEARHIT_THRESHOLD": "0.7",
        "NEARHIT_MODEL": "hash/64",
        "NEARHIT_DEADLINE_MS": "2000",
        "NEARHIT_ENQUEUE_DEADLINE_MS": "2000",
    }
    module = MODULE if request.param == "valkey-search" else ""
    with (
        ChatServer() as model,
        monitored_stack.stage(tmp_path_factory.mktemp("stage"), module, settings | all_right(model)) as one,
    ):
        enough = (
            'sum(nearhit_lookups_total{outcome="hit"}) > 600 and sum(nearhit_upserts_total{outcome="stored"}) > 200 '
            'and sum(nearhit_verifications_total{verdict="true_hit"}) > 5'
        )
        wait_until(lambda: bool(one.prometheus.values(enough)), 90, "hundreds of hits and stored fills")
        time.sleep(3)  # a last round of scrapes and rules over all that is counted
        yield Watched(one.cache, one.broker, one.workers, one.prometheus, request.param)


def all_right(model: ChatServer) -> dict[str, str]:
    """Settings with which some hits are verified, by a judge that finds every answer right."""
    return {
        "NEARHIT_VERIFY_SHARE": "0.05",
        "NEARHIT_VERIFY_MODEL": "openai/stub",
        "NEARHIT_VERIFY_JUDGE": "embedding",
        "NEARHIT_VERIFY_SIMILARITY": "-1",
        "OPENAI_API_BASE": model.url,
        "OPENAI_API_KEY": "sk-test",
    }


def belongs_to_the_other_engine(expr: str, engine: str) -> bool:
    """Whether an expression is about series of the other engine alone."""
    other = OF_REPLICAS if engine == "valkey-search" else OF_THE_SERVERS_INDEX
    return all(other.match(name) for name in seen.Asked("", expr).series)


def test_every_panel_shows_data_or_is_listed_as_empty_in_health(stage: Watched) -> None:
    found, empty, other = 0, [], 0
    for asked in seen.panel_queries():
        values = stage.prometheus.values(seen.filled_in(asked.expr, INTERVAL, "5m"))
        if values:
            found += 1
        elif belongs_to_the_other_engine(asked.expr, stage.engine):
            other += 1
        else:
            empty.append(asked.where)
    assert set(empty) == EMPTY_IN_HEALTH
    assert found > 70
    assert other > 0


def test_no_alert_fires_in_health_and_each_looks_at_series_that_are_there(stage: Watched) -> None:
    selectors = re.compile(r"\b(?:nearhit|redis)[:_][a-z0-9_:]+(?:\{[^}]*\})?|\bup\{[^}]*\}")
    for alert in seen.alerts():
        expr = alert["expr"]
        assert stage.prometheus.values(expr) == [], alert["alert"]
        for selector in selectors.findall(expr):
            if not belongs_to_the_other_engine(selector, stage.engine):
                assert stage.prometheus.values(selector), f"{alert['alert']}: {selector}"


def test_every_recorded_series_is_there(stage: Watched) -> None:
    for rule in seen.rules():
        if "record" in rule and not belongs_to_the_other_engine(rule["expr"], stage.engine):
            assert stage.prometheus.values(rule["record"]), rule["record"]
    groups = stage.prometheus.ask("rules")["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}


def test_the_variables_of_every_dashboard_have_something_to_choose(stage: Watched) -> None:
    for board in seen.boards():
        for variable in board["templating"]["list"]:
            if variable["type"] != "query":
                continue
            found = re.fullmatch(r"label_values\((\w+)(\{.*\})?, (\w+)\)", variable["definition"])
            assert found is not None
            series = stage.prometheus.ask("series", **{"match[]": seen.filled_in(found[1] + (found[2] or ""))})
            values = {one[found[3]] for one in series}
            assert values, variable["definition"]
            assert found[3] != "namespace" or values == {NAMESPACE}


def test_every_series_of_redis_exporter_that_is_used_comes_from_a_real_one(stage: Watched) -> None:
    names = set(stage.prometheus.ask("label/__name__/values"))
    assert names >= seen.REDIS_EXPORTER


def test_two_workers_report_the_same_log_and_their_maximum_is_its_depth(stage: Watched) -> None:
    assert len(stage.prometheus.values('nearhit_log_depth{lane="interactive"}')) == 2
    assert stage.prometheus.values("sum(nearhit_worker_live)") == [2.0]


def test_cardinality_is_bounded(stage: Watched) -> None:
    (series,) = stage.prometheus.values('count({__name__=~"nearhit_.*",job="nearhit-worker"})')
    assert series / 2 < 700


def test_every_stat_tells_the_truth_in_four_states(stage: Watched) -> None:
    """It stops one part after the other, and starts each again."""
    met: list[tuple[dict[str, Any], list[float]]] = []

    def is_seen(changes: Mapping[str, Expected], state: str) -> None:
        """Wait for the values of a state, and keep what there was to see."""
        want = expected(changes, stage.engine)

        def wrong() -> dict[str, Shown]:
            found = stat_values(stage.prometheus)
            met[:] = [*met[:before], *found.values()]
            assert found.keys() == want.keys()
            seen_now = {title: shown(*one) for title, one in found.items()}
            return {title: one for title, one in seen_now.items() if not fits(one, want[title])}

        before = len(met)
        with suppress(UnavailableError):
            wait_until(lambda: not wrong(), 30, state)
        assert wrong() == {}, state

    is_seen({}, "healthy")
    stage.broker.stop()
    is_seen(LOG_DOWN, "log down")
    stage.broker.start()
    is_seen({}, "healthy again")
    for worker in stage.workers:
        worker.kill()
    is_seen(NO_WORKERS, "no workers")
    for worker in stage.workers:
        worker.start()
    stage.cache.stop()
    is_seen(CACHE_DOWN, "cache down")
    stage.cache.start()
    if renderer.installed():
        agree(met)


def test_write_lag_fires_while_the_cache_is_away_and_ends_with_that(stage: Watched) -> None:
    def firing(name: str) -> bool:
        return bool(stage.prometheus.values(f'ALERTS{{alertname="{name}",alertstate="firing"}}'))

    wait_until(lambda: not firing("NearhitWriteLag"), 120, "all fills are stored")
    stage.cache.stop()
    wait_until(lambda: firing("NearhitFillsWaitForRetry"), 30, "fills that wait for a retry are told")
    wait_until(lambda: firing("NearhitWriteLag"), 60, "fills that grow old are told")
    stage.cache.start()
    wait_until(lambda: not firing("NearhitWriteLag"), 120, "old fills are stored")
    wait_until(lambda: not firing("NearhitFillsWaitForRetry"), 60, "no fill waits for a retry")


def stat_values(prometheus: monitored_stack.Prometheus) -> dict[str, tuple[dict[str, Any], list[float]]]:
    """Return every stat panel and the values that it is given now, by dashboard and heading."""
    found = {}
    for board in seen.boards():
        for panel in stats(board):
            query = seen.filled_in(panel["targets"][0]["expr"], "10s", "5m")
            rows = prometheus.ask("query", query=query)["result"]
            title = f"{board['title'].removeprefix('Nearhit / ')} / {panel['title']}"
            found[title] = (panel, [float(row["value"][1]) for row in rows])
    return found


def test_faults_make_their_alerts_true(stage: Watched) -> None:
    """The last test of the stage: it breaks it, one part after the other."""
    exprs = {alert["alert"]: alert["expr"] for alert in seen.alerts()}
    with stage.broker.client() as client:
        client.execute_command("XADD", LogKeys(NAMESPACE).log("interactive"), "*", "m", "no message")

    def true(name: str) -> bool:
        return bool(stage.prometheus.values(exprs[name]))

    wait_until(lambda: true("NearhitDeadLetters"), 30, "a dead letter is told")
    if stage.engine == "valkey-search":
        with stage.cache.client() as client:
            for _ in range(3):
                client.execute_command("FLUSHALL")
                time.sleep(3)
        wait_until(lambda: true("NearhitIndexLost"), 30, "an index that is lost again and again is told")
    for worker in stage.workers:
        worker.stop()
    wait_until(lambda: true("NearhitNoWorkers"), 30, "no workers are told")
    stage.broker.stop()
    wait_until(lambda: true("NearhitServerDown"), 30, "a server that is down is told")
    wait_until(lambda: true("NearhitBreakerOpen"), 30, "an open breaker is told")
