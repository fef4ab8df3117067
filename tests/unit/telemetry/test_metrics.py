"""What is counted, under which names and labels."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter

from nearhit.domain.entry import Usage
from nearhit.domain.outcome import Hit, Miss, MissReason, Nearest, Tier
from nearhit.index.loss import LossReason
from nearhit.index.rotation import Step
from nearhit.telemetry.metrics import HEAL_REASONS, ROTATION_STEPS, Metrics


def hit(**changes: object) -> Hit:
    values: dict[str, object] = {
        "answer": "a",
        "tier": Tier.SEMANTIC,
        "similarity": 0.96,
        "prompt": "p",
        "cached_prompt": "p",
        "key": "k",
        "age_seconds": 30.0,
        "lifetime_seconds": 100.0,
        "stages": {"exact": 0.0001, "total": 0.002},
    }
    return Hit(**{**values, **changes})  # type: ignore[arg-type]


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"nearhit_{name}", {"namespace": metrics.namespace, **labels})


def test_a_hit_is_counted_by_tier_with_similarity_age_stages_and_what_it_saved() -> None:
    metrics = Metrics()
    metrics.count_lookup(hit(usage=Usage(prompt_tokens=100, completion_tokens=20, cost_dollars=0.5)))
    assert value(metrics, "lookups_total", tier="semantic", outcome="hit") == 1
    assert value(metrics, "similarity_count", outcome="hit") == 1
    assert value(metrics, "similarity_bucket", outcome="hit", le="0.95") == 0
    assert value(metrics, "similarity_bucket", outcome="hit", le="0.96") == 1
    assert value(metrics, "lookup_seconds_bucket", stage="exact", le="0.0001") == 1
    assert value(metrics, "lookup_seconds_count", stage="embed") == 0
    assert value(metrics, "saved_tokens_total") == 120
    assert value(metrics, "saved_dollars_total") == 0.5


@pytest.mark.parametrize("lifetime_seconds", [60.0, 900.0, 86_400.0, 90 * 86_400.0])
def test_the_age_of_a_hit_is_told_as_a_share_of_the_lifetime_whatever_that_is(lifetime_seconds: float) -> None:
    metrics = Metrics()
    metrics.count_lookup(hit(age_seconds=0.45 * lifetime_seconds, lifetime_seconds=lifetime_seconds))
    assert value(metrics, "hit_age_ratio_bucket", le="0.4") == 0
    assert value(metrics, "hit_age_ratio_bucket", le="0.5") == 1
    metrics.count_lookup(hit(age_seconds=5.0, lifetime_seconds=0.0))
    assert value(metrics, "hit_age_ratio_count") == 1


def test_an_exact_hit_says_nothing_about_similarity() -> None:
    metrics = Metrics()
    metrics.count_lookup(hit(tier=Tier.EXACT, similarity=1.0))
    assert value(metrics, "lookups_total", tier="exact", outcome="hit") == 1
    assert value(metrics, "similarity_count", outcome="hit") == 0


def test_a_miss_is_counted_by_reason_with_its_nearest_neighbour() -> None:
    metrics = Metrics()
    metrics.count_lookup(Miss(reason=MissReason.GUARD, nearest=Nearest("p", 0.97, "number")))
    assert value(metrics, "lookups_total", tier="none", outcome="guard") == 1
    assert value(metrics, "similarity_count", outcome="refused") == 1
    assert value(metrics, "similarity_count", outcome="miss") == 0
    assert value(metrics, "guard_refusals_total", reason="number") == 1


def test_every_outcome_is_there_at_zero_from_the_start() -> None:
    metrics = Metrics()
    for reason in MissReason:
        assert value(metrics, "lookups_total", tier="none", outcome=reason.value) == 0


def test_reasons_of_a_callers_own_guard_cannot_grow_without_bound() -> None:
    metrics = Metrics()
    for number in range(500):
        metrics.count_lookup(Miss(reason=MissReason.GUARD, nearest=Nearest("p", 0.97, f"because of {number}")))
    family = next(one for one in metrics.registry.collect() if one.name == "nearhit_guard_refusals")
    totals = [one for one in family.samples if one.name.endswith("_total")]
    assert len(totals) == 65
    assert sum(one.value for one in totals) == 500


def test_classes_of_errors_cannot_grow_without_bound() -> None:
    metrics = Metrics()
    for number in range(300):
        metrics.count_error("lookup", type(f"Error{number}", (Exception,), {})())
    assert value(metrics, "errors_total", stage="other", kind="other") == 300 - 128


def test_a_neighbour_below_the_threshold_is_a_miss_in_the_picture_of_similarity() -> None:
    metrics = Metrics()
    metrics.count_lookup(Miss(reason=MissReason.BELOW_THRESHOLD, nearest=Nearest("p", 0.714)))
    assert value(metrics, "similarity_bucket", outcome="miss", le="0.71") == 0
    assert value(metrics, "similarity_bucket", outcome="miss", le="0.72") == 1
    assert value(metrics, "similarity_count", outcome="refused") == 0


@pytest.mark.parametrize("threshold", [0.85, 0.873, 0.91])
def test_similarity_has_the_same_equal_buckets_at_every_threshold_which_is_a_series_of_its_own(
    threshold: float,
) -> None:
    metrics = Metrics()
    metrics.describe("client", model="hash/64", engine="auto", threshold=threshold)
    family = next(one for one in metrics.registry.collect() if one.name == "nearhit_similarity")
    bounds: dict[str, list[str]] = {}
    for one in family.samples:
        if "le" in one.labels:
            bounds.setdefault(one.labels["outcome"], []).append(one.labels["le"])
    equal = [str(round(0.5 + 0.01 * step, 2)) for step in range(51)]
    assert bounds == {outcome: [*equal, "+Inf"] for outcome in ("hit", "miss", "refused")}
    assert value(metrics, "threshold") == threshold


@pytest.mark.parametrize("role", ["client", "worker"])
def test_a_process_says_what_it_is_and_of_which_version(role: str) -> None:
    metrics = Metrics()
    metrics.describe(role, model="hash/64", engine="auto", threshold=0.9)
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert value(metrics, "info", role=role, model="hash/64", engine="auto", version=project["version"]) == 1


def test_the_applications_own_registry_holds_our_series_beside_its_own() -> None:
    registry = CollectorRegistry()
    Counter("shop_orders", "Orders.", registry=registry).inc()
    Metrics(registry, "shop").count_lookup(hit())
    assert registry.get_sample_value("shop_orders_total") == 1
    labels = {"namespace": "shop", "tier": "semantic", "outcome": "hit"}
    assert registry.get_sample_value("nearhit_lookups_total", labels) == 1


def test_two_namespaces_share_a_registry() -> None:
    one = Metrics(namespace="one")
    two = one.beside("two")
    two.count_lookup(hit())
    assert value(one, "lookups_total", tier="semantic", outcome="hit") == 0
    assert value(two, "lookups_total", tier="semantic", outcome="hit") == 1
    assert two.registry is one.registry


def test_a_client_says_nothing_about_state_that_workers_see() -> None:
    metrics = Metrics()
    metrics.describe("client", model="hash/64", engine="auto", threshold=0.9)
    shared = {"nearhit_log_depth", "nearhit_dead_log_depth", "nearhit_index_entries", "nearhit_worker_live"}
    families = {one.name: one.samples for one in metrics.registry.collect() if one.name in shared}
    assert families == {name: [] for name in shared}


def test_a_worker_has_its_counters_at_zero_so_that_the_first_dead_letter_is_an_increase() -> None:
    metrics = Metrics()
    metrics.describe("worker", model="hash/64", engine="auto", threshold=0.9)
    assert value(metrics, "dead_letters_total", reason="poison") == 0
    assert value(metrics, "lag_seconds_count", lane="bulk") == 0
    assert {reason.value for reason in LossReason} == set(HEAL_REASONS)
    for reason in LossReason:
        assert value(metrics, "index_heals_total", reason=reason.value) == 0
    assert {step.value for step in Step} >= set(ROTATION_STEPS)
    assert value(metrics, "rotations_total", step="flip") == 0
    assert value(metrics, "threshold") is None


@dataclass
class Replica:
    """What an engine with a replica says, as plain values."""

    lag_seconds: float = 1.5
    entries: int = 7
    memory_bytes: int = 4096
    ready: bool = True
    left_out: int = 0
    bootstraps: dict[str, int] = field(default_factory=lambda: {"start": 1})


class ReplicaEngine:
    """An engine that has nothing but a replica to report."""

    def __init__(self) -> None:
        self.replica = Replica()

    def stats(self) -> Replica:
        return self.replica


def test_the_replica_is_reported_as_it_is_at_the_scrape_and_for_as_long_as_it_lives() -> None:
    metrics = Metrics()
    engine = ReplicaEngine()
    metrics.watch_engine(engine)
    assert value(metrics, "replica_lag_seconds") == 1.5
    assert value(metrics, "replica_loads", reason="start") == 1
    engine.replica.lag_seconds = 0.0
    assert value(metrics, "replica_lag_seconds") == 0.0
    del engine
    assert (value(metrics, "replica_ready"), value(metrics, "replica_memory_bytes")) == (0, 0)
    for name in ("replica_lag_seconds", "replica_entries", "replica_left_out"):
        assert math.isnan(value(metrics, name) or 0), "of a replica that is gone nothing is known"


def test_every_series_has_a_help_text_and_a_namespace() -> None:
    metrics = Metrics()
    metrics.describe("worker", model="hash/64", engine="auto", threshold=0.9)
    for family in metrics.registry.collect():
        assert family.name.startswith("nearhit_")
        assert family.documentation.endswith(".")
        assert all(one.labels["namespace"] == "default" for one in family.samples)


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text;version=1.0.0"])
def test_no_series_says_when_it_was_made_and_those_of_the_application_are_left_alone(accept: str) -> None:
    registry = CollectorRegistry()
    Counter("shop_orders", "Orders.", registry=registry).inc()
    metrics = Metrics(registry)
    metrics.describe("worker", model="hash/64", engine="auto", threshold=0.9)
    metrics.count_lookup(hit())
    made = [line.partition(" ")[0] for line in metrics.expose(accept)[1].decode().splitlines() if "_created" in line]
    assert [name for name in made if name != "#"] == ["shop_orders_created"]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text; version=1.0.0"),
    ],
)
def test_a_scrape_gets_the_format_that_it_asks_for(accept: str, kind: str) -> None:
    metrics = Metrics()
    got, body = metrics.expose(accept)
    assert got.startswith(kind)
    assert body.endswith(b"# EOF\n") == ("openmetrics" in kind)
