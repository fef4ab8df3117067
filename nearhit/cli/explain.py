"""Explain: the command that shows what the guard thinks of two texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nearhit.cli import exits, judging, options
from nearhit.cli.screen import literal
from nearhit.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    import argparse

    from nearhit.cli.screen import Screen
    from nearhit.flow.ports import Judgement
    from nearhit.guard import Explanation
    from nearhit.settings import Settings

DESCRIPTION = """
Shows whether the answer to one text would be given for another: their similarity against the threshold, and the
guard's verdict with the differences that led to it. No server is needed; where one is configured, the threshold is the
one that was set there while processes run, if any. With --judge, a judge of the second stage is asked, too.
"""
EXAMPLES = """
nearhit explain "How much is Solo per month?" "How much is Solo per year?"
nearhit explain "Does it run on Linux?" "Does it not run on Linux?" --similarity 0.97 --json
nearhit explain "Can I cancel Solo?" "How do I cancel Solo?" --judge openai/gpt-4o-mini
"""
_EMBED_SECONDS = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("prompt", metavar="A", help="the question that is asked")
    parser.add_argument("candidate", metavar="B", help="the question that has been answered")
    parser.add_argument("--similarity", type=float, metavar="S", help="take this similarity and embed nothing")
    judging.add_judge(parser, "ask this judge, whatever the guard says")
    options.add_scope(parser)
    options.add_json(parser)
    options.add_settings(parser, (*options.SERVERS, "threshold", "model", "log_url"))


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Explain; return 0 when the candidate's answer would be given, else 1.

    Raises:
        ConfigError: a setting is wrong.
        ContractError: the judge gave no verdict.
        UnavailableError: the embedder or the judge does not answer.
    """
    settings = options.settings_of(arguments)
    given = arguments.similarity
    if given is not None and not -1 <= given <= 1:
        raise ConfigError(f"--similarity must be -1 to 1, not {given!r}")
    from nearhit.guard import Guard  # noqa: PLC0415 - its weights are read only here

    similarity = given if given is not None else _similarity(settings.model, arguments.prompt, arguments.candidate)
    explanation = Guard().explain(arguments.prompt, arguments.candidate, similarity)
    threshold = _threshold(arguments, settings, screen)
    near = similarity >= threshold
    document = _described(explanation, similarity, threshold, would_hit=near and explanation.verdict.accepted)
    if arguments.judge:
        judge = judging.judge_named(arguments.judge, settings.judge_level)
        said = judging.ask(judge, arguments.prompt, arguments.candidate)
        document |= _judged(judge.name, said, would_hit=document["would_hit"])
    if screen.json_wanted:
        screen.document(document)
    else:
        _show(document, screen)
    return exits.OK if document["would_hit"] else exits.MISS


def _threshold(arguments: argparse.Namespace, settings: Settings, screen: Screen) -> float:
    if "threshold" in options.chosen(arguments) or not options.server_is_configured(arguments):
        return settings.threshold
    from nearhit.admin.thresholds import Thresholds  # noqa: PLC0415 - not needed without a server

    try:
        with Thresholds(settings) as thresholds:
            return thresholds.in_force(options.scope_of(arguments)).threshold
    except UnavailableError as error:
        screen.note(f"nearhit: {error}; taking the configured threshold")
        return settings.threshold


def _similarity(model: str, prompt: str, candidate: str) -> float:
    from nearhit.embedding.resolve import embedder_for  # noqa: PLC0415 - not needed when the similarity is given

    vectors = embedder_for(model).embed((prompt, candidate), _EMBED_SECONDS).vectors
    return float(max(-1.0, min(1.0, vectors[0] @ vectors[1])))


def _described(explanation: Explanation, similarity: float, threshold: float, *, would_hit: bool) -> dict[str, Any]:
    verdict = explanation.verdict
    return {
        "would_hit": would_hit,
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
        "features": {name: round(value, 4) for name, value in explanation.features.items()},
    }


def _judged(name: str, said: Judgement, *, would_hit: bool) -> dict[str, Any]:
    described = {
        "name": name,
        "verdict": said.verdict.value,
        "probability": round(said.probability, 4),
        "tokens": said.tokens,
        "cost_dollars": said.cost_dollars,
    }
    return {"judge": described, "would_hit": would_hit and said.verdict == "same"}


def _show(document: dict[str, Any], screen: Screen) -> None:
    screen.marked("[bold green]would hit[/]" if document["would_hit"] else "[bold yellow]would miss[/]")
    near = document["similarity"] >= document["threshold"]
    verdict = "accepts" if document["accepted"] else f"refuses: {document['reason']}"
    if document["probability"] is not None:
        verdict += f" (chance of a right answer {document['probability']:.2f}, needed {document['level']:g})"
    rows = [
        (
            "similarity",
            f"{document['similarity']:.3f}, {'not ' * (not near)}at the threshold {document['threshold']:g}",
        ),
        ("guard", verdict),
    ]
    if "judge" in document:
        said = document["judge"]
        rows.append(("judge", f"{said['verdict']} (chance of the same {said['probability']:.2f}), {said['name']}"))
    rows += [
        (one["reason"], f"{one['prompt'] or '(nothing)'}  ↔  {one['candidate'] or '(nothing)'}")
        for one in document["differences"]
    ]
    screen.pairs([(name, literal(text)) for name, text in rows])
