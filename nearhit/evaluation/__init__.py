"""Evaluation: measures thresholds and guards on labelled pairs and on question streams."""

from __future__ import annotations

from nearhit.domain.intervals import Share, share, upper_bound
from nearhit.evaluation.calibrate import Calibration, calibrate
from nearhit.evaluation.metrics import PairsReport, Rates, evaluate_pairs, pair_similarities, refusals
from nearhit.evaluation.replay import Replay, ReplayReport
from nearhit.evaluation.rows import PairRow, StreamRow, format_of, read_pairs, read_stream

__all__ = [
    "Calibration",
    "PairRow",
    "PairsReport",
    "Rates",
    "Replay",
    "ReplayReport",
    "Share",
    "StreamRow",
    "calibrate",
    "evaluate_pairs",
    "format_of",
    "pair_similarities",
    "read_pairs",
    "read_stream",
    "refusals",
    "share",
    "upper_bound",
]
