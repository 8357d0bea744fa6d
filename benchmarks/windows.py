"""What fewer windows cost in Dice: python -m benchmarks windows MODEL DATA --splits FILE [--part label_order --last 20]

One model predicts the same scans with windows that share half, three eighths or a quarter of their edge, at one scale
and at three, with half at scale 1 and a quarter at the others, which is the default, and with a coarse look first.
Prints mean Dice, the paired difference from the first row, and seconds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.interleaved import tell
from maskmatch_med import service

WAYS: dict[str, dict[str, object]] = {
    "one scale, overlap 0.5": {"scales": (1.0,), "overlap": 0.5},
    "one scale, overlap 0.375": {"scales": (1.0,), "overlap": 0.375},
    "one scale, overlap 0.25": {"scales": (1.0,), "overlap": 0.25},
    "one scale, overlap 0.5, coarse look first": {"scales": (1.0,), "overlap": 0.5, "locate": True},
    "three scales, overlap 0.5 at scale 1, 0.25 at the others": {"scales": (0.85, 1.0, 1.2)},
    "three scales, overlap 0.5": {"scales": (0.85, 1.0, 1.2), "overlap": 0.5},
    "three scales, overlap 0.375": {"scales": (0.85, 1.0, 1.2), "overlap": 0.375},
    "three scales, overlap 0.25": {"scales": (0.85, 1.0, 1.2), "overlap": 0.25},
}


def main(words: Sequence[str]) -> None:
    """Predict in every way, score, print and write ``OUT/windows-NAME.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks windows", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path, help="data set with scans and labels")
    parser.add_argument("--splits", type=Path, required=True, help="JSON with named parts")
    parser.add_argument("--part", default="label_order", help="whose scans the model has not learnt from")
    parser.add_argument("--last", type=int, default=None, help="only the last so many of the part")
    parser.add_argument("--engine", default="eager", help="as of maskmatch predict")
    parser.add_argument("-o", "--out", type=Path, default=Path("bench-speed"))
    given = parser.parse_args(words)
    names = service.names_in_splits(given.splits, given.part, last=given.last)
    scores, seconds = {}, {}
    for way, asked in WAYS.items():
        request = service.PredictRequest(only=names, mirror=False, calibrated=False, engine=given.engine, **asked)  # type: ignore[arg-type]
        with tempfile.TemporaryDirectory() as scratch:
            began = time.perf_counter()
            service.predict(given.model, given.data, scratch, request)
            seconds[way] = time.perf_counter() - began
            scores[way] = service.evaluate(scratch, given.data).case_dice()
    tell(f"windows-{given.data.name}", [_row(way, scores, seconds) for way in WAYS], given.out)


def _row(way: str, scores: dict[str, dict[str, float]], seconds: dict[str, float]) -> dict[str, object]:
    first = next(iter(WAYS))
    gain = np.array([scores[way][name] - scores[first][name] for name in scores[first]])
    return {
        "what": way,
        "scans": len(gain),
        "dice": round(float(np.nanmean(list(scores[way].values()))), 4),
        "points_from_first": round(100 * float(np.nanmean(gain)), 2),
        "standard_error": round(100 * float(np.nanstd(gain, ddof=1) / np.sqrt(len(gain))), 2),
        "seconds": round(seconds[way], 1),
    }
