"""Prediction averaged over eight mirror images, against nnU-Net's predictor doing the same, in turns.

Both have the same network with drawn weights, the same preprocessed scan, windows that share half their edge, and all
eight mirror images; nnU-Net's is ``nnUNetPredictor`` of PyPI's package, in an environment of its own. Ours takes the
engine that ``auto`` stands for. nnU-Net averages logits over mirror images, we probabilities, so that a few labels of
drawn weights differ.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.interleaved import REPOSITORY, Timed, tell
from benchmarks.made import network_of, plan_of, scan_of
from maskmatch_med.data.preprocess import preprocess
from maskmatch_med.inference import PredictOptions, Predictor
from maskmatch_med.inference.openvino_engine import open_openvino

EDGE = 64


def main(out: Path, rounds: int, peer: Path | None) -> None:
    """Print the table and write ``OUT/mirrored.json``."""
    if peer is None:
        print("left out: give --nnunet-python an interpreter that has nnunetv2")
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    plan, volume = plan_of((32, 32, 32)), scan_of((EDGE, EDGE, EDGE))
    network = network_of(plan).to(device)
    engine = network if device.type == "cuda" else open_openvino(plan, "benchmark", lambda: network)
    ours = Predictor(engine, plan, PredictOptions(mirror=True))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        window = torch.zeros(1, 1, *plan.patch_vox, device=device)
        with torch.no_grad():
            torch.jit.trace(network, window).save(str(folder / "network.pt"))
        np.save(folder / "scan.npy", preprocess(volume, plan).image)
        files = [folder / name for name in ("network.pt", "scan.npy", "labels.npy")]
        words = [peer, "-m", "benchmarks.mirrored_peer", *files, device.type, plan.classes, *plan.patch_vox]
        command = [str(word) for word in words]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        seconds: dict[str, list[float]] = {"ours": [], "peer": []}
        with subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            for turn in range(rounds + 1):
                began = time.perf_counter()
                found = ours.predict(volume).labels
                taken = {"ours": time.perf_counter() - began, "peer": _asked(process)}
                if turn:  # the first loads what a program has loaded by then
                    for who, one in taken.items():
                        seconds[who].append(one)
            process.communicate("")
        labels = np.load(folder / "labels.npy")
    timed = Timed(tuple(seconds["ours"]), tuple(seconds["peer"]))
    row: dict[str, Any] = {"what": f"eight mirror images, {EDGE}x{EDGE}x{EDGE}", "peer": "nnU-Net's predictor"}
    agree = round(float(np.mean(found == labels)), 6)
    tell("mirrored", [row | timed.record() | {"labels_agree": agree, "device": device.type}], out)


def _asked(process: subprocess.Popen[str]) -> float:
    """The seconds of the peer's next prediction."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    for line in process.stdout:
        if line.startswith("{"):
            return float(json.loads(line)["seconds"])
    raise RuntimeError(f"nnU-Net's process ended with {process.wait()}")
