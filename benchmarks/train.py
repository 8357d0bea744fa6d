"""Training samples a second against MONAI's tutorial pipeline, in turns on the same generated scans.

Ours: supervised steps of the training loop's parts (cached scans, crops cut ahead in a thread, views of the whole
batch, network in channels-last layout, in the precision that training takes here). MONAI's, after its spleen tutorial:
``CacheDataset`` of the same preprocessed scans, ``RandCropByPosNegLabeld`` and the transforms that match our views,
``DataLoader``, the same network as MONAI builds it, ``DiceCELoss``, AdamW, in single precision, as the tutorial does on
a processor; once with batches made between the steps, once by a process of its own, which may be two batches ahead as
our thread may. Both without deep supervision. ``data_share`` is what a step of ours waits for its crops.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset, DataLoader
from monai.losses import DiceCELoss
from monai.transforms import (
    Compose,
    RandAdjustContrastd,
    RandAffined,
    RandCropByPosNegLabeld,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandScaleIntensityd,
)
from monai.utils import set_determinism

from benchmarks.interleaved import interleave, tell
from maskmatch_med import service
from maskmatch_med.config import TrainConfig
from maskmatch_med.data.cache import CachedCase, cache_cases
from maskmatch_med.data.sampling import PatchSampler, Prefetcher
from maskmatch_med.methods import EMATeacher, Objective, parse_recipe
from maskmatch_med.nets import build_network, lay_out_weights
from maskmatch_med.phantom import PhantomOptions, write_phantom
from maskmatch_med.planning import Plan
from maskmatch_med.study import Study
from maskmatch_med.training.clock import StepClock
from maskmatch_med.training.optimiser import build_optimiser
from maskmatch_med.training.precision import precision_of
from maskmatch_med.training.run import fabric_of, sampling_options

STEPS = 6
PEERS = {
    0: "MONAI's tutorial pipeline, batches made between the steps",
    1: "MONAI's tutorial pipeline, batches made by another process",
}
"""By how many processes load for it."""


def main(out: Path, rounds: int) -> None:
    """Print the table and write ``OUT/train.json``."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        source = write_phantom(root / "source", PhantomOptions(scans=6, labelled=6, test=0, shape=(64, 64, 64)))
        service.import_scans(source, root / "study", service.ImportOptions())
        changes = {"patch_vox": "[48, 48, 48]", "network.deep_supervision": "false"}
        service.plan_study(root / "study", "balanced", "cpu", changes)
        study = Study.open(root / "study")
        plan = Plan.load(study.root / "plan.json")
        cases = cache_cases(study.cases(), plan, study.cache_dir)
        tell("train", [_beside(workers, cases, plan, rounds) for workers in PEERS], out)


def _beside(workers: int, cases: list[CachedCase], plan: Plan, rounds: int) -> dict[str, Any]:
    """A row: our steps and MONAI's in turns."""
    with _Ours(cases, plan) as ours:
        found = interleave(ours.steps, _Monai(cases, plan, workers).steps, rounds).record()
        seconds = ours.clock.take()
    samples = STEPS * plan.batch_size
    return {
        "patch": "x".join(map(str, plan.patch_vox)),
        "peer": PEERS[workers],
        "batch": plan.batch_size,
        "precision": ours.precision,
        "ours_samples_s": round(samples / found["ours_s"], 3),
        "peer_samples_s": round(samples / found["peer_s"], 3),
        **found,
        "data_share": round(seconds["data"] / sum(seconds.values()), 4),
    }


class _Ours:
    """Steps as the training loop makes them."""

    def __init__(self, cases: list[CachedCase], plan: Plan) -> None:
        torch.manual_seed(0)
        self._objective = Objective(parse_recipe("supervised"), plan, TrainConfig(method="supervised"))
        student = self._objective.build_student().train()
        lay_out_weights(student, torch.device("cpu"))
        self._teacher = EMATeacher(student, 0.99)
        self.precision = precision_of(self._objective.config, torch.device("cpu"))
        self._fabric = fabric_of(torch.device("cpu"), self.precision)
        self._ask_teacher = self._fabric.setup_module(self._teacher.network)
        optimiser = build_optimiser(student, self._objective.config.optimiser, torch.device("cpu"))
        self._student, self._optimiser = self._fabric.setup(student, optimiser)
        self._crops = Prefetcher(PatchSampler(cases, [], sampling_options(self._objective)), 0)
        self.clock, self._step = StepClock(), 0

    def __enter__(self) -> _Ours:
        self._crops.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._crops.__exit__(*error)

    def steps(self) -> None:
        for _ in range(STEPS):
            self.clock.start()
            batch = self._crops.next()
            self.clock.lap("data")
            generator = torch.Generator().manual_seed(self._step)
            losses = self._objective.step(self._student, self._ask_teacher, batch, generator, 0.1)
            self._optimiser.zero_grad(set_to_none=True)
            self._fabric.backward(losses.total)
            torch.nn.utils.clip_grad_norm_(self._student.parameters(), 12.0)
            self._optimiser.step()
            self._teacher.update(self._student.module, self._step)
            self._step += 1
            self.clock.lap("compute")


class _Monai:
    """Steps of the tutorial's loop."""

    def __init__(self, cases: list[CachedCase], plan: Plan, workers: int) -> None:
        set_determinism(0)
        both = ("image", "label")
        transforms = Compose(
            [
                RandCropByPosNegLabeld(both, "label", plan.patch_vox, pos=1, neg=2, num_samples=1),
                RandAffined(
                    both,
                    prob=0.2,
                    rotate_range=(0.5, 0.5, 0.5),
                    scale_range=(0.3, 0.3, 0.3),
                    mode=("bilinear", "nearest"),
                    padding_mode="border",
                ),
                *(RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in plan.mirror_axes),
                RandGaussianNoised("image", prob=0.1, std=0.1),
                RandGaussianSmoothd("image", prob=0.2),
                RandScaleIntensityd("image", factors=0.25, prob=0.15),
                RandAdjustContrastd("image", prob=0.3),
            ]
        )
        items = [
            {"image": torch.from_numpy(c.image.astype(np.float32)), "label": torch.from_numpy(np.array(c.labels)[None])}
            for c in cases
        ]
        data = CacheDataset(items * 50, transforms, cache_rate=1.0, num_workers=0, progress=False)
        self._loader = DataLoader(data, batch_size=plan.batch_size, shuffle=True, num_workers=workers)
        self._network = build_network(plan, channels_last=False).train()
        self._loss = DiceCELoss(to_onehot_y=True, softmax=True)
        self._optimiser = torch.optim.AdamW(self._network.parameters(), lr=1e-3)
        self._batches = self._endless()

    def _endless(self) -> Iterator[dict[str, torch.Tensor]]:
        while True:
            yield from self._loader

    def steps(self) -> None:
        for _ in range(STEPS):
            batch = next(self._batches)
            loss = self._loss(self._network(batch["image"]), batch["label"])
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self._optimiser.step()
