"""The example for Alertmanager, in a real one: which alerts are suppressed while another one fires."""

from __future__ import annotations

import json
import re
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from nearhit_worker.stack import Child, free_port, wait_until

from tests.support import observability as seen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = seen.ROOT / "prometheus" / "alertmanager.yml"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Address of an Alertmanager with the committed configuration."""
    port = free_port()
    command = [seen.program("alertmanager", "prometheus-alertmanager"), f"--config.file={CONFIG}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", f"--storage.path={tmp_path}", "--cluster.listen-address="]
    child = Child("alertmanager", command, tmp_path)
    address = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        child.check()
        try:
            return bool(asked(f"{address}/api/v2/status"))
        except OSError:
            return False

    try:
        wait_until(ready, 20, "Alertmanager answers")
        yield address
    finally:
        child.stop()


def asked(url: str, body: Any = None) -> Any:
    """Return what the API answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - our own
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own
        text = answer.read()
    return json.loads(text) if text else None


def told(url: str, cause: str, *alerts: str, hidden: set[str]) -> None:
    """Let alerts fire, each a name and where it is, and wait until somebody hears of all but the hidden ones."""
    severities = {alert["alert"]: alert["labels"]["severity"] for alert in seen.alerts()}
    every = (cause, *alerts)
    posted = [labels(*alert.split()) for alert in every]
    asked(f"{url}/api/v2/alerts", [{"labels": {"severity": severities[one["alertname"]], **one}} for one in posted])

    def heard() -> set[str]:
        active = [one["labels"].items() for one in asked(f"{url}/api/v2/alerts?inhibited=false&unprocessed=false")]
        return {alert for alert in every if any(labels(*alert.split()).items() <= one for one in active)}

    wait_until(lambda: heard() == {*every} - hidden, 30, f"only {hidden} are hidden")


def labels(name: str, where: str = "") -> dict[str, str]:
    """Return the labels of an alert: a job, an instance with its port, or a namespace."""
    kind = "job" if where.startswith("valkey-") else "instance" if ":" in where else "namespace"
    return {"alertname": f"Nearhit{name}", "lane": "interactive", **({kind: where} if where else {})}


def test_a_cache_server_that_is_down_stands_for_all_that_follows_from_it(url: str) -> None:
    follows = ("LookupsFail", "BreakerOpen", "HitRateCollapsed", "WorkerNotReady", "FillsWaitForRetry", "WriteLag")
    hidden = {f"{name} shop" for name in follows}
    told(url, "ServerDown valkey-cache", "DeadLetters shop", *hidden, hidden=hidden)


def test_a_log_server_that_is_down_hides_no_lost_fill(url: str) -> None:
    others = ("WorkerNotReady shop", "FillsDropped shop", "LookupsFail shop")
    told(url, "ServerDown valkey-broker", *others, hidden={"WorkerNotReady shop"})


def test_without_workers_nobody_is_told_of_each(url: str) -> None:
    each = {"WorkerDown a:9464", "WorkerDown b:9464", "NamespaceWithoutWorkers shop"}
    told(url, "NoWorkers", *each, hidden=each)


def test_one_worker_that_hangs_does_not_speak_for_another_one(url: str) -> None:
    told(url, "WorkerDown a:9464", "WorkerNotReady a:9464", "WorkerNotReady b:9464", hidden={"WorkerNotReady a:9464"})


def test_one_namespace_does_not_speak_for_another_one(url: str) -> None:
    told(url, "FillsWaitForRetry shop", "WriteLag shop", "WriteLag desk", hidden={"WriteLag shop"})


def test_every_alert_that_the_example_names_exists() -> None:
    names = [alert["alert"] for alert in seen.alerts()]
    rules = yaml.safe_load(CONFIG.read_text())["inhibit_rules"]
    matchers = [one for rule in rules for one in (*rule["source_matchers"], *rule["target_matchers"])]
    patterns = [found[1] for one in matchers if (found := re.fullmatch(r'alertname=~?"(.+)"', one))]
    assert len(patterns) == 2 * len(rules)
    for pattern in patterns:
        assert sum(bool(re.fullmatch(pattern, name)) for name in names) == pattern.count("|") + 1, pattern
