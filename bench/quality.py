"""Measure the guard and write docs/quality.md: ``python -m bench.quality DATA/pairs.jsonl.gz DATA/stream_….jsonl.gz``.

All figures of a guard are of one that did not see what it judges: by folds of related texts, and by source.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.guard_data import FOLDS, Vectors, examples, read
from bench.guard_folds import by_fold, by_source
from bench.guard_left_out import left_out
from bench.guard_network import Recipe
from bench.quality_text import FAILURES, HEAD, SIGHT, TRIED
from nearhit.evaluation import Replay, evaluate_pairs, pair_similarities, refusals, share
from nearhit.guard import Guard
from nearhit.guard.analysis import analyse
from nearhit.guard.judge import DEFAULT_LEVEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.guard_data import Data
    from nearhit.domain.hit_policy import GuardPort
    from nearhit.evaluation import PairRow, Rates, ReplayReport, Share, StreamRow

_OUT: Final = Path(__file__).resolve().parents[1] / "docs" / "quality.md"
_THRESHOLDS: Final = (0.80, 0.85, 0.90, 0.95)
_STREAM_THRESHOLDS: Final = (0.75, 0.80, 0.85, 0.90, 0.95)
_AT: Final = 0.90
_RECALL: Final = 0.60

Refused = list[str | None]


def main() -> None:
    """Measure on the files that are named and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="files of pairs and of streams, gzip too")
    parser.add_argument("--vectors", type=Path, help="a .npz file that remembers the vectors between runs")
    parser.add_argument("--out", type=Path, default=_OUT, help="the page to write")
    arguments = parser.parse_args()
    vectors = Vectors(arguments.vectors)
    data = read(arguments.files)
    made = examples(data, vectors)
    recipe = Recipe()
    folded = by_fold(data, made, recipe, DEFAULT_LEVEL)
    sourced = by_source(data, made, replace(recipe, networks=1), DEFAULT_LEVEL)
    print("guards trained")
    near = pair_similarities(data.pairs, vectors).tolist()
    unseen = [sourced.judge(row.prompt, row.candidate, alike) for row, alike in zip(data.pairs, near, strict=True)]
    page = [HEAD.format(folds=FOLDS, level=DEFAULT_LEVEL, examples=len(made.right))]
    page += [*left_out(data.pairs, near, unseen), SIGHT]
    page += _pairs(data.pairs, vectors, folded, sourced)
    for name, stream in data.streams.items():
        page += _stream(name, stream, vectors, folded, sourced)
    page += _failures(vectors)
    page += [TRIED, *_cost(data)]
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text("\n".join(page) + "\n", encoding="utf-8")
    print(f"{arguments.out} written")


def _pairs(rows: Sequence[PairRow], vectors: Vectors, folded: GuardPort, sourced: GuardPort) -> list[str]:
    near = pair_similarities(rows, vectors).tolist()
    kept = {
        "cosine": None,
        "guard, by fold": refusals(rows, near, folded),
        "guard, by source": refusals(rows, near, sourced),
    }
    lines = ["## Pairs", "", "Strict pairs: all but `same_intent`. In brackets the 95 % interval.", ""]
    lines += ["| threshold | who decides | recall | false-hit rate | false share of hits |", "|---|---|---|---|---|"]
    for threshold in _THRESHOLDS:
        for name, refused in kept.items():
            strict = evaluate_pairs(rows, near, threshold, refused).strict
            lines.append(
                f"| {threshold:.2f} | {name} | {_percent(strict.recall)} | {_percent(strict.false_hit_rate)} "
                f"| {_percent(strict.false_share)} |"
            )
    lines += ["", f"At a recall of {_RECALL:.0%} over the strict pairs:", ""]
    lines += ["| who decides | threshold | false-hit rate |", "|---|---|---|"]
    for name, refused in kept.items():
        lines.append(_at_recall(name, rows, near, refused))
    lines += ["", *_kinds(rows, near, kept), *_sources(rows, near, kept), *_reasons(rows, near, kept)]
    return lines


def _at_recall(name: str, rows: Sequence[PairRow], near: Sequence[float], refused: Refused | None) -> str:
    """Return the row of the highest threshold that still reaches the recall."""
    strict = [n for n, row in enumerate(rows) if row.kind != "same_intent"]
    same = sum(rows[n].same for n in strict)
    passing = sorted(
        (near[n] for n in strict if rows[n].same and (refused is None or refused[n] is None)), reverse=True
    )
    needed = int(_RECALL * same)
    if needed >= len(passing):
        return f"| {name} | not reached: {len(passing) / same:.1%} at any threshold | |"
    threshold = passing[needed]
    rates = evaluate_pairs(rows, near, threshold, refused).strict
    return f"| {name} | {threshold:.3f} | {_percent(rates.false_hit_rate)} |"


def _kinds(rows: Sequence[PairRow], near: Sequence[float], kept: dict[str, Refused | None]) -> list[str]:
    reports = {name: evaluate_pairs(rows, near, _AT, refused) for name, refused in kept.items()}
    plain, fold, source = reports.values()
    lines = [
        f"### By kind, threshold {_AT:.2f}",
        "",
        "Traps: the share that is refused, by the threshold or by the guard.",
        "",
    ]
    lines += ["| kind | pairs | cosine | guard, by fold | guard, by source |", "|---|---|---|---|---|"]
    for kind in plain.by_kind:
        if plain.by_kind[kind].different:
            cells = " | ".join(_refused(report.by_kind[kind]) for report in (plain, fold, source))
            lines.append(f"| {kind} | {plain.by_kind[kind].different} | {cells} |")
    traps = [kind for kind in plain.by_kind if kind.startswith("hard_neg")]
    cells = " | ".join(_sum_refused([report.by_kind[kind] for kind in traps]) for report in (plain, fold, source))
    lines.append(f"| **all `hard_neg`** | {sum(plain.by_kind[kind].different for kind in traps)} | {cells} |")
    lines += ["", "Paraphrases that cosine accepts: the share that the guard keeps.", ""]
    lines += ["| kind | accepted by cosine | guard, by fold | guard, by source |", "|---|---|---|---|"]
    good = [kind for kind in plain.by_kind if plain.by_kind[kind].same_accepted]
    for kind in good:
        accepted = plain.by_kind[kind].same_accepted
        cells = " | ".join(_percent(share(r.by_kind[kind].same_accepted, accepted)) for r in (fold, source))
        lines.append(f"| {kind} | {accepted} | {cells} |")
    accepted = plain.strict.same_accepted
    cells = " | ".join(_percent(share(report.strict.same_accepted, accepted)) for report in (fold, source))
    return [*lines, f"| **all but `same_intent`** | {accepted} | {cells} |", ""]


def _sources(rows: Sequence[PairRow], near: Sequence[float], kept: dict[str, Refused | None]) -> list[str]:
    reports = [evaluate_pairs(rows, near, _AT, refused) for refused in kept.values()]
    lines = [f"### By source, threshold {_AT:.2f}", "", "Recall / false-hit rate.", ""]
    lines += ["| source | same | different | cosine | guard, by fold | guard, by source |", "|---|---|---|---|---|---|"]
    for name, rates in reports[0].by_source.items():
        cells = " | ".join(
            f"{_short(report.by_source[name].recall)} / {_short(report.by_source[name].false_hit_rate)}"
            for report in reports
        )
        lines.append(f"| {name} | {rates.same} | {rates.different} | {cells} |")
    return [*lines, ""]


def _reasons(rows: Sequence[PairRow], near: Sequence[float], kept: dict[str, Refused | None]) -> list[str]:
    strict = evaluate_pairs(rows, near, _AT, kept["guard, by fold"]).strict
    lines = [f"### Reasons, threshold {_AT:.2f}, strict pairs, by fold", "", "| reason | refusals |", "|---|---|"]
    lines += [f"| {reason} | {count} |" for reason, count in sorted(strict.reasons.items(), key=lambda item: -item[1])]
    return [*lines, ""]


def _stream(name: str, rows: Sequence[StreamRow], vectors: Vectors, folded: GuardPort, sourced: GuardPort) -> list[str]:
    replay = Replay(rows, vectors)
    plain = [replay.run(threshold) for threshold in (*_STREAM_THRESHOLDS, 0.97)]
    lines = [f"## Stream `{name}`", "", f"{len(rows)} questions in time order, an empty cache, 4 neighbours.", ""]
    lines += [
        "| threshold | who decides | total hit rate | semantic hits | false share of them | cosine at that hit rate |",
        "|---|---|---|---|---|---|",
    ]
    for report in plain:
        lines.append(_stream_row(report, "cosine", None))
    for label, guard, thresholds in (
        ("guard, by fold", folded, _STREAM_THRESHOLDS),
        ("guard, by source", sourced, _THRESHOLDS[1:]),
    ):
        for threshold in thresholds:
            report = replay.run(threshold, guard)
            lines.append(_stream_row(report, label, plain))
            if threshold == _AT and label == "guard, by fold":
                shown = report
    lines += [
        "",
        f"By source at {_AT:.2f}, guard, by fold:",
        "",
        "| source | semantic hits | false share |",
        "|---|---|---|",
    ]
    for source, (hits, false) in shown.by_source.items():
        lines.append(f"| {source} | {hits} | {_percent(share(false, hits))} |")
    return [*lines, ""]


def _stream_row(report: ReplayReport, label: str, plain: list[ReplayReport] | None) -> str:
    beside = "" if plain is None else _beside(report, plain)
    return (
        f"| {report.threshold:.2f} | {label} | {_short(report.hit_rate)} | {report.semantic} "
        f"| {_percent(report.false_share)} | {beside} |"
    )


def _beside(report: ReplayReport, plain: list[ReplayReport]) -> str:
    """Return the false share of plain cosine at the hit rate of ``report``, between its two nearest thresholds."""
    points = sorted((one.hit_rate.value or 0.0, one.false_share.value or 0.0) for one in plain)
    wanted = report.hit_rate.value or 0.0
    for (low, low_share), (high, high_share) in pairwise(points):
        if low <= wanted <= high:
            part = (wanted - low) / (high - low)
            return f"{low_share + part * (high_share - low_share):.1%}"
    return "outside"


def _failures(vectors: Vectors) -> list[str]:
    guard = Guard()
    lines = ["## Failures", "", "Invented pairs of hard shapes; what the guard that ships says is computed.", ""]
    lines += [
        "| | prompt | candidate | share an answer | similarity | guard | reason |",
        "|---|---|---|---|---|---|---|",
    ]
    for prompt, candidate, same in FAILURES:
        one, other = vectors([prompt, candidate])
        similarity = float(one @ other)
        verdict = guard.judge(prompt, candidate, similarity)
        said = f"{'accepts' if verdict.accepted else 'refuses'}"
        if verdict.probability is not None:
            said += f" ({verdict.probability:.2f})"
        lines.append(
            f"| {'' if verdict.accepted == same else '**wrong**'} | {prompt} | {candidate} | {'yes' if same else 'no'} "
            f"| {similarity:.2f} | {said} | {verdict.reason or ''} |"
        )
    return [*lines, ""]


def _cost(data: Data) -> list[str]:
    """Return the measured cost of one judgement of short prompts."""
    guard = Guard()
    short = [row for row in data.pairs if 7 <= len(row.prompt.split()) <= 13 and 7 <= len(row.candidate.split()) <= 13]
    new, known = ([min(_seconds(guard, row, seen) for _ in range(5)) for row in short[:3000]] for seen in (False, True))
    return [
        "## Cost",
        "",
        f"One judgement, prompts of 7 to 13 words, p50: {statistics.median(known) * 1e6:.0f} µs for a further "
        f"neighbour of the same prompt, {statistics.median(new) * 1e6:.0f} µs where neither text was seen "
        "before; of five tries at each pair the best. The table "
        "of words is warm, as it is in a process that has served some hundred prompts.",
    ]


def _seconds(guard: Guard, row: PairRow, seen: bool) -> float:
    analyse.cache_clear()
    if seen:
        analyse(row.prompt)
    started = time.perf_counter()
    guard.judge(row.prompt, row.candidate, 0.93)
    return time.perf_counter() - started


def _refused(rates: Rates) -> str:
    return _percent(share(rates.different - rates.different_accepted, rates.different))


def _sum_refused(rates: Sequence[Rates]) -> str:
    different = sum(one.different for one in rates)
    return _percent(share(different - sum(one.different_accepted for one in rates), different))


def _percent(measured: Share) -> str:
    value = measured.value
    return "" if value is None else f"{value:.1%} ({measured.low:.1%}-{measured.high:.1%})"


def _short(measured: Share) -> str:
    value = measured.value
    return "-" if value is None else f"{value:.1%}"


if __name__ == "__main__":
    main()
