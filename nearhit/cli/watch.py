"""Watch: the command that shows queues, rates, lags and hit rate as they change."""

from __future__ import annotations

import time
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nearhit.cli import exits, options
from nearhit.cli.command import FLOAT, INT, Arguments, command, option
from nearhit.cli.screen import Screen, table
from nearhit.cli.servers import Servers
from nearhit.errors import UnavailableError
from nearhit.telemetry.metrics import LANES

if TYPE_CHECKING:
    from rich.console import RenderableType


EXAMPLES = """
nearhit watch
nearhit watch --metrics http://127.0.0.1:9464/metrics --every 5
nearhit watch --json --count 10
"""


@command(EXAMPLES)
@option("--metrics", metavar="URL", multiple=True, help="address of /metrics; may be repeated")
@option("--every", metavar="S", type=FLOAT, default=1.0, help="seconds between looks; 1")
@option("--count", metavar="N", type=INT, default=0, help="stop after N looks; 0 never stops")
@options.json_output
@options.settings(*options.SERVERS, "log_url")
def run(arguments: Arguments, screen: Screen) -> int:
    """Show the fill log of each lane, dead letters and workers, once a second, until Ctrl-C.

    A lane is shown with its rates and ages. Given addresses of /metrics (workers' or applications'), it also shows hit
    rate, lookups a second and lag since it started.
    """
    settings = options.settings_of(arguments, threshold_matters=False)
    looks = 0
    with Servers(settings) as servers:
        watcher = Watcher(servers, arguments.metrics)
        while True:
            found = watcher.look()
            looks += 1
            screen.document(found)
            screen.live(view(found))
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
    urls: tuple[str, ...]
    _before: dict[str, float] = field(default_factory=dict)
    _at: float = 0.0

    def look(self) -> dict[str, Any]:
        """Return what is there now."""
        now = time.monotonic()
        counts = {f"added:{lane}": self.servers.added(lane) for lane in LANES}
        for url in self.urls:
            for name, value in scraped(url).items():
                counts[name] = counts.get(name, 0.0) + value
        seconds = now - self._at if self._at else 0.0
        rates = {
            name: round(max(0.0, value - self._before.get(name, value)) / seconds, 1) if seconds else 0.0
            for name, value in counts.items()
        }
        self._before, self._at = counts, now
        found: dict[str, Any] = {"time": round(time.time(), 3), "lanes": {}}
        for lane in LANES:
            row = self.servers.lane(lane)
            row |= {"oldest_seconds": row["oldest_seconds"] or 0.0, "added_per_second": rates[f"added:{lane}"]}
            found["lanes"][lane] = row
        found["dead_letters"] = self.servers.dead()
        found["workers"] = len(self.servers.workers())
        if self.urls:
            lookups, lags = counts["lookups"], counts["lag_count"]
            found["metrics"] = {
                "hit_rate": round(counts["hits"] / lookups, 4) if lookups else None,
                "lookups_per_second": rates["lookups"],
                "stored_per_second": rates["lag_count"],
                "mean_lag_seconds": round(counts["lag_sum"] / lags, 4) if lags else None,
            }
        return found


def view(found: dict[str, Any]) -> RenderableType:
    """Return what was found as a table and lines for people."""
    from rich.console import Group  # noqa: PLC0415 - JSON needs no rich

    heads = ("lane", "fills", "in work", "retrying", "oldest", "added/s")
    rows = [
        (
            *(lane, str(one["fills"]), str(one["in_work"]), str(one["retrying"])),
            *(f"{one['oldest_seconds']:.1f} s", f"{one['added_per_second']:.1f}"),
        )
        for lane, one in found["lanes"].items()
    ]
    lines = [f" dead letters {found['dead_letters']}, workers {found['workers']}"]
    if told := found.get("metrics"):
        lag = "–" if told["mean_lag_seconds"] is None else f"{told['mean_lag_seconds']:.3f} s"
        rate = "–" if told["hit_rate"] is None else f"{told['hit_rate']:.1%}"
        lines.append(
            f" hit rate {rate}, {told['lookups_per_second']:.1f} lookups/s, {told['stored_per_second']:.1f} stored/s, "
            f"mean lag {lag}"
        )
    return Group(table("", heads, rows), *lines)


def scraped(url: str) -> dict[str, float]:
    """Return the sums that the command shows of the metrics at ``url``."""
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
