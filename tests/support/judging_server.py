"""Judging server: a chat server that also plays the judge of two answers."""

from __future__ import annotations

from tests.support.chat_server import ChatServer


class JudgingServer(ChatServer):
    """A chat server whose answer to a judge's prompt is ``verdict``; all other questions get ``text``."""

    def __init__(self) -> None:
        super().__init__()
        self.verdict = "SAME"

    def say(self) -> str:
        """Return the text of the answer to the newest question."""
        system = self.asked[-1][1]["messages"][0]["content"]
        return self.verdict if str(system).startswith("You compare two answers") else super().say()
