"""Previews: draws each dashboard from its own queries over a running stack; ``make previews``.

They are no screenshots: Grafana draws the same data in its own way. This needs the extra ``preview`` (matplotlib),
Prometheus and redis_exporter (``make apt-tools``), and for the index the path of the search module in
``NEARHIT_TEST_SEARCH_MODULE``.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.support import observability as seen
from tests.support.stage import Prometheus, stage

SECONDS = 240
STEP_SECONDS = 4
WIDTH_INCHES, ROW_INCHES, DOTS = 14.0, 0.34, 72
FOLDER = seen.ROOT / "docs" / "img"
SETTINGS = {
    "NEARHIT_THRESHOLD": "0.85",
    "NEARHIT_MODEL": "local/minilm",
    "NEARHIT_DEADLINE_MS": "1000",
    "NEARHIT_ENQUEUE_DEADLINE_MS": "1000",
    "NEARHIT_TTL_SECONDS": "120",
}
UNITS = {
    "s": (1, "{:,.3g} s"),
    "percentunit": (100, "{:.1f} %"),
    "bytes": (1 / 2**20, "{:,.1f} MB"),
    "currencyUSD": (1, "${:,.2f}"),
    "reqps": (1, "{:,.1f}/s"),
    "ops": (1, "{:,.1f}/s"),
    "short": (1, "{:,.4g}"),
}


def main() -> int:
    """Run a stack for a while and write a picture for each dashboard."""
    module = os.environ.get("NEARHIT_TEST_SEARCH_MODULE", "")
    with tempfile.TemporaryDirectory() as folder, stage(Path(folder), module, SETTINGS, per_second=25) as one:
        time.sleep(SECONDS)
        for board in seen.boards():
            if board["uid"] != "nearhit-runbook":
                path = FOLDER / f"{board['uid']}.png"
                draw(board, one.prometheus, path)
                print(f"{path}: {path.stat().st_size // 1024} KB")
    return 0


def draw(board: dict[str, Any], prometheus: Prometheus, path: Path) -> None:
    """Write one picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an optional extra
    from matplotlib.figure import Figure  # noqa: PLC0415 - an optional extra
    from PIL import Image  # noqa: PLC0415 - comes with matplotlib

    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"]) + 2
    figure = Figure(figsize=(WIDTH_INCHES, rows * ROW_INCHES), dpi=DOTS, facecolor="#f7f7f8")
    FigureCanvasAgg(figure)
    title = f"{board['title']}   (preview drawn from the dashboard's own queries, not a screenshot)"
    figure.text(0.01, 1 - 0.9 / rows, title, fontsize=13, weight="bold")
    for panel in board["panels"]:
        at = panel["gridPos"]
        left, top = at["x"] / 24, (at["y"] + 2) / rows
        if panel["type"] == "row":
            figure.text(left + 0.01, 1 - top - 0.4 / rows, panel["title"], fontsize=11, weight="bold", color="#555")
            continue
        width, height = at["w"] / 24, at["h"] / rows
        box = (left + 0.045, 1 - top - height + 1.5 / rows, width - 0.06, height - 2.6 / rows)
        axes = figure.add_axes(box)
        axes.set_title(panel["title"], fontsize=9, loc="left")
        _PAINT[panel["type"]](axes, panel, prometheus)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    with Image.open(path) as picture:  # 64 colours are enough for lines, and a quarter of the bytes
        picture.convert("RGB").quantize(64).save(path, optimize=True)


def _filled_in(target: dict[str, Any]) -> str:
    return seen.filled_in(target["expr"], "20s", f"{SECONDS}s")


def _unit(panel: dict[str, Any]) -> tuple[float, str]:
    factor, text = UNITS[panel["fieldConfig"]["defaults"]["unit"]]
    return float(factor), str(text)


def _series(panel: dict[str, Any], prometheus: Prometheus) -> list[tuple[str, list[float], list[float]]]:
    """Return legend, seconds and values of every series of a panel."""
    end = time.time()
    found = []
    for target in panel["targets"]:
        data = prometheus.ask(
            "query_range", query=_filled_in(target), start=f"{end - SECONDS}", end=f"{end}", step=f"{STEP_SECONDS}"
        )
        for row in data["result"]:
            legend = target["legendFormat"]
            for label, value in row["metric"].items():
                legend = legend.replace(f"{{{{{label}}}}}", value)
            found.append((legend, [at - end for at, _ in row["values"]], [float(value) for _, value in row["values"]]))
    return found


def _stat(axes: Any, panel: dict[str, Any], prometheus: Prometheus) -> None:
    values = prometheus.values(_filled_in(panel["targets"][0]))
    factor, text = _unit(panel)
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    color = [step["color"] for step in steps if step["value"] is None or (values and values[0] >= step["value"])][-1]
    shown = text.format(values[0] * factor) if values else "No data"
    axes.text(0.5, 0.4, shown, ha="center", va="center", fontsize=15, color={"yellow": "#c08a00"}.get(color, color))
    axes.axis("off")


def _lines(axes: Any, panel: dict[str, Any], prometheus: Prometheus) -> None:
    factor, text = _unit(panel)
    dashed = {one["matcher"]["options"] for one in panel["fieldConfig"]["overrides"]}
    drawn = [one for one in _series(panel, prometheus) if one[0] in dashed or any(value > 0 for value in one[2])]
    for legend, at, values in drawn:
        style = {"color": "red", "linestyle": "--"} if legend in dashed else {}
        axes.plot(
            at, [value * factor for value in values], linewidth=1.1, label=legend.replace("127.0.0.1", ""), **style
        )
    axes.tick_params(labelsize=7)
    axes.yaxis.set_major_formatter(lambda value, _: text.format(value))
    axes.set_xticks([])
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    if not drawn:
        axes.text(0.5, 0.5, "nothing", ha="center", va="center", color="#999", transform=axes.transAxes)
    else:
        axes.legend(fontsize=6, loc="upper left", framealpha=0.6, ncols=2)


def _heatmap(axes: Any, panel: dict[str, Any], prometheus: Prometheus) -> None:
    import numpy as np  # noqa: PLC0415 - beside matplotlib, for its picture alone

    found = sorted(_series(panel, prometheus), key=lambda one: float(one[0]))
    length = min(len(values) for _, _, values in found)
    counts = np.diff(np.array([values[-length:] for _, _, values in found]), axis=0, prepend=0.0)
    axes.imshow(np.sqrt(np.maximum(counts, 0)), origin="lower", aspect="auto", cmap="Blues", interpolation="nearest")
    names = [legend for legend, _, _ in found]
    axes.set_yticks(range(len(names)), [f"≤ {name}" for name in names], fontsize=6)
    axes.set_xticks([])
    threshold = SETTINGS["NEARHIT_THRESHOLD"]
    axes.axhline(names.index(threshold) + 0.5, color="red", linestyle="--", linewidth=1)


def _table(axes: Any, panel: dict[str, Any], prometheus: Prometheus) -> None:
    rows = prometheus.ask("query", query=_filled_in(panel["targets"][0]))["result"]
    names = sorted({label for row in rows for label in row["metric"]})
    cells = [[row["metric"].get(name, "") for name in names] for row in rows]
    if cells:
        axes.table(cells, colLabels=names, loc="upper center", edges="horizontal").set_fontsize(7)
    axes.axis("off")


_PAINT = {"stat": _stat, "timeseries": _lines, "heatmap": _heatmap, "table": _table}

if __name__ == "__main__":
    sys.exit(main())
