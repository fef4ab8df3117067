"""Evaluate: the command that measures hits and false hits on labelled pairs or on a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nearhit.cli import exits, options
from nearhit.errors import ConfigError

if TYPE_CHECKING:
    import argparse

    from nearhit.cli.screen import Screen
    from nearhit.evaluation.metrics import PairsReport, Rates
    from nearhit.evaluation.replay import ReplayReport

DESCRIPTION = """
Measures how often the cache would be right, on JSON lines (.gz too) of labelled pairs {"prompt", "candidate", "same"}
or of a stream in time order {"prompt", "cluster"}, each with "kind" and "source" where you want the rates apart. The
threshold in force and a list of others, with the guard and without; intervals hold with 95 %. Needs no server.
"""
EXAMPLES = """
nearhit evaluate pairs.jsonl
nearhit evaluate stream.jsonl.gz --threshold 0.88 --json
"""
OTHERS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.92, 0.94, 0.95, 0.97)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("file", metavar="FILE", help="pairs or a stream; its first row says which")
    parser.add_argument(
        "--thresholds", metavar="T,T,…", type=_numbers, default=OTHERS, help="the others; none with an empty list"
    )
    parser.add_argument("--failures", metavar="N", type=int, default=10, help="show the N worst false hits; 10")
    options.add_json(parser)
    options.add_settings(parser, ("threshold", "model"))


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Measure and show.

    Raises:
        ConfigError: the file cannot be read, or a row is wrong; the message names the line and the field.
        UnavailableError: the embedder does not answer.
    """
    settings = options.settings_of(arguments)
    from nearhit.embedding.bulk import embed_many  # noqa: PLC0415 - help needs none of it
    from nearhit.embedding.resolve import embedder_for  # noqa: PLC0415 - the same
    from nearhit.evaluation.rows import format_of, read_pairs, read_stream  # noqa: PLC0415 - the same

    embedder = embedder_for(settings.model)
    thresholds = tuple(dict.fromkeys((settings.threshold, *arguments.thresholds)))
    kind = format_of(arguments.file)
    base = {"file": arguments.file, "format": kind, "model": settings.model, "threshold": settings.threshold}

    def embed(texts: Any) -> Any:
        return embed_many(embedder, texts, lambda done, all_: screen.progress("embedded", done, all_))

    if kind == "pairs":
        found = _pairs(read_pairs(arguments.file), embed, thresholds, arguments.failures)
    else:
        found = _stream(read_stream(arguments.file), embed, thresholds, settings.neighbours)
    if screen.json_wanted:
        screen.document({**base, **{name: value for name, value in found.items() if name != "shown"}})
    else:
        screen.line(f"{arguments.file}: {kind}, {settings.model}, threshold {settings.threshold:g} in force")
        found["shown"](screen)
    return exits.OK


def _pairs(rows: Any, embed: Any, thresholds: tuple[float, ...], failures: int) -> dict[str, Any]:
    from nearhit.evaluation.metrics import evaluate_pairs, pair_similarities, refusals  # noqa: PLC0415 - as above
    from nearhit.guard import Guard  # noqa: PLC0415 - the same

    similarities = pair_similarities(rows, embed).tolist()
    refused = refusals(rows, similarities, Guard())
    guarded = [evaluate_pairs(rows, similarities, one, refused) for one in thresholds]
    alone = [evaluate_pairs(rows, similarities, one) for one in thresholds]
    worst = sorted(
        (
            (near, row)
            for row, near, why in zip(rows, similarities, refused, strict=True)
            if not row.same and why is None and near >= thresholds[0]
        ),
        key=lambda one: -one[0],
    )[:failures]

    def shown(screen: Screen) -> None:
        _show_rates(screen, "guard", guarded)
        _show_rates(screen, "threshold alone", alone)
        _show_groups(screen, "kind", guarded[0].by_kind)
        _show_groups(screen, "source", guarded[0].by_source)
        if worst:
            screen.line("\nthe nearest false hits", style="bold")
        for near, row in worst:
            screen.line(f"  {near:.3f}  {row.prompt}\n         {row.candidate}")

    return {
        "pairs": len(rows),
        "in_force": guarded[0].as_dict(),
        "in_force_without_guard": alone[0].as_dict(),
        "others": [report.as_dict() for pair in zip(guarded[1:], alone[1:], strict=True) for report in pair],
        "worst_false_hits": [
            {"similarity": round(near, 4), "prompt": row.prompt, "candidate": row.candidate, "kind": row.kind}
            for near, row in worst
        ],
        "shown": shown,
    }


def _stream(rows: Any, embed: Any, thresholds: tuple[float, ...], neighbours: int) -> dict[str, Any]:
    from nearhit.evaluation.replay import Replay  # noqa: PLC0415 - as above
    from nearhit.guard import Guard  # noqa: PLC0415 - the same

    replay, guard = Replay(rows, embed, neighbours=neighbours), Guard()
    guarded = [replay.run(one, guard) for one in thresholds]
    alone = [replay.run(one) for one in thresholds]

    def shown(screen: Screen) -> None:
        for name, reports in (("guard", guarded), ("threshold alone", alone)):
            _show_replays(screen, name, reports)

    return {
        "events": len(rows),
        "in_force": guarded[0].as_dict(),
        "in_force_without_guard": alone[0].as_dict(),
        "others": [report.as_dict() for pair in zip(guarded[1:], alone[1:], strict=True) for report in pair],
        "shown": shown,
    }


def _show_rates(screen: Screen, name: str, reports: list[PairsReport]) -> None:
    screen.line(f"\n{name}: all pairs, and the strict ones without the kind same_intent", style="bold")
    screen.line("  threshold  precision  recall  false hits  refused   strict: recall  false hits")
    for report in reports:
        every, strict = report.overall, report.strict
        screen.line(
            f"  {report.threshold:9.3f}  {_share(every.precision)}    {_share(every.recall)}   "
            f"{_share(every.false_hit_rate)}       {_share(every.refusal_rate)}            "
            f"{_share(strict.recall)}   {_share(strict.false_hit_rate)}"
        )


def _show_groups(screen: Screen, name: str, groups: dict[str, Rates]) -> None:
    if not groups:
        return
    screen.line(f"\nthe threshold in force with the guard, by {name}", style="bold")
    width = max(map(len, groups))
    screen.line(f"  {'':{width}}   pairs  recall  false hits  refused")
    for label, rates in groups.items():
        count = rates.same + rates.different
        recall = _share(rates.recall) if rates.same else "   – "
        false = _share(rates.false_hit_rate) if rates.different else "   – "
        screen.line(f"  {label:{width}}  {count:6d}  {recall}   {false}       {_share(rates.refusal_rate)}")


def _show_replays(screen: Screen, name: str, reports: list[ReplayReport]) -> None:
    screen.line(f"\n{name}", style="bold")
    screen.line("  threshold  hit rate   exact  semantic   false  false share of semantic hits")
    for one in reports:
        share = one.false_share
        interval = f"({share.low:.1%} to {share.high:.1%})" if one.semantic else ""
        screen.line(
            f"  {one.threshold:9.3f}    {_share(one.hit_rate)}  {one.exact:6d}    {one.semantic:6d}  {one.false:6d}  "
            f"{_share(share)} {interval}"
        )


def _share(share: Any) -> str:
    return "   – " if share.value is None else f"{share.value:5.3f}"


def _numbers(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ConfigError(f"--thresholds takes numbers with commas between, not {text!r}") from None
    if not all(0 < one <= 1 for one in found):
        raise ConfigError(f"--thresholds takes similarities above 0 and at most 1, not {text!r}")
    return found
