"""Watch: the command that shows queues, rates, lags and hit rate as they change."""

from __future__ import annotations

import time
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nearhit.cli import exits, options
from nearhit.errors import UnavailableError

if TYPE_CHECKING:
    import argparse

    from nearhit.cli.screen import Screen
    from nearhit.cli.servers import Servers

DESCRIPTION = """
Shows the fill log of each lane with its rates and ages, dead letters and workers, once a second, until Ctrl-C. Given
addresses of /metrics (workers' or applications'), it also shows hit rate, lookups a second and lag since it started.
"""
EXAMPLES = """
nearhit watch
nearhit watch --metrics http://127.0.0.1:9464/metrics --every 5
nearhit watch --json --count 10
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--metrics", metavar="URL", action="append", default=[], help="a /metrics; may be repeated")
    parser.add_argument("--every", metavar="S", type=float, default=1.0, help="seconds between looks; 1")
    parser.add_argument("--count", metavar="N", type=int, default=0, help="stop after N looks; 0 goes on")
    options.add_json(parser)
    options.add_settings(parser, (*options.SERVERS, "log_url"))


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Show it until Ctrl-C.

    Raises:
        ConfigError: a setting is wrong.
        UnavailableError: a server or an address of metrics does not answer at the first look.
    """
    settings = options.settings_of(arguments, threshold_matters=False)
    from nearhit.cli.servers import Servers  # noqa: PLC0415 - mistakes in the arguments are said without loading it

    looks = 0
    with Servers(settings) as servers:
        watcher = Watcher(servers, arguments.metrics)
        while True:
            found = watcher.look()
            looks += 1
            if screen.json_wanted:
                screen.document(found)
            else:
                screen.over(lines(found))
            if looks == arguments.count:
                return exits.OK
            time.sleep(arguments.every)


@dataclass
class Watcher:
    """Looks at the servers and at metrics, and tells rates since the look before.

    Args:
        servers: the log's server.
        urls: addresses of /metrics.
    """

    servers: Servers
    urls: list[str]
    _before: dict[str, float] = field(default_factory=dict)
    _at: float = 0.0

    def look(self) -> dict[str, Any]:
        """Return what is there now.

        Raises:
            UnavailableError: a server or an address does not answer.
        """
        now, counts = time.monotonic(), self._counts()
        seconds = now - self._at if self._at else 0.0
        rates = {
            name: round(max(0.0, value - self._before.get(name, value)) / seconds, 1) if seconds else 0.0
            for name, value in counts.items()
        }
        self._before, self._at = counts, now
        found: dict[str, Any] = {"time": round(time.time(), 3), "lanes": {}}
        for lane in ("interactive", "bulk"):
            depth = self.servers.depth(lane)
            age = max(0.0, time.time() - depth.oldest_ms / 1000) if depth.oldest_ms else 0.0
            found["lanes"][lane] = {
                "fills": depth.fills,
                "in_work": depth.pending,
                "retrying": depth.retrying,
                "oldest_seconds": round(age, 2),
                "added_per_second": rates.get(f"added:{lane}", 0.0),
            }
        found["dead_letters"] = self.servers.dead()
        found["workers"] = len(self.servers.workers())
        if self.urls:
            found["metrics"] = _told(counts, rates)
        return found

    def _counts(self) -> dict[str, float]:
        counts = {f"added:{lane}": self.servers.added(lane) for lane in ("interactive", "bulk")}
        for url in self.urls:
            for name, value in _scraped(url).items():
                counts[name] = counts.get(name, 0.0) + value
        return counts


def lines(found: dict[str, Any]) -> list[str]:
    """Return what was found as lines for people."""
    shown = [f"{'lane':12} {'fills':>8} {'in work':>8} {'retrying':>9} {'oldest':>9} {'added/s':>9}"]
    for lane, one in found["lanes"].items():
        shown.append(
            f"{lane:12} {one['fills']:8d} {one['in_work']:8d} {one['retrying']:9d} {one['oldest_seconds']:8.1f}s "
            f"{one['added_per_second']:9.1f}"
        )
    shown.append(f"dead letters {found['dead_letters']}, workers {found['workers']}")
    told = found.get("metrics")
    if told:
        lag = "–" if told["mean_lag_seconds"] is None else f"{told['mean_lag_seconds']:.3f} s"
        rate = "–" if told["hit_rate"] is None else f"{told['hit_rate']:.1%}"
        shown.append(
            f"hit rate {rate}, {told['lookups_per_second']:.1f} lookups/s, {told['stored_per_second']:.1f} stored/s, "
            f"mean lag {lag}"
        )
    return shown


def _told(counts: dict[str, float], rates: dict[str, float]) -> dict[str, Any]:
    hits, lookups = counts.get("hits", 0.0), counts.get("lookups", 0.0)
    lags = counts.get("lag_count", 0.0)
    return {
        "hit_rate": round(hits / lookups, 4) if lookups else None,
        "lookups_per_second": rates.get("lookups", 0.0),
        "stored_per_second": rates.get("lag_count", 0.0),
        "mean_lag_seconds": round(counts.get("lag_sum", 0.0) / lags, 4) if lags else None,
    }


def _scraped(url: str) -> dict[str, float]:
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - help needs none of it

    if not url.startswith(("http://", "https://")):
        raise UnavailableError(f"--metrics takes an http address, not {url!r}")
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - http only, checked above
            text = answer.read().decode()
    except OSError as error:
        raise UnavailableError(f"{url} does not answer: {error}") from error
    found = {"hits": 0.0, "lookups": 0.0, "lag_sum": 0.0, "lag_count": 0.0}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "nearhit_lookups_total":
                found["lookups"] += sample.value
                found["hits"] += sample.value if sample.labels.get("outcome") == "hit" else 0.0
            elif sample.name in {"nearhit_lag_seconds_sum", "nearhit_lag_seconds_count"}:
                found[sample.name.removeprefix("nearhit_").replace("_seconds", "")] += sample.value
    return found
