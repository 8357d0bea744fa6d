"""Score a network on labelled scans that training does not see, on the plan's grid."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from maskmatch_med.data.cache import CachedCase
from maskmatch_med.inference import PredictOptions, Predictor
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.planning.plan import Plan


class Validator:
    """Predicts held-out scans with windows of overlap 0.25 and takes the mean Dice of each structure.

    The figure steers nothing but the eye: the final weights are kept whatever it says. It is measured on the plan's
    grid; `maskmatch evaluate` measures on the scan's own.

    Args:
        cases: labelled scans.
        plan: names the structures.
        device: where to predict.
    """

    def __init__(self, cases: Sequence[CachedCase], plan: Plan, device: torch.device) -> None:
        self.cases, self.plan, self.device = list(cases), plan, device

    def fit_into(self, network: nn.Module, seconds: float, rounds: int) -> tuple[int, float]:
        """Keep validation within a tenth of a timed run: fewer rounds, and fewer scans where one round is too long.

        Args:
            network: times one scan.
            seconds: the run's wall time.
            rounds: how many are wanted.

        Returns:
            The rounds that fit, and the seconds that one takes.
        """
        began = time.monotonic()
        all_cases, self.cases = self.cases, self.cases[:1]
        self(network)
        a_scan = time.monotonic() - began
        scans = max(1, min(len(all_cases), int(seconds / 10 / max(a_scan, 1e-6))))
        self.cases = all_cases[:scans]
        return max(1, min(rounds, int(seconds / 10 / max(a_scan * scans, 1e-6)))), a_scan * scans

    @torch.inference_mode()
    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Mean Dice of each structure over the scans that have it or are said to have it."""
        predictor = Predictor(network, self.plan, PredictOptions(overlap=0.25), self.device)
        structures = {name: value for name, value in self.plan.label_names.items() if value}
        found: dict[str, list[float]] = {name: [] for name in structures}
        for case in self.cases:
            predicted = predictor.stitch(torch.from_numpy(case.image.astype(np.float32))).argmax(0).cpu().numpy()
            judged = case.labels != UNJUDGED
            for name, value in structures.items():
                ours, theirs = (predicted == value) & judged, case.labels == value
                if total := int(ours.sum() + theirs.sum()):
                    found[name].append(2 * int((ours & theirs).sum()) / total)
        return {name: float(np.mean(dice)) for name, dice in found.items() if dice}
