"""Lookup: the command that asks one question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nearhit.cli import exits, options
from nearhit.cli.screen import literal, milliseconds

if TYPE_CHECKING:
    import argparse

    from nearhit.cli.screen import Screen
    from nearhit.domain.outcome import Hit, Miss

DESCRIPTION = """
Asks the cache a question and shows the answer, or why there is none: the nearest cached question, its similarity,
and how long each stage took.
"""
EXAMPLES = """
nearhit lookup "How much is the Solo plan?"
nearhit lookup "How much is the Solo plan?" --tenant acme --scope model=gpt-5 --scope temperature=0
nearhit lookup "How much is the Solo plan?" --json | jq .answer
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("text", metavar="TEXT", help="the question")
    options.add_scope(parser)
    options.add_json(parser)
    options.add_settings(parser)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Ask; return 0 for a hit and 1 for a miss.

    Raises:
        ConfigError: a setting is wrong.
        UnavailableError: a server or the embedder does not answer.
    """
    settings = options.settings_of(arguments)
    scope = options.scope_of(arguments)
    from nearhit.cli.opened import opened, raise_unanswered  # noqa: PLC0415 - the same
    from nearhit.domain.outcome import Miss  # noqa: PLC0415 - mistakes in the arguments are said without loading anything

    with opened(settings) as cache:
        outcome = cache.lookup(arguments.text, scope)
        if isinstance(outcome, Miss):
            raise_unanswered(outcome, settings)
    if screen.json_wanted:
        screen.document(described(outcome))
    else:
        _show(outcome, screen)
    return exits.OK if outcome else exits.MISS


def described(outcome: Hit | Miss) -> dict[str, Any]:
    """Return an outcome as JSON, with the same keys for a hit and for a miss."""
    stages = {name: round(seconds * 1000, 3) for name, seconds in outcome.stages.items()}
    found = _hit(outcome) if outcome else _miss(outcome)
    return {"prompt": outcome.prompt, **found, "threshold": outcome.threshold, "stages_ms": stages}


def _hit(hit: Hit) -> dict[str, Any]:
    return {
        "outcome": "hit",
        "tier": hit.tier.value,
        "reason": None,
        "similarity": round(hit.similarity, 4),
        "nearest": hit.cached_prompt,
        "refusal": None,
        "answer": hit.answer,
        "age_seconds": round(hit.age_seconds, 3),
        "fresh": hit.fresh,
        "key": hit.key,
        "detail": None,
    }


def _miss(miss: Miss) -> dict[str, Any]:
    near = miss.nearest
    return {
        "outcome": "miss",
        "tier": None,
        "reason": miss.reason.value,
        "similarity": round(near.similarity, 4) if near else None,
        "nearest": near.prompt if near else None,
        "refusal": (near.refusal or None) if near else None,
        "answer": None,
        "age_seconds": None,
        "fresh": None,
        "key": None,
        "detail": miss.detail or None,
    }


def _show(outcome: Hit | Miss, screen: Screen) -> None:
    row = described(outcome)
    similarity = "" if row["similarity"] is None else f"{row['similarity']:.3f}"
    threshold = f", threshold {row['threshold']:g}" if similarity and row["threshold"] is not None else ""
    if outcome:
        headline = f"[bold green]hit[/]  {row['tier']}"
    else:
        headline = f"[bold yellow]miss[/]  {row['reason']}" + (f" ({row['refusal']})" if row["refusal"] else "")
    screen.marked(headline)
    stages = "  ".join(f"{name} {milliseconds(seconds)}" for name, seconds in outcome.stages.items())
    pairs = [
        ("asked", row["prompt"]),
        ("nearest", row["nearest"] or ""),
        ("similarity", similarity + threshold),
        ("answer", _text(row["answer"])),
        ("detail", row["detail"] or ""),
        ("time", stages),
    ]
    screen.pairs([(name, literal(value)) for name, value in pairs if value])


def _text(answer: Any) -> str:
    import json  # noqa: PLC0415 - help needs none of it

    if answer is None:
        return ""
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, indent=2)
