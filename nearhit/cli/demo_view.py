"""Demo view: the demo's report as tables for people."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from nearhit.cli.screen import Screen, literal, milliseconds

_WIDE = 110
"""Columns from which both questions fit beside each other."""

_KINDS = {
    "exact": "asked again",
    "rewording": "reworded",
    "trap": "trap: near, but another question",
    "stranger": "stranger",
}


def show(report: dict[str, Any], screen: Screen) -> None:
    """Show the selection, the figures of all questions, and where the metrics are."""
    summary = report["summary"]
    screen.line()
    screen.console.print(selection(report["sample"], narrow=screen.console.width < _WIDE))
    heads = ("kind", "asked", "hits", "hit rate", "wrong answers", "misses by reason")
    rows = [
        (
            *(_KINDS[kind].partition(":")[0], str(row["asked"]), str(row["hits"]), f"{row['hit_rate']:.1%}"),
            f"[bold red]{row['wrong']}[/]" if row["wrong"] else "0",
            ", ".join(f"{count} {reason}" for reason, count in row["misses"].items()),
        )
        for kind, row in summary["kinds"].items()
    ]
    screen.table(f"All {summary['asked']} questions", heads, rows)
    screen.line()
    screen.pairs(figures(report))
    screen.line("\nA worker's metrics in the Prometheus format, as scraped a moment ago:")
    screen.line(f"  {report['metrics']['url']}")
    for line in report["metrics"]["samples"]:
        screen.line(f"  {line}", style="dim")
    screen.line("Your program's lookups are in cache.metrics.registry. The demo has stopped all that it started;")
    screen.line("`nearhit up` starts a stack that stays.")
    screen.line()
    for failure in report["failures"]:
        screen.marked(f"[bold red]failed[/]  {literal(failure)}")
    if not report["failures"]:
        screen.marked(f"[bold green]done[/] in {report['seconds']:g} s")


def selection(sample: list[dict[str, Any]], *, narrow: bool) -> Table:
    """Return some questions with what they were answered, by kind."""
    shown = Table(title="A selection, evenly picked", title_justify="left", box=None, padding=(0, 1), expand=True)
    for name in ("question, nearest cached one",) if narrow else ("question", "nearest cached question"):
        shown.add_column(name, ratio=1, no_wrap=True, overflow="ellipsis")
    for name in ("alike", "tier", "outcome", "ms"):
        shown.add_column(name, justify="right" if name in {"alike", "ms"} else "left", no_wrap=True)
    kind = ""
    for row in sample:
        if row["kind"] != kind:
            kind = row["kind"]
            shown.add_row(f"[dim]— {_KINDS[kind]}[/]")
        if row["outcome"] == "hit":
            outcome = "[bold red]hit, wrong[/]" if row["wrong"] else "[green]hit[/]"
        else:
            outcome = f"[yellow]miss: {row['reason']}[/]" + (f" [dim]{row['refusal']}[/]" if row["refusal"] else "")
        alike = "" if row["similarity"] is None else f"{row['similarity']:.3f}"
        asked, nearest = literal(row["prompt"]), literal(row["nearest"] or "")
        texts = (f"{asked}\n[dim]{nearest}[/]",) if narrow else (asked, nearest)
        shown.add_row(*texts, alike, row["tier"] or "", outcome, f"{row['stages_ms'].get('total', 0):.1f}")
    return shown


def figures(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the figures of all questions as names and values."""
    summary = report["summary"]
    fills = summary["fills"]
    lag = {name: milliseconds(value / 1000) for name, value in fills["lag_ms"].items()}
    tiers = "  ".join(f"{tier} {count} ({summary['hit_rate'][tier]:.1%})" for tier, count in summary["hits"].items())
    rows = [
        ("set", f"model {report['model']}, threshold {report['threshold']:g} with guard, engine {report['engine']}"),
        ("hits by tier", tiers),
        ("wrong answers", str(summary["wrong_answers"])),
        ("fills", f"{fills['searchable']} of {fills['accepted']} through the queue and searchable"),
        ("miss → searchable", f"p50 {lag['p50']}, p99 {lag['p99']}; the first, all cold, {lag['first']}"),
    ]
    for tier, stages in summary["lookup_ms"].items():
        if stages:
            name = "exact hits" if tier == "exact" else "other lookups"
            text = "  ".join(f"{stage} {times['p50']:g} / {times['p99']:g}" for stage, times in stages.items())
            rows.append((f"{name}, ms", f"{text}   (p50 / p99)"))
    return rows
