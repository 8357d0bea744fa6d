"""nnU-Net's default export of logits to labels; run by nnU-Net's interpreter, so nothing of ours is imported."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

FINE_MM, COARSE_MM = (1.0, 1.0, 1.0), (2.0, 2.0, 2.0)


def main(words: list[str]) -> None:
    """Read logits, resample them as nnU-Net's default plan says, take the largest, print seconds and peak memory."""
    logits = np.load(words[0])
    shape = tuple(int(n) for n in words[2:])
    before = _status_kib("VmRSS")
    _export(np.ascontiguousarray(logits[:, :8, :8, :8]), (16, 16, 16))  # loads what a program has loaded by then
    began = time.perf_counter()
    labels = _export(logits, shape)
    seconds = time.perf_counter() - began
    peak = _status_kib("VmHWM") - before
    np.save(words[1], labels)
    print(json.dumps({"seconds": seconds, "peak_mib": peak / 1024}))


def _export(logits: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    fine = resample_data_or_seg_to_shape(
        logits, shape, COARSE_MM, FINE_MM, is_seg=False, order=1, order_z=0, force_separate_z=None
    )
    return fine.argmax(0).astype(np.uint8)


def _status_kib(name: str) -> int:
    """What this process holds, VmRSS, or has held at most, VmHWM."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


if __name__ == "__main__":
    main(sys.argv[1:])
