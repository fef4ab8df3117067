"""Makes the blocking twin of asyncio modules, so that both come from one source.

``python -m tools.make_blocking`` writes the blocking modules; with ``--check`` it only says which are out of date.

``async``, ``await`` and ``Awaitable[…]`` go, ``asyncio.sleep`` becomes ``time.sleep``, and names lose their ``Async``,
``async_`` or ``_async``. Docstrings and comments stay as they are, except for the texts listed in ``MODULES``.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[1]

HEADER = "# Made by tools/make_blocking.py from {source}: change that file, then run `make twins`.\n"


@dataclass(frozen=True, slots=True)
class Twin:
    """A module that is made.

    Attributes:
        source: the asyncio module.
        made: the blocking module.
        texts: what docstrings and comments say instead; each must occur in the source.
    """

    source: str
    made: str
    texts: Mapping[str, str]


MODULES = (
    Twin(
        "nearhit/flow/async_runner.py",
        "nearhit/flow/runner.py",
        {
            "Async runner: runs flows in an event loop within a deadline.": (
                "Runner: runs flows on the calling thread within a deadline."
            ),
            "Runs flows in an event loop.": "Runs flows on the calling thread.",
        },
    ),
    Twin(
        "nearhit/async_cache.py",
        "nearhit/cache.py",
        {
            "Async cache: ``AsyncSemanticCache``, for asyncio.": "Cache: ``SemanticCache``, for blocking callers.",
            "Semantic cache for asyncio: returns": "Semantic cache: returns",
            "the same meaning. Fork-safe.": "the same meaning. Thread-safe, fork-safe.",
            "It never blocks the event loop. Nothing": "Nothing",
        },
    ),
)

_RENAMED = (
    (re.compile(r"Async(\w+)"), r"\1"),
    (re.compile(r"async_(\w+)"), r"\1"),
    (re.compile(r"(\w+)_async"), r"\1"),
    (re.compile(r"__a(enter|exit)__"), r"__\1__"),
)
_TIDY = ("check", "--quiet", "--select", "I,F401", "--fix-only")


def blocking(source: str, texts: Mapping[str, str]) -> str:
    r"""Return the blocking twin of an asyncio module's source, not yet formatted.

    Raises:
        ValueError: a text to replace does not occur.

    >>> blocking("async def ask_async(link: AsyncLink) -> None:\n    await link.send()\n", {})
    'def ask(link: Link) -> None:\n    link.send()\n'
    """
    for old, new in texts.items():
        if old not in source:
            raise ValueError(f"the source does not say {old!r}")
        source = source.replace(old, new)
    lines = source.splitlines(keepends=True)
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    for (row, start), end, word in reversed(list(_edits(tokens))):
        line = lines[row - 1]
        after = line[end:] if word else line[end:].lstrip(" ")
        lines[row - 1] = line[:start] + word + after
    return "".join(lines)


def _edits(tokens: list[tokenize.TokenInfo]) -> Iterator[tuple[tuple[int, int], int, str]]:
    """Yield where a token stands, where it ends in its line, and what stands there instead."""
    closing: list[int] = []  # for each open bracket whether it belongs to an Awaitable
    for at, token in enumerate(tokens):
        before = tokens[at - 1].string if at else ""
        after = tokens[at + 1].string if at + 1 < len(tokens) else ""
        word = token.string
        if word == "[":
            closing.append(before == "Awaitable")
        awaitable = (word == "[" and closing[-1]) or (word == "]" and closing.pop())
        if word in {"async", "await"} or awaitable or (word == "Awaitable" and after == "["):
            yield token.start, token.end[1], ""
        elif token.type == tokenize.NAME and (new := _renamed(word)) != word:
            yield token.start, token.end[1], new
        elif word == "asyncio" and before == ".":
            yield (token.start[0], token.start[1] - 1), token.end[1], ""
        elif word == "asyncio" and after == ".":
            yield token.start, token.end[1], "time"


def _renamed(word: str) -> str:
    for pattern, new in _RENAMED:
        if pattern.fullmatch(word):
            return pattern.sub(new, word)
    return word


def made(twin: Twin) -> str:
    """Return what the blocking module must be."""
    text = HEADER.format(source=twin.source) + blocking((ROOT / twin.source).read_text(), twin.texts)
    for words in (_TIDY, ("format", "--quiet")):
        command = [sys.executable, "-m", "ruff", *words, "--stdin-filename", twin.made, "-"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True, cwd=ROOT)  # noqa: S603 - ruff
        text = done.stdout
    return text


def stale() -> list[Twin]:
    """Return the modules that are not what their source says."""
    return [twin for twin in MODULES if not (path := ROOT / twin.made).exists() or path.read_text() != made(twin)]


def main(words: list[str]) -> int:
    """Write the modules, or check them; return the exit status."""
    outdated = stale()
    for twin in outdated:
        if "--check" in words:
            sys.stderr.write(f"{twin.made} is not what {twin.source} says: run `make twins`\n")
        else:
            (ROOT / twin.made).write_text(made(twin))
    return int(bool(outdated) and "--check" in words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
