"""Evaluate: the command that measures hits and false hits on labelled pairs or on a stream."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from nearhit.cli import exits, options
from nearhit.cli.command import INT, Arguments, argument, command, option
from nearhit.cli.screen import Screen
from nearhit.embedding.bulk import embed_many
from nearhit.embedding.resolve import embedder_for
from nearhit.errors import ConfigError
from nearhit.evaluation.metrics import PairsReport, evaluate_pairs, pair_similarities, refusals
from nearhit.evaluation.replay import Replay
from nearhit.evaluation.rows import format_of, read_pairs, read_stream
from nearhit.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Sequence


EXAMPLES = """
nearhit evaluate pairs.jsonl
nearhit evaluate stream.jsonl.gz --threshold 0.88 --json
"""
OTHERS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.92, 0.94, 0.95, 0.97)


def numbers(text: str | tuple[float, ...]) -> tuple[float, ...]:
    """Return the similarities that an option lists with commas."""
    if not isinstance(text, str):
        return text
    try:
        found = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ConfigError(f"--thresholds takes numbers with commas between, not {text!r}") from None
    if not all(0 < one <= 1 for one in found):
        raise ConfigError(f"--thresholds takes similarities above 0 and at most 1, not {text!r}")
    return found


@command(EXAMPLES)
@argument("file", metavar="FILE", help="pairs or a stream; its first row says which")
@option("--thresholds", metavar="T,T,…", type=numbers, default=OTHERS, help="the others; none with an empty list")
@option("--failures", metavar="N", type=INT, default=10, help="show the N worst false hits; 10")
@options.json_output
@options.settings("threshold", "model")
def run(arguments: Arguments, screen: Screen) -> int:
    """Measure how often the cache would be right, without a server.

    FILE holds JSON lines (.gz too) of labelled pairs {"prompt", "candidate", "same"} or of a stream in time order
    {"prompt", "cluster"}, each with "kind" and "source" where you want the rates apart. Shows the threshold in force
    and a list of others, with the guard and without; intervals hold with 95 %.
    """
    settings = options.settings_of(arguments)
    thresholds = tuple(dict.fromkeys((settings.threshold, *arguments.thresholds)))
    kind = format_of(arguments.file)
    embed = partial(embed_many, embedder_for(settings.model), tell=partial(screen.progress, "embedded"))
    screen.line(f"{arguments.file}: {kind}, {settings.model}, threshold {settings.threshold:g} in force")
    if kind == "pairs":
        found = measure_pairs(read_pairs(arguments.file), embed, thresholds, arguments.failures, screen)
    else:
        found = measure_stream(read_stream(arguments.file), embed, thresholds, settings.neighbours, screen)
    base = {"file": arguments.file, "format": kind, "model": settings.model, "threshold": settings.threshold}
    screen.document({**base, **found})
    return exits.OK


def measure_pairs(
    rows: Any, embed: Any, thresholds: tuple[float, ...], failures: int, screen: Screen
) -> dict[str, Any]:
    """Measure labelled pairs and show the rates; return them as JSON."""
    similarities = pair_similarities(rows, embed).tolist()
    refused = refusals(rows, similarities, Guard())
    guarded = [evaluate_pairs(rows, similarities, one, refused) for one in thresholds]
    alone = [evaluate_pairs(rows, similarities, one) for one in thresholds]
    false = [
        (near, row)
        for row, near, why in zip(rows, similarities, refused, strict=True)
        if not row.same and why is None and near >= thresholds[0]
    ]
    worst = sorted(false, key=lambda one: -one[0])[:failures]
    show_pairs(guarded, alone, screen)
    if worst:
        screen.line("\nthe nearest false hits", style="bold")
    for near, row in worst:
        screen.line(f"  {near:.3f}  {row.prompt}\n         {row.candidate}")
    return {
        "pairs": len(rows),
        **_compared(guarded, alone),
        "worst_false_hits": [
            {"similarity": round(near, 4), "prompt": row.prompt, "candidate": row.candidate, "kind": row.kind}
            for near, row in worst
        ],
    }


def measure_stream(
    rows: Any, embed: Any, thresholds: tuple[float, ...], neighbours: int, screen: Screen
) -> dict[str, Any]:
    """Replay a stream and show its rates; return them as JSON."""
    replay, guard = Replay(rows, embed, neighbours=neighbours), Guard()
    guarded = [replay.run(one, guard) for one in thresholds]
    alone = [replay.run(one) for one in thresholds]
    heads = ("threshold", "hit rate", "exact", "semantic", "false", "false share of semantic hits")
    for name, reports in (("guard", guarded), ("threshold alone", alone)):
        lines = []
        for one in reports:
            share = one.false_share
            interval = f" ({share.low:.1%} to {share.high:.1%})" if one.semantic else ""
            counts = (str(one.exact), str(one.semantic), str(one.false))
            lines.append((f"{one.threshold:.3f}", _share(one.hit_rate), *counts, _share(share) + interval))
        screen.table(name, heads, lines)
    return {"events": len(rows), **_compared(guarded, alone)}


def show_pairs(guarded: list[PairsReport], alone: list[PairsReport], screen: Screen) -> None:
    """Show the rates of labelled pairs: by threshold, and of the one in force by kind and by source."""
    heads = ("threshold", "precision", "recall", "false hits", "refused", "strict: recall", "false hits")
    for name, reports in (("guard", guarded), ("threshold alone", alone)):
        rows = []
        for one in reports:
            every, strict = one.overall, one.strict
            shares = (every.precision, every.recall, every.false_hit_rate, every.refusal_rate)
            rows.append((f"{one.threshold:.3f}", *map(_share, (*shares, strict.recall, strict.false_hit_rate))))
        screen.table(f"{name}: all pairs, and the strict ones without the kind same_intent", heads, rows)
    for name, groups in (("kind", guarded[0].by_kind), ("source", guarded[0].by_source)):
        if groups:
            rows = [
                (label, str(one.same + one.different), *map(_share, (one.recall, one.false_hit_rate, one.refusal_rate)))
                for label, one in groups.items()
            ]
            title = f"the threshold in force with the guard, by {name}"
            screen.table(title, (name, "pairs", "recall", "false hits", "refused"), rows)


def _compared(guarded: Sequence[Any], alone: Sequence[Any]) -> dict[str, Any]:
    """Return reports with the guard and without, the threshold in force first, as JSON."""
    return {
        "in_force": guarded[0].as_dict(),
        "in_force_without_guard": alone[0].as_dict(),
        "others": [report.as_dict() for pair in zip(guarded[1:], alone[1:], strict=True) for report in pair],
    }


def _share(share: Any) -> str:
    return "–" if share.value is None else f"{share.value:.3f}"
