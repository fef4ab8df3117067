"""The twins: the blocking modules are made from the asyncio ones, and are up to date."""

from __future__ import annotations

import pytest

from tools.make_blocking import HEADER, MODULES, Twin, blocking, made, stale


def test_the_blocking_modules_are_what_their_sources_say() -> None:
    assert [twin.made for twin in stale()] == []


@pytest.mark.parametrize("twin", MODULES, ids=lambda twin: twin.made)
def test_a_blocking_module_says_from_what_it_was_made(twin: Twin) -> None:
    text = made(twin)
    assert text.startswith(HEADER.format(source=twin.source))
    assert "await" not in text.replace("awaits", "")
    assert "asyncio" not in "".join(line for line in text.splitlines() if "import" in line)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("async def f() -> None: ...", "def f() -> None: ..."),
        ("x = await (await ask()).read()", "x = (ask()).read()"),
        ("async with a as b:\n    pass", "with a as b:\n    pass"),
        ("f: Callable[[], Awaitable[R]] | None", "f: Callable[[], R] | None"),
        ("f: Awaitable[Callable[[int], list[Awaitable[R]]]]", "f: Callable[[int], list[R]]"),
        ("import redis.asyncio", "import redis"),
        ("client: redis.asyncio.Redis", "client: redis.Redis"),
        ("await asyncio.sleep(1)", "time.sleep(1)"),
        ("AsyncRunner(async_link, off.join_async)", "Runner(link, off.join)"),
        ("async def __aexit__(self): ...", "def __exit__(self): ..."),
        ("from nearhit.flow.async_runner import AsyncRunner", "from nearhit.flow.runner import Runner"),
    ],
)
def test_what_is_of_asyncio_goes(source: str, expected: str) -> None:
    assert blocking(source + "\n", {}) == expected + "\n"


def test_texts_stay_as_they_are_unless_they_are_listed() -> None:
    source = '"""Await ``AsyncRunner`` in a loop."""\nname = "async_runner"  # await it\n'
    assert blocking(source, {}) == source
    assert blocking(source, {"in a loop": "on a thread"}) == source.replace("in a loop", "on a thread")


def test_a_listed_text_that_no_source_has_is_refused() -> None:
    with pytest.raises(ValueError, match="in a loop"):
        blocking("x = 1\n", {"in a loop": "on a thread"})
