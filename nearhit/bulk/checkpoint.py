"""Checkpoint: the progress of a load, in a file that a crash never leaves half written."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nearhit.errors import ConfigError


@dataclass(slots=True)
class LoadProgress:
    """How far a load has come.

    Attributes:
        rows: rows of each file that are in the log or rejected; a resumed load passes over them.
        accepted: rows that the log took.
        rejected: rows that can never be filled.
    """

    rows: dict[str, int] = field(default_factory=dict)
    accepted: int = 0
    rejected: int = 0


class Checkpoint:
    """A file that remembers the progress of a load of certain files.

    Args:
        path: where it is; ``None`` remembers nothing, as for standard input.
        files: the files of the load; another set, or a file that has changed, does not fit an old checkpoint.
    """

    def __init__(self, path: Path | None, files: list[str]) -> None:
        self._path = path
        self._identity = {name: _identity(name) for name in files}

    def load(self) -> LoadProgress:
        """Return the progress that was saved for these very files, or none.

        Raises:
            ConfigError: the file is there and is no checkpoint.
        """
        if self._path is None or not self._path.exists():
            return LoadProgress()
        try:
            saved = json.loads(self._path.read_text())
            if saved["files"] != self._identity:
                return LoadProgress()
            return LoadProgress(**saved["progress"])
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{self._path} is not a checkpoint of a load; remove it or name another") from error

    def save(self, progress: LoadProgress) -> None:
        """Write the progress, whole or not at all, and have it on disk when this returns."""
        if self._path is None:
            return
        beside = self._path.with_name(self._path.name + ".new")
        with beside.open("w") as file:
            json.dump({"files": self._identity, "progress": asdict(progress)}, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)

    def remove(self) -> None:
        """Forget: the load is complete."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _identity(name: str) -> list[int]:
    try:
        state = Path(name).stat()
    except OSError:
        return []
    return [state.st_size, state.st_mtime_ns]
