"""Previews: draws each dashboard with Grafana's own components over a running stack; ``make previews``.

Reducers, thresholds, overrides, graphs and tables are Grafana's; frames and headings, and the heatmap, which is no part
of its packages, are drawn after it. This needs Node.js with npm, Chromium, Prometheus and redis_exporter
(``make apt-tools``), and for the boards but that of replicas the path of the search module in
``NEARHIT_TEST_SEARCH_MODULE``.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from tests.support import observability as seen
from tests.support import renderer
from tests.support.chat_server import ChatServer
from tests.support.monitored_stack import stage

SECONDS = 240
STEP_SECONDS = 4
WIDTH_PIXELS = 1200
FOLDER = seen.ROOT / "docs" / "img"
SETTINGS = {
    "NEARHIT_THRESHOLD": "0.85",
    "NEARHIT_MODEL": "local/minilm",
    "NEARHIT_DEADLINE_MS": "1000",
    "NEARHIT_ENQUEUE_DEADLINE_MS": "1000",
    "NEARHIT_TTL_SECONDS": "120",
}
OF_THE_MODULE = {"nearhit-overview", "nearhit-write-behind", "nearhit-index-health"}
OF_REPLICAS = {"nearhit-replicas"}


def main() -> int:
    """Write a picture for each dashboard: those about the index in the server, then that about replicas."""
    renderer.install()
    module = os.environ.get("NEARHIT_TEST_SEARCH_MODULE", "")
    if module:
        preview(OF_THE_MODULE, module)
    preview(OF_REPLICAS, "")
    return 0


def preview(uids: set[str], module: str) -> None:
    """Run a stack for a while and write pictures of some dashboards.

    Args:
        uids: which.
        module: path of the search module; empty for the local engine.
    """
    with (
        ChatServer() as model,
        tempfile.TemporaryDirectory() as folder,
        stage(Path(folder), module, SETTINGS | verified_by(model), per_second=25) as one,
    ):
        time.sleep(SECONDS)
        to = int(time.time())
        span = {"from": to - SECONDS, "to": to, "step": STEP_SECONDS}
        boards = [board for board in seen.boards() if board["uid"] in uids]
        found = [renderer.answers(board, one.prometheus, span) for board in boards]
    for board, answers in zip(boards, found, strict=True):
        path = FOLDER / f"{board['uid']}.png"
        renderer.draw(board, answers, span, path, WIDTH_PIXELS)
        print(f"{path}: {path.stat().st_size // 1024} KB")


def verified_by(model: ChatServer) -> dict[str, str]:
    """Return settings with which some hits are verified, so that the panels about that have something to show."""
    return {
        "NEARHIT_VERIFY_SHARE": "0.05",
        "NEARHIT_VERIFY_MODEL": "openai/stub",
        "NEARHIT_VERIFY_JUDGE": "embedding",
        "NEARHIT_VERIFY_SIMILARITY": "-1",
        "OPENAI_API_BASE": model.url,
        "OPENAI_API_KEY": "sk-preview",
    }


if __name__ == "__main__":
    sys.exit(main())
