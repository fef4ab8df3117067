"""Monitored stack: everything that is watched, as real processes under load, and a real Prometheus that watches it."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from nearhit_worker.stack import Child, ValkeyServer, Worker, free_port, wait_until

from nearhit.telemetry.metrics import LANES
from nearhit.valkey.key_names import LogKeys
from tests.support import observability as seen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NAMESPACE = "watched"
TARGETS = 6
"""Two workers, an application, two exporters, and Prometheus itself."""


@dataclass
class Prometheus:
    """A Prometheus of its own, with the committed configuration but for addresses, intervals and delays of alerts."""

    url: str
    child: Child

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of the HTTP API."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as answer:  # noqa: S310 - our own
            return json.load(answer)["data"]

    def values(self, expr: str) -> list[float]:
        """Return the values of an expression now, those that are numbers."""
        rows = self.ask("query", query=expr)["result"]
        return [number for row in rows if not math.isnan(number := float(row["value"][1]))]

    def all_up(self) -> bool:
        """Whether every target is scraped."""
        self.child.check()
        try:
            targets = self.ask("targets", state="active")["activeTargets"]
        except OSError:
            return False
        return len(targets) == TARGETS and all(one["health"] == "up" for one in targets)


@dataclass
class MonitoredStack:
    """Everything that runs."""

    cache: ValkeyServer
    broker: ValkeyServer
    workers: list[Worker]
    prometheus: Prometheus


@contextmanager
def stage(folder: Path, module: str, changes: Mapping[str, str], per_second: int = 60) -> Iterator[MonitoredStack]:
    """Start two servers, two workers, an application that asks, exporters and Prometheus; stop them at the end.

    Args:
        folder: where data and logs are.
        module: path of the search module; empty for the local engine.
        changes: settings besides the servers and the namespace.
        per_second: questions a second.
    """
    children: list[Child | ValkeyServer | Worker] = []
    try:
        limits = ("--maxmemory", "512mb", "--maxmemory-policy", "volatile-lru")
        cache = ValkeyServer(folder / "cache", module=module, options=limits).start()
        broker = ValkeyServer(folder / "broker", durable=True, options=("--maxmemory", "256mb")).start()
        children += [cache, broker]
        servers = {"NEARHIT_URL": cache.url, "NEARHIT_LOG_URL": broker.url, "NEARHIT_NAMESPACE": NAMESPACE}
        settings = {**servers, **changes}
        workers = [Worker(folder / name, settings, name=name) for name in ("worker-1", "worker-2")]
        children += [worker.start() for worker in workers]
        ports = {"nearhit-worker": [worker.metrics_port for worker in workers], "nearhit-app": [free_port()]}
        env = {**os.environ, **settings, "NEARHIT_METRICS_PORT": str(ports["nearhit-app"][0])}
        env["PYTHONPATH"] = str(seen.ROOT)
        ask = [sys.executable, "-m", "nearhit_worker.demo.traffic", "--per-second", str(per_second), "--seed", "7"]
        children.append(Child("traffic", ask, folder, env))
        for job, server in (("valkey-cache", cache), ("valkey-broker", broker)):
            ports[job] = [free_port()]
            children.append(_exporter(job, server.port, ports[job][0], folder))
        prometheus = _prometheus(folder / "prometheus", ports)
        children.append(prometheus.child)
        wait_until(prometheus.all_up, 60, "all targets are scraped")
        yield MonitoredStack(cache, broker, workers, prometheus)
    finally:
        for child in reversed(children):
            child.stop()


def _exporter(job: str, server_port: int, port: int, folder: Path) -> Child:
    keys = LogKeys(NAMESPACE)
    streams = ",".join([*(keys.log(lane) for lane in LANES), keys.dead])
    waiting = ",".join(keys.retry(lane) for lane in LANES)
    command = [seen.program("redis_exporter", "prometheus-redis-exporter"), "-check-single-streams", streams]
    command += ["-check-single-keys", waiting]
    command += ["-redis.addr", f"redis://127.0.0.1:{server_port}", "-web.listen-address", f"127.0.0.1:{port}"]
    return Child(job, command, folder)


def _prometheus(folder: Path, targets: dict[str, list[int]]) -> Prometheus:
    source = yaml.safe_load((seen.ROOT / "prometheus" / "prometheus.yml").read_text())
    source["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    del source["alerting"]
    port = free_port()
    for scrape in source["scrape_configs"]:
        scrape.pop("dns_sd_configs", None)
        ports = targets.get(scrape["job_name"], [port])
        scrape["static_configs"] = [{"targets": [f"127.0.0.1:{one}" for one in ports]}]
    (folder / "rules").mkdir(parents=True)
    for path in seen.RULES:
        text = re.sub(r"^( +)(interval|for): .*$", r"\1\2: 1s", path.read_text(), flags=re.MULTILINE)
        (folder / "rules" / path.name).write_text(text)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(source))
    command = [
        *(seen.program("prometheus"), f"--config.file={folder / 'prometheus.yml'}"),
        *(f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"),
    ]
    return Prometheus(f"http://127.0.0.1:{port}", Child("prometheus", command, folder))
