"""nnU-Net's side of the comparison, run by the interpreter of nnU-Net's own environment; see ``nnunet.py``.

    python -m benchmarks.nnunet_peer plan NETWORK.json
    python -m benchmarks.nnunet_peer train CONFIGURATION MINUTES SEED RESULT.json
    python -m benchmarks.nnunet_peer predict CONFIGURATION SCANS OUT

nnU-Net finds its folders through ``nnUNet_raw``, ``nnUNet_preprocessed`` and ``nnUNet_results``; the data set is
number 1. Fingerprint, plan, preprocessing, augmentation, loss, optimiser, network and prediction are
nnU-Net's own.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprint_dataset,
    plan_experiment_dataset,
    preprocess_dataset,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_results
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.utils import create_lists_from_splitted_dataset_folder

from benchmarks.wall_clock import step_of

DATASET_ID, PLANS, FULL, SMALL = 1, "nnUNetPlans", "3d_fullres", "3d_small"
CPU = torch.device("cpu")


class WallClockTrainer(nnUNetTrainer):
    """nnU-Net's trainer, ended by the wall clock; nothing else of it is changed.

    - The learning rate falls along nnU-Net's own polynomial, by the share of the time instead of that of the epochs.
    - There are no epochs: no validation batches (50 after every 250 training batches), no curves drawn, nothing saved
      on the way. What is kept are the last weights, as nnU-Net's ``checkpoint_final``.
    - The clock starts when data and network are ready.
    """

    minutes = 1.0
    iterations = 0
    seconds = 0.0

    def run_training(self) -> None:
        """Train until the time is spent, and save."""
        self.on_train_start()
        self.network.train()
        began, parent = time.monotonic(), os.getppid()
        while self.seconds < 60 * self.minutes:
            self.lr_scheduler.step(step_of(self.seconds, 60 * self.minutes, self.num_epochs))
            loss = self.train_step(next(self.dataloader_train))["loss"]
            self.iterations += 1
            self.seconds = time.monotonic() - began
            if self.iterations % 50 == 0:
                print(f"{self.iterations} iterations, {self.seconds:.0f} s, loss {float(loss):.3f}", flush=True)
            end_with(parent)
        self.on_train_end()


# where nnUNetPredictor looks for the trainer that a checkpoint names
vars(sys.modules[nnUNetTrainer.__module__])[WallClockTrainer.__name__] = WallClockTrainer


def end_with(parent: int) -> None:
    """End this process when the one that started it is gone, so that a later run never meets it at work."""
    if os.getppid() != parent:
        raise SystemExit("the comparison was stopped")


def preprocessed() -> Path:
    """The folder of the preprocessed data set."""
    return next(Path(nnUNet_preprocessed).glob(f"Dataset{DATASET_ID:03d}_*"))


def plan(network: Path) -> None:
    """Fingerprint, plan and preprocess, then add a configuration with another network; ``done`` is written last."""
    threads = int(os.environ["OMP_NUM_THREADS"])
    extract_fingerprint_dataset(DATASET_ID, num_processes=threads, show_progress_bar=False)
    plan_experiment_dataset(DATASET_ID)
    preprocess_dataset(DATASET_ID, PLANS, (FULL,), (threads,), show_progress_bar=False)
    path = preprocessed() / f"{PLANS}.json"
    plans = json.loads(path.read_text())
    plans["configurations"][SMALL] = small_configuration(plans, json.loads(network.read_text()))
    write_json(path, plans)
    (Path(nnUNet_preprocessed) / "done").touch()


def small_configuration(plans: dict[str, Any], network: dict[str, Any]) -> dict[str, Any]:
    """nnU-Net's 3d_fullres with the batch, patch and network size of another plan; spacing and scans stay as they are.

    Args:
        plans: nnU-Net's plans.
        network: ``batch_size``, ``features``; along the files' axes (x, y, z) ``patch_vox``, ``kernels``, ``strides``.
    """

    def turned(sizes: list[int]) -> list[int]:
        zyx = sizes[::-1]
        return [zyx[axis] for axis in plans["transpose_forward"]]

    architecture = json.loads(json.dumps(plans["configurations"][FULL]["architecture"]))
    stages = len(network["features"])
    architecture["arch_kwargs"] |= {
        "n_stages": stages,
        "features_per_stage": network["features"],
        "kernel_sizes": [turned(sizes) for sizes in network["kernels"]],
        "strides": [turned(sizes) for sizes in network["strides"]],
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
    }
    return {
        "inherits_from": FULL,
        "batch_size": network["batch_size"],
        "patch_size": turned(network["patch_vox"]),
        "architecture": architecture,
    }


def train(configuration: str, minutes: float, seed: int, result: Path) -> None:
    """Train on every labelled scan (nnU-Net's fold ``all``), and write what it took."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    plans = json.loads((preprocessed() / f"{PLANS}.json").read_text()) | {"continue_training": False}
    dataset = json.loads((preprocessed() / "dataset.json").read_text())
    trainer = WallClockTrainer(plans, configuration, "all", dataset, CPU)
    trainer.minutes = minutes
    trainer.run_training()
    manager = trainer.configuration_manager
    told = {
        "iterations": trainer.iterations,
        "seconds": round(trainer.seconds, 1),
        "patch_vox": [int(size) for size in manager.patch_size],
        "batch_size": int(manager.batch_size),
        "parameters": sum(parameter.numel() for parameter in trainer.network.parameters()),
        "version": version("nnunetv2"),
    }
    write_json(result, told)


def predict(configuration: str, scans: Path, out: Path) -> None:
    """Segment every scan with the last weights: mirror images, windows half a patch apart; finished ones are kept."""
    predictor = nnUNetPredictor(tile_step_size=0.5, use_mirroring=True, device=CPU, allow_tqdm=False)
    folder = next(Path(nnUNet_results).glob(f"*/WallClockTrainer__{PLANS}__{configuration}"))
    predictor.initialize_from_trained_model_folder(str(folder), ("all",), "checkpoint_final.pth")
    part = out / ".part"
    part.mkdir(parents=True, exist_ok=True)
    parent = os.getppid()
    for files in create_lists_from_splitted_dataset_folder(str(scans), ".nii.gz"):
        name = Path(files[0]).name.removesuffix("_0000.nii.gz")
        if not (out / f"{name}.nii.gz").exists():
            predictor.predict_from_files_sequential([files], [str(part / name)])
            (part / f"{name}.nii.gz").replace(out / f"{name}.nii.gz")
            end_with(parent)
    shutil.rmtree(part)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a record, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)


def main(words: list[str]) -> None:
    """Do what the first word says, on as many threads as OMP_NUM_THREADS."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    verb, *rest = words
    if verb == "plan":
        plan(Path(rest[0]))
    elif verb == "train":
        train(rest[0], float(rest[1]), int(rest[2]), Path(rest[3]))
    else:
        predict(rest[0], Path(rest[1]), Path(rest[2]))


if __name__ == "__main__":
    main(sys.argv[1:])
