"""Judge server: a scripted provider whose chats are asked whether two questions ask the same."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from tests.support.chat_server import ChatServer

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = "openai/gpt-4o-mini"
SAME = '{"verdict": "same", "p_same": 0.97}'
DIFFERENT = '{"verdict": "different", "p_same": 0.02}'


class JudgeServer(ChatServer):
    """The server. ``say_of`` gives the reply to a pair; ``pairs`` is what it was asked.

    While ``hanging`` is set it answers nothing, until ``released``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.say_of: Callable[[str, str], str] = lambda asked, cached: DIFFERENT if "not" in cached else SAME
        self.pairs: list[tuple[str, str]] = []
        self.hanging = False
        self.released = threading.Event()

    def reply(self, path: str, asked: dict[str, Any]) -> tuple[int, dict[str, Any] | list[dict[str, Any]]]:
        """Return status and body of the reply to a pair."""
        row = json.loads(asked["messages"][-1]["content"])
        self.pairs.append((row["asked"], row["cached"]))
        if self.hanging:
            self.released.wait(20)
        self.text = self.say_of(row["asked"], row["cached"])
        return super().reply(path, asked)

    def release(self) -> None:
        """Let every call that hangs go on, and hang no more."""
        self.hanging = False
        self.released.set()
