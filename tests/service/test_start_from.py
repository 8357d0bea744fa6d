"""A run that starts from another model's weights remembers which, and the study's plan is written whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from maskmatch_med import service
from maskmatch_med.config import TrainConfig
from maskmatch_med.errors import InputError
from maskmatch_med.nets import ModelFolder
from maskmatch_med.training.loop import TrainingLoop

CONFIG = TrainConfig(method="supervised", iterations=3, labelled_batch=1)


class Killed(BaseException):
    """Stands for a process that ends at once."""


def train(study: Path, name: str, **request) -> ModelFolder:
    return service.train(study, CONFIG, service.TrainRequest(name=name, **request))


def weights(folder: ModelFolder) -> dict[str, np.ndarray]:
    return load_file(folder.weights_path)


def kill(study: Path, name: str, monkeypatch: pytest.MonkeyPatch, **request) -> None:
    """Begin a training and end it before its first step, with nothing tidied up."""

    def end(loop, log):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(TrainingLoop, "run", end)
        patch.setattr(shutil, "rmtree", lambda *words, **named: None)
        with pytest.raises(Killed):
            train(study, name, **request)
    assert not (study / "models" / name / "state.pt").exists()


def test_a_run_killed_before_its_first_state_still_starts_from_the_other_model(tiny_study, monkeypatch):
    first = train(tiny_study, "first")
    whole = weights(train(tiny_study, "whole", start_from=first.root))
    monkeypatch.chdir(tiny_study)
    kill(tiny_study, "m", monkeypatch, start_from=Path("models/first"))
    monkeypatch.chdir(tiny_study.parent)
    found = weights(train(tiny_study, "m", resume=True))
    assert all(np.array_equal(found[name], values) for name, values in whole.items())
    assert TrainConfig.load(tiny_study / "models/m/config.json").start_from == str(first.root.resolve())
    assert any(not np.array_equal(found[name], values) for name, values in weights(first).items())


def test_resuming_checks_that_the_other_model_still_fits(tiny_study, monkeypatch):
    first = train(tiny_study, "first")
    kill(tiny_study, "m", monkeypatch, start_from=first.root)
    text = first.plan_path.read_text()
    label = next(name for name, value in service.open_study(tiny_study).label_names.items() if value == 1)
    first.plan_path.write_text(text.replace(f'"{label}"', '"another"'))
    with pytest.raises(InputError, match="another"):
        train(tiny_study, "m", resume=True)


def test_with_a_state_the_other_model_is_no_longer_needed(tiny_study):
    first = train(tiny_study, "first")
    asked = iter([False] * 20 + [True] * 20)
    config = CONFIG.override({"iterations": 40})
    request = service.TrainRequest(name="m", start_from=first.root, stop_requested=lambda: next(asked))
    assert not service.train(tiny_study, config, request).metrics()["finished"]
    shutil.rmtree(first.root)
    assert train(tiny_study, "m", resume=True).metrics()["iterations"] == 40


def test_a_plan_that_cannot_be_written_whole_leaves_the_old_one(tiny_study, monkeypatch):
    path = tiny_study / "plan.json"
    before, names, sync = path.read_bytes(), sorted(tiny_study.iterdir()), os.fsync

    def full(stream: int) -> None:
        sync(stream)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        service.plan_study(tiny_study, "quick", "cpu", {"batch_size": 1})
    assert path.read_bytes() == before
    assert sorted(tiny_study.iterdir()) == names
