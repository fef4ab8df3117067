"""Batch: runs many flows at once: their commands in one round trip, their texts and their pairs in one call each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nearhit.errors import ContractError, UnavailableError
from nearhit.flow.ports import Embeddings
from nearhit.flow.steps import Compare, Embed, Flow, Send

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit.flow.steps import Step


def together(flows: Sequence[Flow[Any]], max_commands: int = 1_000) -> Flow[list[Any]]:
    """Return what the flows return, in order, in as many round trips as the longest of them needs.

    In each round all commands that the flows want to send go out in one step, then all texts that they want embedded in
    one call, each text once, then all pairs that they want judged, each pair once. What fails is thrown into every flow
    that waited for it; what a flow does not catch comes out of here.

    Args:
        flows: fresh generators.
        max_commands: commands in one step, so that a server is never asked for more at once.
    """
    results: dict[int, Any] = {}
    waiting: dict[int, Step] = {}
    for at, flow in enumerate(flows):
        _advance(at, flow, None, waiting, results)
    while waiting:
        round_, waiting = waiting, {}
        sends = [(at, step) for at, step in round_.items() if isinstance(step, Send)]
        while sends:
            some = _take(sends, max_commands)
            for at, answer in (yield from _send(some)).items():
                _advance(at, flows[at], answer, waiting, results)
        embeds = [(at, step) for at, step in round_.items() if isinstance(step, Embed)]
        if embeds:
            for at, answer in (yield from _embed(embeds)).items():
                _advance(at, flows[at], answer, waiting, results)
        compares = [(at, step) for at, step in round_.items() if isinstance(step, Compare)]
        if compares:
            for at, answer in (yield from _compare(compares)).items():
                _advance(at, flows[at], answer, waiting, results)
    return [results[at] for at in range(len(flows))]


def _advance(at: int, flow: Flow[Any], answer: Any, waiting: dict[int, Step], results: dict[int, Any]) -> None:
    """Give a flow its answer, or throw it, and note what it wants next or has returned."""
    try:
        thrown = isinstance(answer, UnavailableError | ContractError)
        waiting[at] = flow.throw(answer) if thrown else flow.send(answer)
    except StopIteration as stop:
        results[at] = stop.value


def _take(sends: list[tuple[int, Send]], most: int) -> list[tuple[int, Send]]:
    """Take steps off the front, at least one, up to ``most`` commands in all."""
    taken = [sends.pop(0)]
    count = len(taken[0][1].commands)
    while sends and count + len(sends[0][1].commands) <= most:
        taken.append(sends.pop(0))
        count += len(taken[-1][1].commands)
    return taken


def _send(steps: list[tuple[int, Send]]) -> Flow[dict[int, Any]]:
    commands = tuple(command for _, step in steps for command in step.commands)
    try:
        replies = yield Send(commands, steps[-1][1].stage)
    except (UnavailableError, ContractError) as error:
        return {at: error for at, _ in steps}
    answers: dict[int, Any] = {}
    done = 0
    for at, step in steps:
        answers[at] = replies[done : done + len(step.commands)]
        done += len(step.commands)
    return answers


def _embed(steps: list[tuple[int, Embed]]) -> Flow[dict[int, Any]]:
    texts = tuple(dict.fromkeys(text for _, step in steps for text in step.texts))
    try:
        made: Embeddings = yield Embed(texts)
    except (UnavailableError, ContractError) as error:
        return {at: error for at, _ in steps}
    row_of = {text: row for row, text in enumerate(texts)}
    return {at: Embeddings(made.vectors[[row_of[text] for text in step.texts]]) for at, step in steps}


def _compare(steps: list[tuple[int, Compare]]) -> Flow[dict[int, Any]]:
    pairs = tuple(dict.fromkeys(pair for _, step in steps for pair in step.pairs))
    try:
        said = yield Compare(pairs, min(step.seconds for _, step in steps))
    except UnavailableError as error:
        return {at: error for at, _ in steps}
    said_of = dict(zip(pairs, said, strict=True))
    return {at: [said_of[pair] for pair in step.pairs] for at, step in steps}
