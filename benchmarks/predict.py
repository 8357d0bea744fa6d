"""Prediction against MONAI's ``sliding_window_inference`` in eager PyTorch, in turns on the same scan and weights.

Rows: one forward of the network; a whole scan in the same windows; three scales at the default overlaps and at 0.5
against one scale of MONAI's at 0.5, those that predictions average over and three of which one is finer than the
plan's; and three scales on a smaller scan against our plain way in eager PyTorch, which tells whether labels agree.
Windows lie and weigh alike: the scan is a window and a whole number of half windows long, and MONAI is given our
weights. ``peak`` is the forward's share of what PyTorch's product of two 2048 x 2048 float32 matrices reaches here,
operations as ``torch.utils.flop_counter`` counts them.
"""

from __future__ import annotations

import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.interleaved import Timed, interleave, tell
from benchmarks.made import network_of, plan_of, scan_of
from benchmarks.monai_predictor import MonaiPredictor
from maskmatch_med.inference import Engine, PredictOptions, Predictor
from maskmatch_med.inference.openvino_engine import open_openvino
from maskmatch_med.inference.plain import predict_plainly
from maskmatch_med.planning.plan import Plan
from maskmatch_med.training.presets import PRESETS

Labels = NDArray[np.uint8]
DEFAULT, FINER = PRESETS["balanced"].scales, (0.85, 1.0, 1.2)


def main(out: Path, rounds: int) -> None:
    """Print the table and write ``OUT/predict.json``."""
    plan, shape = plan_of((32, 32, 32)), (128, 128, 128)
    network, volume, small = network_of(plan), scan_of(shape), scan_of((64, 64, 64))
    engine = open_openvino(plan, "benchmark", lambda: network)
    rows = [_forward(plan, network, engine, rounds)]
    monai = partial(MonaiPredictor(network, plan).predict, volume)
    one = Predictor(engine, plan)
    timed = interleave(lambda: one.predict(volume), monai, rounds)
    rows.append(_row("one scale, overlap 0.5", timed, one.predict(volume).labels, monai()))
    for scales, overlap in ((DEFAULT, None), (DEFAULT, 0.5), (FINER, None), (FINER, 0.5)):
        options = PredictOptions(scales=scales, overlap=overlap)
        three, plain = Predictor(engine, plan, options), Predictor(network, plan, options)
        named = f"scales {', '.join(f'{scale:g}' for scale in scales)}" + (f", overlap {overlap}" if overlap else "")
        three.predict(small)
        timed = interleave(partial(three.predict, volume), monai, max(1, rounds // 2), warm=True)
        labels, reference = three.predict(small).labels, predict_plainly(plain, small).labels
        rows.append(_row(named, timed, labels, reference))
    options = PredictOptions(scales=FINER, overlap=0.5)
    three, plain = Predictor(engine, plan, options), Predictor(network, plan, options)
    timed = interleave(lambda: three.predict(small), lambda: predict_plainly(plain, small), rounds)
    labels, reference = three.predict(small).labels, predict_plainly(plain, small).labels
    rows.append(
        _row("scales 0.85, 1, 1.2, overlap 0.5, against the plain way at these scales", timed, labels, reference)
    )
    tell("predict", rows, out)


def _row(what: str, timed: Timed, labels: Labels, reference: Labels) -> dict[str, Any]:
    return {"what": what, **timed.record(), "labels_agree": round(float(np.mean(labels == reference)), 6)}


def _forward(plan: Plan, network: nn.Module, engine: Engine, rounds: int) -> dict[str, Any]:
    windows = torch.randn(2, 1, *plan.patch_vox, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        timed = interleave(lambda: engine(windows), lambda: network(windows), 2 * rounds)
        agreement = float((engine(windows).argmax(1) == network(windows).argmax(1)).float().mean())
        with FlopCounterMode(display=False) as counted:
            network(windows)
        peak = _matrix_peak(rounds)
    share = counted.get_total_flops() / statistics.median(timed.ours) / peak
    eager = counted.get_total_flops() / statistics.median(timed.peer) / peak
    return {
        "what": "the network alone, two windows",
        "peer": "eager PyTorch",
        **timed.record(),
        "labels_agree": round(agreement, 6),
        "peak_share": round(share, 3),
        "peer_peak_share": round(eager, 3),
    }


def _matrix_peak(rounds: int) -> float:
    """Floating-point operations a second of a large matrix product, the best round."""
    one, other = torch.randn(2, 2048, 2048).unbind(0)
    seconds = []
    for _ in range(2 * rounds + 1):
        began = time.perf_counter()
        one @ other
        seconds.append(time.perf_counter() - began)
    return 2 * 2048**3 / min(seconds)
