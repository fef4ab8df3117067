"""Calibration page: a self-contained HTML report with plots drawn as SVG."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nearhit.evaluation.rows import PairRow

_WIDTH, _HEIGHT, _EDGE = 640, 260, 40
_BINS = 50
_LEAST = 0.5
_WORST = 25
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:760px;margin:2rem auto;padding:0 1rem;color:#1c2733}
table{border-collapse:collapse}td,th{padding:.25rem .7rem;text-align:left;border-bottom:1px solid #d8dee5}
svg{background:#f7f9fb;border:1px solid #d8dee5}text{font:11px system-ui,sans-serif;fill:#51606f}
"""


def page(
    rows: Sequence[PairRow],
    similarities: Sequence[float],
    refused: Sequence[str | None],
    found: Mapping[str, Any],
    few: Mapping[str, int],
) -> str:
    """Return the report as HTML that needs nothing else: no script, no style sheet, no font from outside.

    Args:
        rows: the labelled pairs.
        similarities: of each pair.
        refused: why the guard refuses each, or ``None``.
        found: calibrations by group.
        few: of those, with how many pairs of their own, which have the overall threshold for that.
    """
    kept = [at for at, why in enumerate(refused) if why is None]
    same = [float(similarities[at]) for at in kept if rows[at].same]
    different = [float(similarities[at]) for at in kept if not rows[at].same]
    worst = sorted((at for at in kept if not rows[at].same), key=lambda at: -similarities[at])[:_WORST]
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Calibration</title>",
        f"<style>{_STYLE}</style><h1>Calibration</h1>",
        f"<p>{len(rows)} pairs, of which the guard refuses {len(rows) - len(kept)}; the rest is shown.</p>",
        _labels(rows),
        _table(found, few),
        "<h2>Similarity of right (blue) and wrong (orange) pairs</h2>",
        histogram(same, different),
        "<h2>Precision against hits, as the threshold falls from 1</h2>",
        curve(same, different),
        "<h2>The nearest wrong pairs</h2><table><tr><th>similarity</th><th>asked</th><th>cached</th></tr>",
        *(
            f"<tr><td>{similarities[at]:.3f}</td><td>{escape(rows[at].prompt)}</td>"
            f"<td>{escape(rows[at].candidate)}</td></tr>"
            for at in worst
        ),
        "</table></html>",
    ]
    return "\n".join(parts)


def _labels(rows: Sequence[PairRow]) -> str:
    """Return who gave the labels, where that was no person."""
    judges = sorted({row.judge for row in rows if row.judge})
    if not judges:
        return ""
    count = sum(bool(row.judge) for row in rows)
    return (
        f"<p><strong>{count} of {len(rows)} labels were given by {escape(', '.join(judges))}</strong>, which may err: "
        "the bounds below are about its labels, and its mistakes are not in them. Where it was unsure, a pair counts "
        "as wrong. A person may have corrected some since.</p>"
    )


def _table(found: Mapping[str, Any], few: Mapping[str, int]) -> str:
    few_of = {name: f" (the overall one: only {own} pairs of its own)" for name, own in few.items()}
    head = "<tr><th>group</th><th>threshold</th><th>hits</th><th>false</th><th>at most</th><th>recall</th></tr>"
    body = "".join(
        f"<tr><td>{escape(name)}{few_of.get(name, '')}</td>"
        f"<td>{'none' if one.threshold is None else f'{one.threshold:.3f}'}</td>"
        f"<td>{one.hits}</td><td>{one.false}</td><td>{one.bound:.1%}</td><td>{one.recall:.1%}</td></tr>"
        for name, one in found.items()
    )
    return f"<table>{head}{body}</table>"


def histogram(same: list[float], different: list[float]) -> str:
    """Return a plot of how many right and wrong pairs have which similarity."""
    counted = [_counts(same), _counts(different)]
    most = max(1, *(count for counts in counted for count in counts))
    bars = []
    step = (_WIDTH - 2 * _EDGE) / _BINS
    for counts, colour in zip(counted, ("#2f6fd0", "#e08a2b"), strict=True):
        for at, count in enumerate(counts):
            high = (_HEIGHT - 2 * _EDGE) * count / most
            x, y = _EDGE + at * step, _HEIGHT - _EDGE - high
            bars.append(
                f"<rect x='{x:.1f}' y='{y:.1f}' width='{step:.1f}' height='{high:.1f}' fill='{colour}' opacity='.55'/>"
            )
    return _frame("".join(bars), "similarity", "pairs", (f"{_LEAST}", "1.0"), ("0", str(most)))


def _counts(values: list[float]) -> list[int]:
    counts = [0] * _BINS
    for value in values:
        if value >= _LEAST:
            counts[min(_BINS - 1, int((value - _LEAST) / (1 - _LEAST) * _BINS))] += 1
    return counts


def curve(same: list[float], different: list[float]) -> str:
    """Return a plot of the precision at each number of hits."""
    order = sorted([(value, True) for value in same] + [(value, False) for value in different], reverse=True)
    points, right = [], 0
    for hits, (value, truth) in enumerate(order, 1):
        right += truth
        if value < _LEAST:
            break
        if hits % max(1, len(order) // 300) == 0:
            x = _EDGE + (_WIDTH - 2 * _EDGE) * hits / len(order)
            y = _HEIGHT - _EDGE - (_HEIGHT - 2 * _EDGE) * right / hits
            points.append(f"{x:.1f},{y:.1f}")
    line = f"<polyline points='{' '.join(points)}' fill='none' stroke='#2f6fd0' stroke-width='2'/>"
    return _frame(line, "hits", "precision", ("0", str(len(order))), ("0", "1"))


def _frame(inside: str, across: str, up: str, x_ends: tuple[str, str], y_ends: tuple[str, str]) -> str:
    left, right, low, high = _EDGE, _WIDTH - _EDGE, _HEIGHT - _EDGE, _EDGE
    return (
        f"<svg width='{_WIDTH}' height='{_HEIGHT}' role='img' aria-label='{up} by {across}'>{inside}"
        f"<path d='M{left} {high}V{low}H{right}' fill='none' stroke='#8795a3'/>"
        f"<text x='{left}' y='{low + 16}'>{x_ends[0]}</text>"
        f"<text x='{right}' y='{low + 16}' text-anchor='end'>{x_ends[1]}</text>"
        f"<text x='{(left + right) / 2}' y='{low + 30}' text-anchor='middle'>{across}</text>"
        f"<text x='{left - 6}' y='{low}' text-anchor='end'>{y_ends[0]}</text>"
        f"<text x='{left - 6}' y='{high + 4}' text-anchor='end'>{y_ends[1]}</text>"
        f"<text x='{left + 4}' y='{high - 8}'>{up}</text></svg>"
    )
