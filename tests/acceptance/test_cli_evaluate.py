"""The commands that measure: what programs and people read of them."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

PAIRS = [
    {"prompt": "how do i reset my password", "candidate": "how can i reset my password", "same": True, "kind": "easy"},
    {"prompt": "enable the alarm", "candidate": "disable the alarm", "same": False, "kind": "negation"},
    {"prompt": "what does 5 GB cost", "candidate": "what does 50 GB cost", "same": False, "kind": "number"},
    {"prompt": "opening hours on sunday", "candidate": "sunday opening hours", "same": True, "kind": "order"},
]
STREAM = [
    {"prompt": "how do i reset my password", "cluster": "a"},
    {"prompt": "how do i reset my password", "cluster": "a"},
    {"prompt": "how can i reset my password", "cluster": "a"},
    {"prompt": "what does 5 GB cost", "cluster": "b"},
    {"prompt": "what does 50 GB cost", "cluster": "c"},
]


def nearhit(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nearhit", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return str(path)


def test_pairs_are_measured_with_and_without_the_guard(tmp_path: Path) -> None:
    done = nearhit("evaluate", written(tmp_path / "pairs.jsonl.gz", PAIRS), "--threshold", "0.8", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["format"], found["pairs"], found["threshold"]) == ("pairs", 4, 0.8)
    alone, guarded = found["in_force_without_guard"]["overall"], found["in_force"]["overall"]
    assert alone["recall"]["value"] == 1.0
    assert alone["false_hit_rate"]["value"] > 0
    assert (guarded["recall"]["value"], guarded["false_hit_rate"]["value"]) == (1.0, 0.0)
    assert set(found["in_force"]["by_kind"]) == {"easy", "negation", "number", "order"}
    assert {one["threshold"] for one in found["others"]} >= {0.85, 0.9, 0.95}


def test_a_stream_is_replayed_in_its_order(tmp_path: Path) -> None:
    done = nearhit("evaluate", written(tmp_path / "stream.jsonl.gz", STREAM), "--threshold", "0.8", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["format"], found["events"]) == ("stream", 5)
    guarded, alone = found["in_force"], found["in_force_without_guard"]
    assert (guarded["exact_hits"], guarded["semantic_hits"], guarded["false_hits"]) == (1, 1, 0)
    assert alone["semantic_hits"] >= guarded["semantic_hits"]


def test_a_bad_row_is_named_by_its_line_and_field(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(PAIRS[0]) + '\n{"prompt": "x", "candidate": "y", "same": "yes"}\n')
    done = nearhit("evaluate", str(path))
    assert done.returncode == 2
    assert "line 2" in done.stderr
    assert "'same'" in done.stderr


def test_a_threshold_is_found_and_a_page_written(tmp_path: Path) -> None:
    good = [
        {"prompt": f"how much is plan {n}", "candidate": f"what does plan {n} cost", "same": True} for n in range(80)
    ]
    page = tmp_path / "page.html"
    done = nearhit(
        *("calibrate", written(tmp_path / "pairs.jsonl.gz", good + PAIRS[1:2]), "--budget", "0.2"),
        *("--confidence", "0.8", "--report", str(page), "--json"),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["thresholds"]["all"]
    assert found["threshold"] <= 1.0
    assert found["false_hits"] == 0
    html = page.read_text()
    assert html.count("<svg") == 2
    assert "http" not in html
