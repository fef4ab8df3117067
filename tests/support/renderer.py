"""Renderer: Grafana's own packages, which draw these dashboards and say what their stat panels show.

They are large (450 MB) and stay out of the repository: ``install`` puts them and what is built from
``grafana/renderer`` into a folder of the user's cache, or into ``NEARHIT_RENDERER``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearhit.errors import ConfigError
from tests.support import observability as seen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.monitored_stack import Prometheus

SOURCES = seen.ROOT / "grafana" / "renderer"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ROW_PIXELS = 38
"""Height of a row of a dashboard's grid with its gap, as in ``page.tsx``."""

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--virtual-time-budget=5000"),
    *("--enable-logging=stderr",),
)

_BUILDS = {
    "shown.cjs": ("shown.ts", "--platform=node"),
    "page.js": ("page.tsx", "--jsx=automatic", "--minify", '--define:process.env.NODE_ENV="production"'),
}


def folder() -> Path:
    """Return where the packages are, or would be."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("NEARHIT_RENDERER") or Path(cache) / "nearhit" / "renderer")


def installed() -> bool:
    """Whether Grafana's packages are there, and Node.js to run them."""
    return shutil.which("node") is not None and (folder() / "node_modules" / "@grafana" / "data").is_dir()


def install() -> None:
    """Install the packages unless those of the lock file are there.

    Raises:
        ConfigError: there is no npm.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise ConfigError("there is no npm: install Node.js 20 or newer")
    lock, here = "package-lock.json", folder()
    here.mkdir(parents=True, exist_ok=True)
    if (here / lock).is_file() and (here / lock).read_bytes() == (SOURCES / lock).read_bytes() and installed():
        return
    for name in ("package.json", lock):
        shutil.copy(SOURCES / name, here / name)
    subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=here, check=True)


def built(name: str) -> Path:
    """Return the path of a bundle of ``grafana/renderer``, made anew."""
    source, *options = _BUILDS[name]
    made = folder() / name
    command = [folder() / "node_modules" / ".bin" / "esbuild", SOURCES / source, "--bundle", f"--outfile={made}"]
    loaders = ["--loader:.ttf=empty", "--log-level=error"]
    env = {**os.environ, "NODE_PATH": str(folder() / "node_modules")}
    subprocess.run([*map(str, command), *options, *loaders], env=env, check=True)
    return made


def answers(board: Mapping[str, Any], prometheus: Prometheus, span: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """Return what Prometheus answers to every query of a dashboard, by panel and query.

    Args:
        board: the dashboard.
        prometheus: whom to ask.
        span: ``from``, ``to`` and ``step`` in seconds, for graphs; the others ask for the moment of ``to``.
    """
    times = {"start": f"{span['from']}", "end": f"{span['to']}", "step": f"{span['step']}"}
    whole = f"{span['to'] - span['from']}s"
    found: dict[str, dict[str, Any]] = {}
    for panel in seen.panels(dict(board)):
        for target in panel.get("targets", []):
            query = seen.filled_in(target["expr"], "20s", whole)
            if target["instant"]:
                data = prometheus.ask("query", query=query, time=times["end"])
            else:
                data = prometheus.ask("query_range", query=query, **times)
            found.setdefault(str(panel["id"]), {})[target["refId"]] = data["result"]
    return found


def draw(board: Mapping[str, Any], found: Mapping[str, Any], span: Mapping[str, int], path: Path, width: int) -> None:
    """Write a picture of a dashboard, drawn by Grafana's components in Chromium.

    Raises:
        ConfigError: there is no Chromium.
    """
    chromium = next((one for name in CHROMIUM if (one := shutil.which(name))), None)
    if chromium is None:
        raise ConfigError("there is no Chromium: on Debian, apt-get install chromium")
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    put = {"board": board, "answers": found, "span": span, "width": width}
    script, style = built("page.js"), folder() / "page.css"
    with tempfile.TemporaryDirectory() as temporary:
        page = Path(temporary) / "page.html"
        text = json.dumps(put).replace("</", "<\\/")
        page.write_text(
            f"<!doctype html><meta charset=utf-8><link rel=stylesheet href='file://{style}'>"
            f"<body style='margin:0'><div id=root></div><script>window.input = {text}</script>"
            f"<script src='file://{script}'></script>"
        )
        size = f"--window-size={width},{rows * ROW_PIXELS + 8}"
        command = [
            chromium,
            *_FLAGS,
            size,
            f"--user-data-dir={temporary}/user",
            f"--screenshot={path}",
            f"file://{page}",
        ]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        if "Uncaught" in done.stderr:
            raise RuntimeError(done.stderr)


def told(asked: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> list[Any]:
    """Return what Grafana's reducers, thresholds and overrides make of panels and answers to their queries.

    Of a stat panel its ``text`` and ``color``, of a graph the names in its legend, of a table its columns with their
    headings.
    """
    span = {"from": 0, "to": 60, "step": 30}
    given = json.dumps([{"panel": panel, "answers": found, "span": span} for panel, found in asked])
    command = ["node", str(built("shown.cjs"))]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    made: list[Any] = json.loads(done.stdout)
    return made


if __name__ == "__main__":
    install()
