"""Explain: the command that shows what the guard thinks of two texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nearhit.admin.thresholds import Thresholds
from nearhit.cli import exits, judging, options
from nearhit.cli.command import FLOAT, Arguments, argument, command, option
from nearhit.cli.screen import Screen
from nearhit.embedding.resolve import embedder_for
from nearhit.errors import ConfigError, UnavailableError
from nearhit.guard import Explanation, Guard

if TYPE_CHECKING:
    from nearhit.settings import Settings

EXAMPLES = """
nearhit explain "How much is Solo per month?" "How much is Solo per year?"
nearhit explain "Does it run on Linux?" "Does it not run on Linux?" --similarity 0.97 --json
nearhit explain "Can I cancel Solo?" "How do I cancel Solo?" --judge openai/gpt-4o-mini
"""
_EMBED_SECONDS = 60.0


@command(EXAMPLES)
@argument("prompt", metavar="A", help="the question that is asked")
@argument("candidate", metavar="B", help="the question that has been answered")
@option("--similarity", metavar="S", type=FLOAT, help="take this similarity and embed nothing")
@option("--features", is_flag=True, help="with --json: also the numbers that the guard's classifier weighed")
@judging.judge_option("ask this judge, whatever the guard says")
@options.scope
@options.json_output
@options.settings(*options.SERVERS, "threshold", "model", "log_url")
def run(arguments: Arguments, screen: Screen) -> int:
    """Show whether the answer to one text would be given for another: exit code 0 if so, else 1.

    Compares their similarity with the threshold, and shows the guard's verdict with the differences that led to it. No
    server is needed; where one is configured, the threshold is the one that was set there while processes run, if any.
    With --judge, a judge of the second stage is asked, too.
    """
    settings = options.settings_of(arguments)
    similarity = arguments.similarity
    if similarity is not None and not -1 <= similarity <= 1:
        raise ConfigError(f"--similarity must be -1 to 1, not {similarity!r}")
    if similarity is None:
        vectors = embedder_for(settings.model).embed((arguments.prompt, arguments.candidate), _EMBED_SECONDS).vectors
        similarity = float(max(-1.0, min(1.0, vectors[0] @ vectors[1])))
    explanation = Guard().explain(arguments.prompt, arguments.candidate, similarity)
    document = described(explanation, similarity, threshold_in_force(arguments, settings, screen))
    if arguments.features:
        document["features"] = {name: round(value, 4) for name, value in explanation.features.items()}
    if arguments.judge:
        judge = judging.judge_named(arguments.judge, settings.judge_level)
        said = judging.ask(judge, arguments.prompt, arguments.candidate)
        judged = {"name": judge.name, "verdict": said.verdict.value, "probability": round(said.probability, 4)}
        document["judge"] = {**judged, "tokens": said.tokens, "cost_dollars": said.cost_dollars}
        document["would_hit"] = document["would_hit"] and said.verdict == "same"
    screen.document(document)
    show(document, screen)
    return exits.OK if document["would_hit"] else exits.MISS


def threshold_in_force(arguments: Arguments, settings: Settings, screen: Screen) -> float:
    """Return the threshold of the option, else the one that was set while processes run, else the configured one."""
    if "threshold" in options.chosen(arguments) or not options.server_is_configured(arguments):
        return settings.threshold
    try:
        with Thresholds(settings) as thresholds:
            return thresholds.in_force(options.scope_of(arguments)).threshold
    except UnavailableError as error:
        screen.note(f"nearhit: {error}; taking the configured threshold")
        return settings.threshold


def described(explanation: Explanation, similarity: float, threshold: float) -> dict[str, Any]:
    """Return an explanation as JSON."""
    verdict = explanation.verdict
    return {
        "would_hit": similarity >= threshold and verdict.accepted,
        "similarity": round(similarity, 4),
        "threshold": threshold,
        "accepted": verdict.accepted,
        "reason": verdict.reason.value if verdict.reason else None,
        "probability": round(verdict.probability, 4) if verdict.probability is not None else None,
        "level": explanation.level,
        "differences": [
            {"reason": one.reason.value, "prompt": one.prompt, "candidate": one.candidate}
            for one in explanation.differences
        ],
    }


def show(document: dict[str, Any], screen: Screen) -> None:
    """Show an explanation to people."""
    screen.marked("[bold green]would hit[/]" if document["would_hit"] else "[bold yellow]would miss[/]")
    near = "" if document["similarity"] >= document["threshold"] else "not "
    verdict = "accepts" if document["accepted"] else f"refuses: {document['reason']}"
    if document["probability"] is not None:
        verdict += f" (chance of a right answer {document['probability']:.2f}, needed {document['level']:g})"
    rows = [
        ("similarity", f"{document['similarity']:.3f}, {near}at the threshold {document['threshold']:g}"),
        ("guard", verdict),
    ]
    if said := document.get("judge"):
        rows.append(("judge", f"{said['verdict']} (chance of the same {said['probability']:.2f}), {said['name']}"))
    rows += [
        (one["reason"], f"{one['prompt'] or '(nothing)'}  ↔  {one['candidate'] or '(nothing)'}")
        for one in document["differences"]
    ]
    screen.pairs(rows)
