"""Prediction against MONAI's ``sliding_window_inference`` in eager PyTorch, in turns on the same scan and weights.

Rows: one forward of the network; a whole scan in the same windows; three scales at our default overlap against one
scale of MONAI's; three scales at overlap 0.5 against the same, with labels against our plain way in eager PyTorch.
Windows lie alike because the scan is a window and a whole number of half windows long. ``peak`` is the forward's share
of what this machine's matrix product of two 2048 x 2048 float32 matrices reaches, floating-point operations as
``torch.utils.flop_counter`` counts them.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.interleaved import interleave, tell
from benchmarks.made import network_of, plan_of, scan_of
from maskmatch_med.data.preprocess import preprocess
from maskmatch_med.inference import Engine, PredictOptions, Predictor
from maskmatch_med.inference.openvino_engine import open_openvino
from maskmatch_med.inference.plain import predict_plainly
from maskmatch_med.planning.plan import Plan
from maskmatch_med.volume import Volume

SCALES = (0.7, 1.0, 1.5)


def main(out: Path, rounds: int) -> None:
    """Print the table and write ``OUT/predict.json``."""
    plan, shape = plan_of((32, 32, 32)), (128, 128, 96)
    network, volume = network_of(plan), scan_of(shape)
    engine = open_openvino(plan, "benchmark", lambda: network)
    rows = [_forward(plan, network, engine, rounds)]
    monai = _Monai(plan, network, volume)
    for name, options, reference in (
        ("one scale, overlap 0.5", PredictOptions(), None),
        ("three scales, overlap 0.25", PredictOptions(scales=SCALES, overlap=0.25), "eager"),
        ("three scales, overlap 0.5", PredictOptions(scales=SCALES), "eager"),
    ):
        predictor = Predictor(engine, plan, options)
        timed = interleave(
            lambda one=predictor: one.predict(volume), monai.predict, rounds if len(options.scales) == 1 else 1
        )
        labels = predictor.predict(volume).labels
        against = monai.predict() if reference is None else _plain(plan, network, volume, options)
        agreement = float(np.mean(labels == against))
        rows.append({"what": name, **timed.record(), "labels_agree": round(agreement, 6)})
    tell("predict", rows, out)


class _Monai:
    """One scale, windows that share half their edge, in eager PyTorch."""

    def __init__(self, plan: Plan, network: nn.Module, volume: Volume) -> None:
        self._plan, self._network, self._volume = plan, network, volume

    @torch.inference_mode()
    def predict(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        made = preprocess(self._volume, self._plan)
        logits = sliding_window_inference(
            torch.from_numpy(made.image)[None], self._plan.patch_vox, 2, self._network, overlap=0.5, mode="gaussian"
        )
        assert isinstance(logits, Tensor)
        return made.grid.to_native(logits[0].softmax(0).argmax(0).to(torch.uint8).numpy())


def _plain(plan: Plan, network: nn.Module, volume: Volume, options: PredictOptions) -> np.ndarray[Any, Any]:
    return predict_plainly(Predictor(network, plan, options), volume).labels


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
        "what": "forward of two windows",
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
