"""Gauges of shared state say when they cannot see it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from nearhit_worker.runtime import Runtime
from nearhit_worker.stack import ValkeyServer

from nearhit import SemanticCache
from nearhit.errors import StoreUnavailableError
from nearhit.settings import Settings
from nearhit.telemetry.metrics import Metrics
from tests.conftest import MODULE

if TYPE_CHECKING:
    from pathlib import Path


def settings_for(server: ValkeyServer) -> Settings:
    return Settings.from_env({}, threshold=0.8, url=server.url, model="hash/64", guard=False, connect_timeout_ms=500)


def value(metrics: Metrics, name: str, **labels: str) -> float:
    found = metrics.registry.get_sample_value(f"nearhit_{name}", {"namespace": "default", **labels})
    assert found is not None
    return found


def test_the_depth_of_a_log_whose_server_is_away_is_not_its_last_one(tmp_path: Path) -> None:
    metrics = Metrics()
    with ValkeyServer(tmp_path) as server:
        runtime = Runtime(settings_for(server), metrics)
        runtime.observe()
        assert value(metrics, "log_depth", lane="interactive") == 0
        assert value(metrics, "dead_log_depth") == 0
    with pytest.raises(StoreUnavailableError):
        runtime.observe()
    for name in ("log_depth", "log_pending", "log_age_seconds", "log_retrying"):
        assert math.isnan(value(metrics, name, lane="interactive"))
    assert math.isnan(value(metrics, "dead_log_depth"))
    runtime.close()


def test_the_size_of_an_index_whose_server_is_away_is_not_its_last_one(tmp_path: Path) -> None:
    if not MODULE:
        pytest.skip("no search module: set NEARHIT_TEST_SEARCH_MODULE to the path of libsearch.so")
    metrics = Metrics()
    with ValkeyServer(tmp_path, module=MODULE) as server:
        runtime = Runtime(settings_for(server), metrics)
        runtime.check_index()
        assert value(metrics, "index_entries") == 0
        assert 0 <= value(metrics, "index_backfill_ratio") <= 1
        assert value(metrics, "index_memory_bytes") > 0
    with pytest.raises(StoreUnavailableError):
        runtime.check_index()
    for name in ("index_entries", "index_memory_bytes", "index_reclaimable_bytes", "index_generation"):
        assert math.isnan(value(metrics, name))
    runtime.close()


def test_entries_are_asked_for_by_their_own_vectors(tmp_path: Path) -> None:
    if not MODULE:
        pytest.skip("no search module: set NEARHIT_TEST_SEARCH_MODULE to the path of libsearch.so")
    metrics = Metrics()
    with ValkeyServer(tmp_path, module=MODULE) as server:
        runtime = Runtime(settings_for(server), metrics)
        runtime.check_index()
        with SemanticCache(settings_for(server)) as cache:
            cache.warm_up()
            for number in range(20):
                cache.fill(f"question number {number}", "answer")
        runtime.drain("interactive")
        again = Runtime(settings_for(server), metrics)
        again.check_index()
        assert value(metrics, "recall_probes_total", outcome="found") >= 1
        assert value(metrics, "recall_probes_total", outcome="missed") == 0
        for one in (runtime, again):
            one.close()
