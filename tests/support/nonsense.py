"""Nonsense: inputs of every shape, made cheaply, by a generator of random numbers with a seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from random import Random


class Raising(Mapping[str, Any]):
    """A mapping that fails wherever it is touched."""

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no keys")

    def __len__(self) -> int:
        return 2


class Odd(Sequence[Any]):
    """A list whose length and items do not agree."""

    def __getitem__(self, at: Any) -> Any:
        if at > 3:
            raise OSError("no such item")
        return {"role": "user"}

    def __len__(self) -> int:
        return 3


class Dumping:
    """A model whose dump fails, or gives nonsense."""

    def __init__(self, dumped: Any) -> None:
        self._dumped = dumped

    def model_dump(self) -> Any:
        if self._dumped is None:
            raise AttributeError("nothing to dump")
        return self._dumped


class Unequal:
    """A value that cannot be compared, hashed or printed."""

    __hash__ = None  # type: ignore[assignment]  # on purpose

    def __eq__(self, other: object) -> bool:
        raise TypeError("not comparable")

    def __repr__(self) -> str:
        raise ValueError("not printable")

    def __bool__(self) -> bool:
        raise ValueError("neither true nor false")


_ATOMS: tuple[Any, ...] = (
    *(None, True, False, 0, 5, -1, 2**70, 10**5000, 0.5, float("nan"), float("inf"), 1j, "", " ", "hi", "\0", "\ud800"),
    *(
        "user",
        "assistant",
        "tool",
        "text",
        "image_url",
        "function_call",
        "message",
        "item_reference",
        "NaN",
        '{"a": 1}',
    ),
    *("[" * 300, "x" * 300, b"", b"hi", b"\xff", bytearray(b"x"), memoryview(b"abcdef")[::2], object(), range(10**12)),
    *(int, Unequal(), Raising(), Odd(), Dumping(None), Dumping({"role": "user", "content": "hi"}), Dumping(5), ...),
)
_KEYS: tuple[Any, ...] = (
    *(
        "role",
        "content",
        "type",
        "text",
        "tool_calls",
        "function",
        "function_call",
        "arguments",
        "name",
        "id",
        "call_id",
    ),
    *(
        "tool_call_id",
        "tenant",
        "model",
        "system",
        "tools",
        "parameters",
        "split_by",
        "digest",
        "status",
        "\0",
        5,
        None,
    ),
)


def nonsense(random: Random, depth: int = 4) -> Any:
    """Return a value of any shape."""
    kind = random.random()
    if depth == 0 or kind < 0.4:
        return random.choice(_ATOMS)
    size = random.randrange(4)
    if kind < 0.7:
        return {random.choice(_KEYS): nonsense(random, depth - 1) for _ in range(size)}
    items = [nonsense(random, depth - 1) for _ in range(size)]
    return items if kind < 0.9 else tuple(items) if kind < 0.95 else (one for one in items)


def prompt(random: Random) -> Any:
    """Return nonsense, every other time with the look of a chat."""
    if random.random() < 0.5:
        return nonsense(random)
    asked = {"role": "user", "content": nonsense(random, 2) if random.random() < 0.5 else "hi"}
    return [nonsense(random, 3), asked] if random.random() < 0.5 else [asked]


def scope(random: Random) -> Any:
    """Return nonsense, every other time with the look of a scope."""
    if random.random() < 0.5:
        return nonsense(random, 2)
    return {random.choice(_KEYS): nonsense(random, 1) for _ in range(random.randrange(3))}
