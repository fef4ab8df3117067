"""Command line: what people type at ``nearhit``, and what they get to see."""

from __future__ import annotations

from worker.cli.program import main

__all__ = ["main"]
