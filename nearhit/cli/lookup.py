"""Lookup: the command that asks one question."""

from __future__ import annotations

import json
from typing import Any

from nearhit.cli import exits, options
from nearhit.cli.command import Arguments, argument, command
from nearhit.cli.ready_cache import raise_unanswered, ready_cache
from nearhit.cli.screen import Screen, milliseconds
from nearhit.domain.outcome import Hit, Miss

EXAMPLES = """
nearhit lookup "How much is the Solo plan?"
nearhit lookup "How much is the Solo plan?" --tenant acme --scope model=gpt-5 --scope temperature=0
nearhit lookup "How much is the Solo plan?" --json | jq .answer
"""


@command(EXAMPLES)
@argument("text", metavar="TEXT", help="the question")
@options.scope
@options.json_output
@options.settings(*options.CACHE)
def run(arguments: Arguments, screen: Screen) -> int:
    """Ask the cache a question: exit code 0 for a hit, 1 for a miss.

    Shows the answer, or why there is none: the nearest cached question, its similarity, and how long each stage took.
    """
    settings = options.settings_of(arguments)
    scope = options.scope_of(arguments)
    with ready_cache(settings) as cache:
        outcome = cache.lookup(arguments.text, scope)
        if isinstance(outcome, Miss):
            raise_unanswered(outcome, settings)
    screen.document(described(outcome))
    show(outcome, screen)
    return exits.OK if outcome else exits.MISS


def described(outcome: Hit | Miss) -> dict[str, Any]:
    """Return an outcome as JSON, with the same keys for a hit and for a miss."""
    hit, miss = (outcome, None) if outcome else (None, outcome)
    near = None if miss is None else miss.nearest
    similarity = hit.similarity if hit else near.similarity if near else None
    return {
        "prompt": outcome.prompt,
        "outcome": "hit" if hit else "miss",
        "tier": hit.tier.value if hit else None,
        "reason": None if miss is None else miss.reason.value,
        "similarity": None if similarity is None else round(similarity, 4),
        "nearest": hit.cached_prompt if hit else near.prompt if near else None,
        "refusal": (near.refusal or None) if near else None,
        "answer": hit.answer if hit else None,
        "age_seconds": round(hit.age_seconds, 3) if hit else None,
        "fresh": hit.fresh if hit else None,
        "key": hit.key if hit else None,
        "detail": None if miss is None else miss.detail or None,
        "threshold": outcome.threshold,
        "stages_ms": {name: round(seconds * 1000, 3) for name, seconds in outcome.stages.items()},
    }


def show(outcome: Hit | Miss, screen: Screen) -> None:
    """Show an outcome to people."""
    row = described(outcome)
    if outcome:
        screen.marked(f"[bold green]hit[/]  {row['tier']}")
    else:
        screen.marked(f"[bold yellow]miss[/]  {row['reason']}" + (f" ({row['refusal']})" if row["refusal"] else ""))
    similarity, answer = "", row["answer"]
    if row["similarity"] is not None:
        similarity = f"{row['similarity']:.3f}"
        similarity += "" if row["threshold"] is None else f", threshold {row['threshold']:g}"
    if answer is not None and not isinstance(answer, str):
        answer = json.dumps(answer, ensure_ascii=False, indent=2)
    stages = "  ".join(f"{name} {milliseconds(seconds)}" for name, seconds in outcome.stages.items())
    screen.pairs(
        [
            ("asked", row["prompt"]),
            ("nearest", row["nearest"] or ""),
            ("similarity", similarity),
            ("answer", answer or ""),
            ("detail", row["detail"] or ""),
            ("time", stages),
        ]
    )
