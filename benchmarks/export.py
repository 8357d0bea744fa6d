"""Logits to labels on the scan's own grid, against nnU-Net's way of doing it, and against the whole map in float32.

nnU-Net's is its default export (``export_prediction_from_logits`` without the file): logits are resampled class by
class, then the largest wins. Its function is taken from PyPI's package in an environment of its own, see
``benchmarks/README.md``; without it the row of nnU-Net is left out. Both get the same logits on the same coarser grid.
Each process does a very small one first, so that libraries are loaded. Peak memory is that of the process, less what it
held before.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.interleaved import REPOSITORY, Timed, tell
from benchmarks.scored import peer_environment
from maskmatch_med.inference.in_turn import in_turn
from maskmatch_med.inference.predictor import _SLAB_NUMBERS
from maskmatch_med.inference.slab import largest
from maskmatch_med.inference.stream import GridRows, NearRows

SHAPE, COARSE = (192, 192, 128), (96, 96, 64)
_ROWS_A_LAYER = 24
_ASLEEP = {"OMP_WAIT_POLICY": "PASSIVE"}
"""As ``import maskmatch_med`` sets it for the program, where it comes before torch."""


def main(out: Path, rounds: int, peer: Path | None) -> None:
    """Print the table and write ``OUT/export.json``."""
    tell("export", [_row(classes, rounds, peer) for classes in (14, 50)], out)


def _row(classes: int, rounds: int, peer: Path | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        logits = Path(scratch) / "logits.npy"
        np.save(logits, _logits(classes))
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(_run(sys.executable, "benchmarks.export", logits, Path(scratch) / "ours.npy", **_ASLEEP))
            if peer is not None:
                theirs.append(_run(str(peer), "benchmarks.export_peer", logits, Path(scratch) / "peer.npy"))
        labels = np.load(Path(scratch) / "ours.npy")
        grid = "x".join(map(str, SHAPE))
        row: dict[str, Any] = {"what": f"{classes} classes, {grid}", "classes": classes}
        row["labels_as_whole_map"] = round(float(np.mean(labels == _whole(np.load(logits)))), 7)
        row["peak_mib"] = round(max(one["peak_mib"] for one in ours), 1)
        row["ours_s"] = round(float(np.median([one["seconds"] for one in ours])), 3)
        if theirs:
            timed = Timed(tuple(one["seconds"] for one in ours), tuple(one["seconds"] for one in theirs))
            row |= timed.record() | {"peer_peak_mib": round(max(one["peak_mib"] for one in theirs), 1)}
            row["labels_as_peer"] = round(float(np.mean(labels == np.load(Path(scratch) / "peer.npy"))), 4)
    return row


def _logits(classes: int) -> NDArray[np.float32]:
    """Smooth logits (K, *COARSE)."""
    coarse = torch.randn(1, classes, 12, 12, 8, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, size=COARSE, mode="trilinear")[0]
    return np.asarray(4 * smooth.numpy(), dtype=np.float32)


def _whole(logits: NDArray[np.float32]) -> NDArray[np.uint8]:
    maps = torch.from_numpy(logits).softmax(0)
    labels = torch.nn.functional.interpolate(maps[None], size=SHAPE, mode="trilinear")[0].argmax(0)
    return labels.to(torch.uint8).numpy()


def _run(python: str, module: str, logits: Path, labels: Path, **variables: str) -> dict[str, float]:
    words = [python, "-m", module, str(logits), str(labels), *map(str, SHAPE)]
    environment = peer_environment() | {"PYTHONPATH": str(REPOSITORY)} | variables
    done = subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def export(logits: Tensor, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Labels on the grid of ``shape``, as the predictor closes them."""
    classes, rows = logits.shape[0], logits.shape[1]

    def finished() -> Iterator[Tensor]:
        for start in range(0, rows, _ROWS_A_LAYER):
            yield logits[:, start : start + _ROWS_A_LAYER]

    labels = np.zeros(shape, dtype=np.uint8)
    grid = GridRows(finished(), classes, rows, shape)
    height = max(1, _SLAB_NUMBERS // (classes * math.prod(shape[1:])))
    slabs = [slice(start, min(start + height, shape[0])) for start in range(0, shape[0], height)]
    closed = in_turn(partial(_closed, grid.take(rows)) for rows in slabs)
    for rows, made in zip(slabs, closed, strict=True):
        labels[rows] = made
    return labels


def _closed(near: NearRows) -> NDArray[np.uint8]:
    return largest(near.slab().probabilities).numpy()


def measured(words: list[str], work: Any) -> None:
    """Load logits, time the work, and print seconds and peak memory."""
    logits, out, *shape = words
    array = np.load(logits)
    process = psutil.Process()
    before = process.memory_info().rss
    work(np.ascontiguousarray(array[:, :8, :8, :8]), (16, 16, 16))  # loads what a program has loaded by then
    began = time.perf_counter()
    labels = work(array, tuple(int(n) for n in shape))
    seconds = time.perf_counter() - began
    peak = _peak_bytes() - before
    np.save(out, labels)
    print(json.dumps({"seconds": seconds, "peak_mib": peak / 2**20}))


def _peak_bytes() -> int:
    """The most this process ever held. ``getrusage`` would tell the parent's as well, from before the program began."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    measured(sys.argv[1:], lambda array, shape: export(torch.from_numpy(array), shape))
