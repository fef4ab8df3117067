"""Fill: the command that puts answers onto the queue."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nearhit.cli import exits, options
from nearhit.cli.command import FLOAT, Arguments, argument, command, option
from nearhit.cli.screen import Screen
from nearhit.errors import ConfigError, ContractError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nearhit.cache import SemanticCache
    from nearhit.settings import Settings

EXAMPLES = """
nearhit fill "How much is the Solo plan?" "Solo is $4 a month." --wait
nearhit fill "How much is the Solo plan?" "Solo is $4 a month." --tenant acme --ttl-seconds 3600
nearhit fill --wait < answers.jsonl
"""
_ENQUEUE_MS = 2_000
"""A person can wait for a slow first connect; a web request, for which the setting's default is, cannot."""


@dataclass(slots=True)
class Tally:
    """What became of the rows.

    Attributes:
        outcomes: rows by outcome of ``fill``; ``bad`` for rows that could not be read.
        waiting: prompt, scope and answer of the accepted ones.
    """

    outcomes: dict[str, int] = field(default_factory=dict)
    waiting: list[tuple[str, Any, Any]] = field(default_factory=list)

    def add(self, outcome: str) -> None:
        """Count a row."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    @property
    def code(self) -> int:
        """The exit code that they amount to."""
        if self.outcomes.keys() & {"spooled", "dropped"}:
            return exits.UNAVAILABLE
        return exits.MISS if self.outcomes.keys() - {"accepted"} else exits.OK


@command(EXAMPLES)
@argument("prompt", metavar="[PROMPT]", required=False, help="the question")
@argument("answer", metavar="[ANSWER]", required=False, help="its answer")
@option("--ttl-seconds", type=FLOAT, metavar="S", help="how long the entry lives")
@option("--wait", is_flag=True, help="return once all of it is searchable")
@option("--timeout", type=FLOAT, default=30.0, metavar="S", help="longest wait with --wait; 30")
@options.scope
@options.json_output
@options.settings(*options.ALL)
def run(arguments: Arguments, screen: Screen) -> int:
    """Put answers onto the queue; a worker makes them searchable.

    Without PROMPT and ANSWER it reads JSON lines from stdin: {"prompt": …, "answer": …}, where wanted with "scope",
    "ttl_seconds", "fresh_seconds", "usage" and "lane". Exit code 1 when a row is bad, 3 when a server does not answer
    or a row is not searchable in time.
    """
    settings = options.settings_of(arguments, enqueue_deadline_ms=_ENQUEUE_MS)
    rows = _rows(arguments, options.scope_of(arguments))
    from nearhit.cache import SemanticCache  # noqa: PLC0415 - mistakes in the arguments are said without loading it

    started = time.monotonic()
    with SemanticCache(settings) as cache:
        tally = _fill(cache, settings, rows, screen)
        if arguments.wait and tally.waiting:
            _wait(cache, settings, tally, arguments.timeout)
    seconds = time.monotonic() - started
    searchable = bool(arguments.wait and tally.waiting)
    screen.line(_summary(tally, seconds, searchable=searchable))
    screen.document({"fills": tally.outcomes, "searchable": searchable, "seconds": round(seconds, 3)})
    if tally.code == exits.UNAVAILABLE:
        raise UnavailableError(f"the log's server {settings.log_server().label} does not take fills")
    return tally.code


def _rows(arguments: Arguments, scope: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Return numbered rows; one that cannot be read is the text that says why."""
    shared: dict[str, Any] = {"scope": scope} if scope else {}
    if arguments.ttl_seconds is not None:
        shared["ttl_seconds"] = arguments.ttl_seconds
    if arguments.prompt is not None:
        if arguments.answer is None:
            raise ConfigError("fill takes PROMPT and ANSWER, or JSON lines from stdin; ANSWER is missing")
        return iter([(0, {**shared, "prompt": arguments.prompt, "answer": arguments.answer})])
    if sys.stdin.isatty():
        raise ConfigError("fill takes PROMPT and ANSWER, or JSON lines from stdin")
    return _lines(sys.stdin, shared)


def _lines(lines: Iterable[str], shared: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any] | str]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            yield number, f"not JSON: {error}"
            continue
        if not isinstance(row, dict):
            yield number, f"a row is an object, not {type(row).__name__}"
            continue
        scope = {**(row.get("scope") or {}), **shared.get("scope", {})}
        yield number, {**shared, **row, **({"scope": scope} if scope else {})}


def _fill(
    cache: SemanticCache, settings: Settings, rows: Iterator[tuple[int, dict[str, Any] | str]], screen: Screen
) -> Tally:
    from nearhit.write.fill_encoding import fill_of  # noqa: PLC0415 - help needs none of it

    tally, lifetimes = Tally(), settings.lifetimes()
    for number, row in rows:
        try:
            if isinstance(row, str):
                raise ContractError(row)  # noqa: TRY301 - one place says what is wrong with a row
            fill_of(row, lifetimes)  # says what is wrong with a row, which the outcome of `fill` does not
        except (ConfigError, ContractError) as error:
            screen.note(f"nearhit: {f'line {number}: ' if number else ''}{error}")
            tally.add("bad")
            continue
        outcome = _send(cache, row)
        tally.add(outcome)
        if outcome == "accepted":
            tally.waiting.append((row["prompt"], row.get("scope"), row["answer"]))
        if outcome in {"spooled", "dropped"}:
            break  # the server is away: what follows would only pile up in this process
    return tally


def _send(cache: SemanticCache, row: dict[str, Any]) -> str:
    from nearhit.domain.entry import Usage  # noqa: PLC0415 - help needs none of it

    rest: Any = {name: value for name, value in row.items() if name not in {"prompt", "answer", "scope"}}
    if rest.get("usage") is not None:
        rest["usage"] = Usage(**rest["usage"])
    return cache.fill(row["prompt"], row["answer"], row.get("scope"), **rest).value


def _wait(cache: SemanticCache, settings: Settings, tally: Tally, timeout_seconds: float) -> None:
    from nearhit.cli.ready_cache import wait_until_ready  # noqa: PLC0415 - the same
    from nearhit.domain.outcome import Hit, Tier  # noqa: PLC0415 - help needs none of it

    end = time.monotonic() + timeout_seconds
    wait_until_ready(cache, settings)
    for done, (prompt, scope, answer) in enumerate(tally.waiting):
        while True:
            outcome = cache.lookup(prompt, scope)
            if isinstance(outcome, Hit) and outcome.tier is Tier.EXACT and outcome.answer == answer:
                break
            if time.monotonic() > end:
                left = len(tally.waiting) - done
                raise UnavailableError(
                    f"{left} of {len(tally.waiting)} fills not searchable after {timeout_seconds:g} s; they are "
                    f"safe in the log: is a worker running for namespace {settings.namespace!r}? (nearhit doctor)"
                )
            time.sleep(0.01)


def _summary(tally: Tally, seconds: float, *, searchable: bool) -> str:
    if not tally.outcomes:
        return "nothing to fill"
    counts = ", ".join(f"{count} {name}" for name, count in sorted(tally.outcomes.items()))
    after = "; what was accepted is searchable" if searchable else ""
    return f"{counts}{after} ({seconds:.2f} s)"
