"""What the whole source keeps to, beyond what the linters check."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = [path for root in ("nearhit", "worker", "tasks") for path in sorted((ROOT / root).rglob("*.py"))]


def test_labels_of_series_are_bound_in_telemetry_alone() -> None:
    found = [str(path.relative_to(ROOT)) for path in SOURCES if ".labels(" in path.read_text(encoding="utf-8")]
    assert found == ["nearhit/telemetry/labelled.py"]
