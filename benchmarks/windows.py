"""What windows and scales bring in Dice: python -m benchmarks windows MODEL DATA --splits FILE [--last 20] [--scales …]

One model predicts the same scans with windows that share half, three eighths or a quarter of their edge, at one scale
and at three, with half at scale 1 and three sixteenths at the others, which is the default; with coarser scales alone,
or a finer one among them; and with a coarse look first; with ``--scales "1;0.8;0.8,0.9,1"`` of each of those scales
instead, at the default overlap. Prints mean Dice, the paired difference from the first row, and seconds.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.interleaved import tell
from benchmarks.unlearnt import parser_of
from maskmatch_med import service
from maskmatch_med.cli.listed import numbers

WAYS: dict[str, dict[str, object]] = {
    "one scale, overlap 0.5": {"scales": (1.0,), "overlap": 0.5},
    "one scale, overlap 0.375": {"scales": (1.0,), "overlap": 0.375},
    "one scale, overlap 0.25": {"scales": (1.0,), "overlap": 0.25},
    "one scale, overlap 0.5, coarse look first": {"scales": (1.0,), "overlap": 0.5, "locate": True},
    "scales 0.8, 0.9, 1, overlap 0.5 at scale 1, 3/16 at the others": {"scales": (0.8, 0.9, 1.0)},
    "scales 0.8, 0.9, 1, overlap 0.5": {"scales": (0.8, 0.9, 1.0), "overlap": 0.5},
    "scales 0.8, 0.9, 1, overlap 0.25": {"scales": (0.8, 0.9, 1.0), "overlap": 0.25},
    "scales 0.85, 1, overlap 0.5 at scale 1, 3/16 at the other": {"scales": (0.85, 1.0)},
    "scales 0.85, 1, 1.2, overlap 0.5 at scale 1, 3/16 at the others": {"scales": (0.85, 1.0, 1.2)},
    "scales 0.85, 1, 1.2, overlap 0.5": {"scales": (0.85, 1.0, 1.2), "overlap": 0.5},
}


def main(words: Sequence[str]) -> None:
    """Predict in every way, score, print and write ``OUT/windows-DATA.json``, or ``scales-DATA-MODEL.json``."""
    parser = parser_of("windows", __doc__, "label_order")
    parser.add_argument(
        "--scales", help='scales to compare instead, such as "1;0.8;0.8,0.9,1"; the first is the reference'
    )
    parser.add_argument("--mirror", action="store_true", help="average over mirror images at each scale")
    given = parser.parse_args(words)
    ways = WAYS if given.scales is None else _ways(given.scales)
    names = service.names_in_splits(given.splits, given.part, first=given.first, last=given.last)
    scores, seconds = {}, {}
    for way, asked in ways.items():
        request = service.PredictRequest(
            only=names, mirror=given.mirror, calibrated=False, engine=given.engine, **asked
        )  # type: ignore[arg-type]
        with tempfile.TemporaryDirectory() as scratch:
            began = time.perf_counter()
            service.predict(given.model, given.data, scratch, request)
            seconds[way] = time.perf_counter() - began
            scores[way] = service.evaluate(scratch, given.data).case_dice()
    usual = given.scales is None and not given.mirror
    name = f"windows-{given.data.name}" if usual else f"scales-{given.data.name}-{given.model.name}"
    tell(name + "-mirrored" * given.mirror, [_row(way, scores, seconds) for way in ways], given.out)


def _ways(text: str) -> dict[str, dict[str, object]]:
    return {f"scales {way}": {"scales": numbers(way)} for way in text.split(";")}


def _row(way: str, scores: dict[str, dict[str, float]], seconds: dict[str, float]) -> dict[str, object]:
    first = next(iter(scores))
    gain = np.array([scores[way][name] - scores[first][name] for name in scores[first]])
    return {
        "what": way,
        "scans": len(gain),
        "dice": round(float(np.nanmean(list(scores[way].values()))), 4),
        "points_from_first": round(100 * float(np.nanmean(gain)), 2),
        "standard_error": round(100 * float(np.nanstd(gain, ddof=1) / np.sqrt(len(gain))), 2),
        "seconds": round(seconds[way], 1),
    }
