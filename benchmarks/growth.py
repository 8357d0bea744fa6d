"""How the cost of a prediction grows with the scan and with the number of scans; 1 is linear."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.interleaved import growth_exponent, tell
from benchmarks.made import model_of, network_of, plan_of, scan_of
from maskmatch_med import service
from maskmatch_med.inference import PredictOptions, Predictor
from maskmatch_med.io.nifti import write_scan

LENGTHS, COUNTS = (96, 192, 384), (2, 4, 8)


def main(out: Path, rounds: int) -> None:
    """Print the table and write ``OUT/growth.json``."""
    rows = [_with_size(rounds), _with_count(rounds)]
    tell("growth", rows, out)


def _with_size(rounds: int) -> dict[str, object]:
    plan = plan_of((32, 32, 32))
    predictor = Predictor(network_of(plan), plan, PredictOptions(overlap=0.25))
    volumes = [scan_of((64, 64, length)) for length in LENGTHS]
    seconds = [float("inf")] * len(volumes)
    for _ in range(rounds):
        for index, volume in enumerate(volumes):
            began = time.perf_counter()
            predictor.predict(volume)
            seconds[index] = min(seconds[index], time.perf_counter() - began)
    return _row("rows of a scan", LENGTHS, seconds)


def _with_count(rounds: int) -> dict[str, object]:
    plan = plan_of((32, 32, 32))
    seconds = [float("inf")] * len(COUNTS)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        model = model_of(plan, root / "model")
        volume = scan_of((64, 64, 48))
        (root / "scans").mkdir()
        names = [f"scan{index:02d}" for index in range(max(COUNTS))]
        for name in names:
            write_scan(root / "scans" / f"{name}.nii.gz", volume.array[0], volume.geometry)
        for _ in range(rounds):
            for index, count in enumerate(COUNTS):
                request = service.PredictRequest(only=names[:count], engine="eager")
                began = time.perf_counter()
                service.predict(model, root / "scans", root / f"out{count}", request)
                seconds[index] = min(seconds[index], time.perf_counter() - began)
    return _row("number of scans", COUNTS, seconds)


def _row(what: str, sizes: tuple[int, ...], seconds: list[float]) -> dict[str, object]:
    return {
        "cost grows with": what,
        "sizes": " ".join(map(str, sizes)),
        "seconds": " ".join(f"{one:.2f}" for one in seconds),
        "exponent": round(growth_exponent(sizes, seconds), 3),
    }
