"""What a run tells of its scales: the teacher's Dice at each and of the ensemble, and what each counts for."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskmatch_med import service
from maskmatch_med.config import TrainConfig
from maskmatch_med.training import loop, read_log


def test_the_log_holds_dice_and_weight_of_every_scale(tiny_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_LOG_SECONDS", 0.0)
    settings = {"unlabelled.start": 0.2, "pseudo_labels.scales_start": 0.5, "pseudo_labels.measure_every": 2}
    config = TrainConfig(method="maskmatch", iterations=10).override(settings | {"labelled_batch": 1})
    folder = service.train(tiny_study, config)
    by_iteration = {line["iteration"]: line for line in read_log(folder.log_path) if "loss" in line}
    told = {number: line for number, line in by_iteration.items() if "teacher_dice" in line}
    scales = {f"{scale:g}" for scale in config.pseudo_labels.scales}
    assert min(told) == 7, "measured before iteration 7, the first even step with half of the run done"
    for line in told.values():
        assert set(line["teacher_dice"]) == scales | {"ensemble"}
        assert all(0 <= dice <= 1 for dice in line["teacher_dice"].values())
        assert set(line["scale_weights"]) == scales
        assert line["scale_weights"]["1"] == 1.0
    assert folder.metrics()["teacher_dice_by_scale"] == told[10]["teacher_dice"]
