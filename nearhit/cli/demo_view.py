"""Demo view: the demo's report as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from nearhit.cli.screen import literal, milliseconds

if TYPE_CHECKING:
    from nearhit.cli.screen import Screen

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
    screen.console.print(_selection(report["sample"], narrow=screen.console.width < _WIDE))
    screen.line()
    screen.console.print(_kinds(summary))
    screen.line()
    screen.pairs(_figures(report))
    screen.line("\nA worker's metrics in the Prometheus format, as scraped a moment ago:")
    screen.line(f"  {report['metrics']['url']}")
    for line in report["metrics"]["samples"]:
        screen.line(f"  {line}", style="dim")
    screen.line("Your program's lookups are in cache.metrics.registry. The demo has stopped all that it started;")
    screen.line("`nearhit up` starts a stack that stays.")
    screen.line()
    if report["failures"]:
        for failure in report["failures"]:
            screen.marked(f"[bold red]failed[/]  {literal(failure)}")
    else:
        screen.marked(f"[bold green]done[/] in {report['seconds']:g} s")


def _selection(sample: list[dict[str, Any]], *, narrow: bool) -> Table:
    table = Table(title="A selection, evenly picked", title_justify="left", box=None, padding=(0, 1), expand=True)
    heads = ("question, nearest cached one",) if narrow else ("question", "nearest cached question")
    for name in heads:
        table.add_column(name, ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("alike", justify="right", no_wrap=True)
    table.add_column("tier", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    kind = ""
    for row in sample:
        if row["kind"] != kind:
            kind = row["kind"]
            table.add_row(f"[dim]— {_KINDS[kind]}[/]")
        alike = "" if row["similarity"] is None else f"{row['similarity']:.3f}"
        spent = f"{row['stages_ms'].get('total', 0):.1f}"
        asked, nearest = literal(row["prompt"]), literal(row["nearest"] or "")
        texts = (f"{asked}\n[dim]{nearest}[/]",) if narrow else (asked, nearest)
        table.add_row(*texts, alike, row["tier"] or "", _outcome(row), spent)
    return table


def _outcome(row: dict[str, Any]) -> str:
    if row["outcome"] == "hit":
        return "[bold red]hit, wrong[/]" if row["wrong"] else "[green]hit[/]"
    return f"[yellow]miss: {row['reason']}[/]" + (f" [dim]{row['refusal']}[/]" if row["refusal"] else "")


def _kinds(summary: dict[str, Any]) -> Table:
    table = Table(title=f"All {summary['asked']} questions", title_justify="left", box=None, padding=(0, 1))
    table.add_column("kind", no_wrap=True)
    for name in ("asked", "hits", "hit rate", "wrong answers"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("misses by reason")
    for kind, row in summary["kinds"].items():
        misses = ", ".join(f"{count} {reason}" for reason, count in row["misses"].items())
        wrong = f"[bold red]{row['wrong']}[/]" if row["wrong"] else "0"
        counts = (str(row["asked"]), str(row["hits"]), f"{row['hit_rate']:.1%}", wrong)
        table.add_row(_KINDS[kind].partition(":")[0], *counts, misses)
    return table


def _figures(report: dict[str, Any]) -> list[tuple[str, str]]:
    summary = report["summary"]
    fills, lag = summary["fills"], summary["fills"]["lag_ms"]
    tiers = "  ".join(f"{tier} {count} ({summary['hit_rate'][tier]:.1%})" for tier, count in summary["hits"].items())
    rows = [
        ("set", f"model {report['model']}, threshold {report['threshold']:g} with guard, engine {report['engine']}"),
        ("hits by tier", tiers),
        ("wrong answers", str(summary["wrong_answers"])),
        ("fills", f"{fills['searchable']} of {fills['accepted']} through the queue and searchable"),
        (
            "miss → searchable",
            f"p50 {_ms(lag['p50'])}, p99 {_ms(lag['p99'])}; the first, all cold, {_ms(lag['first'])}",
        ),
    ]
    for tier, stages in summary["lookup_ms"].items():
        if stages:
            name = "exact hits" if tier == "exact" else "other lookups"
            text = "  ".join(f"{stage} {times['p50']:g} / {times['p99']:g}" for stage, times in stages.items())
            rows.append((f"{name}, ms", f"{text}   (p50 / p99)"))
    return [(name, literal(text)) for name, text in rows]


def _ms(value: float) -> str:
    return milliseconds(value / 1000)
