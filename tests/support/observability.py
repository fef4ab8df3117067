"""What dashboards and rules ask for, and what Nearhit exports, read from the committed files and the code."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from nearhit.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[2]
DASHBOARDS = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
RULES = sorted((ROOT / "prometheus" / "rules").glob("*.yml"))
RULE_TESTS = sorted((ROOT / "prometheus" / "tests").glob("*.yml"))

REDIS_EXPORTER = {
    *("redis_aof_enabled", "redis_aof_last_write_status", "redis_blocked_clients", "redis_commands_failed_calls_total"),
    *("redis_commands_processed_total", "redis_connected_clients", "redis_evicted_keys_total"),
    *("redis_expired_keys_total", "redis_key_size", "redis_memory_max_bytes", "redis_memory_used_bytes"),
    "redis_stream_length",
    "redis_up",
}
"""Series of redis_exporter that are used; the proof against a real one asks for each of them."""

PROMETHEUS = {"up", "ALERTS"}
PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}

_STRING = re.compile(r'"[^"]*"')
_MATCHERS = re.compile(r"\{[^}]*\}")
_GROUPING = re.compile(r"\b(?:by|on|ignoring|group_left|without) *\([^)]*\)")
_NAME = re.compile(r"\b(nearhit:[a-z0-9_:]+|(?:nearhit|redis|process)_[a-z0-9_]+|ALERTS|up)\b")
_SELECTOR = re.compile(r"\b(nearhit_[a-z0-9_]+|redis_[a-z0-9_]+)\{([^}]*)\}")
_SUFFIX = re.compile(r"_(bucket|count|sum)$")


@dataclass(frozen=True, slots=True)
class Asked:
    """An expression and where it stands."""

    where: str
    expr: str

    @property
    def series(self) -> set[str]:
        """Names of the series that it asks for, without the suffixes of histograms."""
        bare = _GROUPING.sub("", _MATCHERS.sub("", _STRING.sub("", self.expr)))
        return {_SUFFIX.sub("", name) for name in _NAME.findall(bare)}

    @property
    def selectors(self) -> list[tuple[str, set[str]]]:
        """Each selector with matchers: the series and the labels that it matches."""
        return [
            (_SUFFIX.sub("", name), set(re.findall(r"(\w+) *(?:=~|!~|!=|=)", matchers)))
            for name, matchers in _SELECTOR.findall(self.expr)
        ]


def boards() -> list[dict[str, Any]]:
    """Return every committed dashboard."""
    return [json.loads(path.read_text()) for path in DASHBOARDS]


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the panels of a dashboard that are no headings."""
    return [one for one in board["panels"] if one["type"] != "row"]


def panel_queries() -> list[Asked]:
    """Return every expression of every panel."""
    return [
        Asked(f"{board['title']} / {panel['title']} / {target['refId']}", target["expr"])
        for board in boards()
        for panel in panels(board)
        for target in panel.get("targets", [])
    ]


def rules() -> list[dict[str, Any]]:
    """Return every rule."""
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """Return every alert."""
    return [rule for rule in rules() if "alert" in rule]


def rule_queries() -> list[Asked]:
    """Return every expression of every rule."""
    return [Asked(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]


def filled_in(expr: str, interval: str = "20s", whole: str = "1m") -> str:
    """Return an expression with the values that Grafana would give its variables."""
    for name, value in (
        ("$namespace", ".*"),
        ("$instance", ".*"),
        ("$__rate_interval", interval),
        ("$__range", whole),
    ):
        expr = expr.replace(name, value)
    return expr


def exported() -> dict[str, set[str]]:
    """Return the label names of every series that Nearhit exports, by its name with ``_total``."""
    metrics = Metrics()
    found = {}
    for name, series in metrics.series.made.items():
        found[f"nearhit_{name}"] = set(series._labelnames)  # noqa: SLF001 - the library tells them nowhere else
    return found


def program(*names: str) -> str:
    """Return the path of the first program that there is, or skip the test."""
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    pytest.skip(f"no {names[-1]}: make apt-tools")
