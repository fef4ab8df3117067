"""Exits: the exit codes of the command line."""

from __future__ import annotations

from typing import Final

OK: Final = 0
"""Done, a hit, all checks passed."""
MISS: Final = 1
"""A miss, a failed check, or something that was refused."""
USAGE: Final = 2
"""A mistake in the arguments or in the settings; the message names it."""
UNAVAILABLE: Final = 3
"""A server or the embedder does not answer."""
INTERRUPTED: Final = 130
"""Stopped with Ctrl-C."""
