"""Peak memory of a prediction beyond the scan itself, when the scan gets four times as long.

Each prediction is a process of its own. From the most it ever held are taken: what it held with the network and the
scan loaded, one float32 copy of the scan, and its uint8 labels. The plain way is measured beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.export import _peak_bytes
from benchmarks.interleaved import REPOSITORY, tell
from benchmarks.made import network_of, plan_of, scan_of
from maskmatch_med.inference import PredictOptions, Predictor
from maskmatch_med.inference.plain import predict_plainly

PLANE, SHORT, LONG = (64, 64), 120, 480


def main(out: Path) -> None:
    """Print the table and write ``OUT/memory.json``."""
    rows = []
    for way in ("streaming", "plain"):
        short, long = _beyond(way, SHORT), _beyond(way, LONG)
        rows.append(
            {
                "way": way,
                "short_mib": round(short, 1),
                "long_mib": round(long, 1),
                "growth": round(long / short, 3),
                "scales": 3,
                "rows": f"{SHORT} and {LONG}",
            }
        )
    tell("memory", rows, out)


def _beyond(way: str, length: int) -> float:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    words = [sys.executable, "-m", "benchmarks.memory", way, str(length)]
    done = subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.strip().splitlines()[-1])["mib"])


def measure(way: str, length: int) -> dict[str, Any]:
    """In this process, which must have done nothing else."""
    plan = plan_of((32, 32, 32), classes=8)
    predictor = Predictor(network_of(plan), plan, PredictOptions(scales=(0.7, 1.0, 1.5), overlap=0.25))
    predictor.predict(scan_of((32, 40, 32)))
    volume = scan_of((*PLANE, length))
    before = psutil.Process().memory_info().rss
    if way == "plain":
        predict_plainly(predictor, volume)
    else:
        predictor.predict(volume)
    own = volume.array.nbytes + volume.array[0].size
    return {"mib": (_peak_bytes() - before - own) / 2**20}


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
