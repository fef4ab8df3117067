"""Exports: every living entry once, in a form that a load takes back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.runtime import Runtime

from nearhit import Hit, Metrics, SemanticCache, Usage
from nearhit.bulk.export import Chosen, exported
from nearhit.bulk.load import load_files
from nearhit.cli.servers import Servers
from nearhit.domain.scope import tenant_digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nearhit.settings import Settings


def filled(settings: Settings) -> Runtime:
    with SemanticCache(settings) as cache:
        for number in range(40):
            tenant = {"tenant": "acme"} if number % 4 == 0 else {"tenant": "other", "model": "m"}
            usage = Usage(3, 4, 0.5, "m")
            assert cache.fill(f"what is number {number}", {"n": number}, tenant, usage=usage) == "accepted"
    runtime = Runtime(settings, Metrics())
    assert runtime.drain("interactive") == 40
    return runtime


def rows(runtime: Runtime, chosen: Chosen) -> list[dict[str, Any]]:
    with Servers(runtime.settings) as servers:
        return list(exported(servers.cache.run, runtime.space().keys, chosen))


def test_an_export_has_every_entry_once_and_loads_into_another_namespace(
    settings: Callable[..., Settings], namespace: str, tmp_path: Path
) -> None:
    first = filled(settings())
    found = rows(first, Chosen(vectors=True))
    assert sorted(row["answer"]["n"] for row in found) == list(range(40))
    path = tmp_path / "all.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    other = settings(namespace=f"{namespace}-b")
    assert load_files(other, [str(path)]).accepted == 40
    metrics = Metrics()
    second = Runtime(other, metrics)
    assert second.drain("bulk") == 40
    calls = metrics.registry.get_sample_value("nearhit_embed_texts_total", {"namespace": "default", "side": "write"})
    assert calls == 1, "only the probe is embedded: the rows carry their vectors"
    with SemanticCache(other) as cache:
        assert cache.warm_up(20)
        hit = cache.lookup("what is number 8", {"tenant": "acme"})
        assert isinstance(hit, Hit)
        assert hit.answer == {"n": 8}
        assert hit.usage == Usage(3, 4, 0.5, "m")
        elsewhere = cache.lookup("what is number 8", {"tenant": "other", "model": "m"})
        assert not (isinstance(elsewhere, Hit) and elsewhere.answer == {"n": 8})


def test_a_tenant_or_an_age_can_be_chosen(settings: Callable[..., Settings]) -> None:
    runtime = filled(settings())
    assert len(rows(runtime, Chosen(tenant=tenant_digest("acme")))) == 10
    assert len(rows(runtime, Chosen(min_age_seconds=3600))) == 0
    assert len(rows(runtime, Chosen(max_age_seconds=3600))) == 40


@pytest.mark.parametrize("garbage", [b"x", b""])
def test_what_is_no_entry_is_passed_over(settings: Callable[..., Settings], garbage: bytes) -> None:
    runtime = filled(settings())
    with settings().server().client() as client:
        prefix = runtime.space().keys.prefix
        client.set(f"{prefix}alien:1", garbage, ex=60)
        client.hset(f"{prefix}alien:2", mapping={"prompt": garbage})
        client.expire(f"{prefix}alien:2", 60)
    assert len(rows(runtime, Chosen())) == 40
