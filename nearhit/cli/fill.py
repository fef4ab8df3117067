"""Fill: the command that puts answers onto the queue."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nearhit.cli import exits, options
from nearhit.cli.command import FLOAT, Arguments, argument, command, option
from nearhit.cli.screen import Screen
from nearhit.errors import ConfigError, ContractError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nearhit.bulk.rows import Row
    from nearhit.cache import SemanticCache

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

    outcomes: Counter[str] = field(default_factory=Counter)
    waiting: list[tuple[str, Any, Any]] = field(default_factory=list)

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
    shared, rows = options.scope_of(arguments), given_rows(arguments)
    from nearhit.cache import SemanticCache  # noqa: PLC0415 - mistakes in the arguments are said without loading it

    started = time.monotonic()
    with SemanticCache(settings) as cache:
        tally = fill_all(cache, rows, shared, arguments.ttl_seconds, screen)
        searchable = bool(arguments.wait and tally.waiting)
        if searchable:
            wait_until_searchable(cache, tally, arguments.timeout)
    seconds = time.monotonic() - started
    counts = ", ".join(f"{count} {name}" for name, count in sorted(tally.outcomes.items()))
    after = "; what was accepted is searchable" if searchable else ""
    screen.line(f"{counts}{after} ({seconds:.2f} s)" if counts else "nothing to fill")
    screen.document({"fills": tally.outcomes, "searchable": searchable, "seconds": round(seconds, 3)})
    if tally.code == exits.UNAVAILABLE:
        raise UnavailableError(f"the log's server {settings.log_server().label} does not take fills")
    return tally.code


def given_rows(arguments: Arguments) -> Iterator[Row]:
    """Return the row of the command line, or those of stdin."""
    from nearhit.bulk.rows import STDIN, Row, read_rows  # noqa: PLC0415 - help needs none of it

    if arguments.prompt is not None:
        if arguments.answer is None:
            raise ConfigError("fill takes PROMPT and ANSWER, or JSON lines from stdin; ANSWER is missing")
        return iter([Row("", 0, {"prompt": arguments.prompt, "answer": arguments.answer})])
    if sys.stdin.isatty():
        raise ConfigError("fill takes PROMPT and ANSWER, or JSON lines from stdin")
    return read_rows(STDIN, "jsonl")


def fill_all(
    cache: SemanticCache, rows: Iterator[Row], shared: dict[str, Any], ttl_seconds: float | None, screen: Screen
) -> Tally:
    """Fill every row and say which are bad; ends early where the server is away.

    Args:
        cache: takes the fills.
        rows: what to fill.
        shared: scope of all rows; it goes before what a row says itself.
        ttl_seconds: of rows that say nothing themselves.
        screen: is told what is wrong with a row.
    """
    from nearhit.domain.entry import Usage  # noqa: PLC0415 - help needs none of it
    from nearhit.write.fill_encoding import fill_of  # noqa: PLC0415 - the same

    tally, lifetimes = Tally(), cache.settings.lifetimes()
    for row in rows:
        scope = row.values.get("scope") or {}
        scope = {**scope, **shared} if isinstance(scope, dict) else scope
        values = {"ttl_seconds": ttl_seconds, **row.values, "scope": scope or None}
        try:
            # says what is wrong with a row, which the outcome of `fill` does not
            fill_of({**row.checked, **values}, lifetimes)
        except (ConfigError, ContractError) as error:
            screen.note(f"nearhit: {f'line {row.number}: ' if row.number else ''}{error}")
            tally.outcomes["bad"] += 1
            continue
        if values.get("usage") is not None:
            values["usage"] = Usage(**values["usage"])
        asked = values.pop("prompt"), values.pop("answer"), values.pop("scope")
        outcome = cache.fill(*asked, **values)
        tally.outcomes[outcome.value] += 1
        if outcome == "accepted":
            tally.waiting.append(asked)
        if outcome in {"spooled", "dropped"}:
            break  # the server is away: what follows would only pile up in this process
    return tally


def wait_until_searchable(cache: SemanticCache, tally: Tally, timeout_seconds: float) -> None:
    """Return once every accepted row is an exact hit."""
    from nearhit.cli.ready_cache import wait_until_ready  # noqa: PLC0415 - help needs none of it
    from nearhit.domain.outcome import Hit, Tier  # noqa: PLC0415 - the same

    end = time.monotonic() + timeout_seconds
    wait_until_ready(cache, cache.settings)
    for done, (prompt, answer, scope) in enumerate(tally.waiting):
        while True:
            outcome = cache.lookup(prompt, scope)
            if isinstance(outcome, Hit) and outcome.tier is Tier.EXACT and outcome.answer == answer:
                break
            if time.monotonic() > end:
                left = len(tally.waiting) - done
                raise UnavailableError(
                    f"{left} of {len(tally.waiting)} fills not searchable after {timeout_seconds:g} s; they are "
                    f"safe in the log: is a worker running for namespace {cache.settings.namespace!r}? (nearhit doctor)"
                )
            time.sleep(0.01)
