"""Packed commands: commands that most lookups send, encoded in advance except for the words that differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hiredis

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nearhit.flow.steps import Command, Word


class PackedCommand(tuple[Any, ...]):
    """The words of a command, as any other command is, which also know their bytes on the wire.

    Attributes:
        blob: the command in RESP.
    """

    blob: bytes


class CommandTemplate:
    """A command with gaps. Filling them takes 1 µs, where redis-py takes 9 µs for an HMGET and 19 µs for an FT.SEARCH.

    Args:
        words: the command; ``None`` is a gap.
    """

    def __init__(self, *words: Word | None) -> None:
        self._words = words
        self._gaps = [place for place, word in enumerate(words) if word is None]
        self._form = b"*%d\r\n" % len(words)
        for word in words:
            if word is None:
                self._form += b"$%d\r\n%b\r\n"
            else:
                text = word if isinstance(word, bytes) else str(word).encode()
                self._form += (b"$%d\r\n%b\r\n" % (len(text), text)).replace(b"%", b"%%")

    def fill(self, *values: bytes) -> PackedCommand:
        """Return the command with ``values`` in its gaps, in order."""
        words = list(self._words)
        rest: list[Any] = []
        for place, value in zip(self._gaps, values, strict=True):
            words[place] = value
            rest += (len(value), value)
        command = PackedCommand(words)
        command.blob = self._form % tuple(rest)
        return command


def pack(commands: Iterable[Command]) -> bytes:
    """Return commands as they go over the wire."""
    return b"".join([one.blob if isinstance(one, PackedCommand) else _packed(one) for one in commands])


def _packed(command: Command) -> bytes:
    """Pack one command; numbers as text, since hiredis 3.5 crashes where a signal handler raises as it reads one."""
    words: list[Any] = [str(word) if isinstance(word, int | float) else word for word in command]
    packed: bytes = hiredis.pack_command(tuple(words))
    return packed
