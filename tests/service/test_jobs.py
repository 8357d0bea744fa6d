"""Training and predicting as jobs, from the order to predictions that can be accepted."""

from __future__ import annotations

import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pytest

from maskmatch_med import service
from maskmatch_med.errors import InputError, StudyError, TrainingError
from maskmatch_med.jobs import JobQueue
from maskmatch_med.service.jobs import TrainingOrder
from maskmatch_med.study import Study


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def short() -> TrainingOrder:
    """A few seconds of training beside what it takes to start a process on this machine as busy as it is."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import maskmatch_med.training.run"], check=True)
    return TrainingOrder(method="supervised", minutes=(8 + 3 * (time.monotonic() - began)) / 60, device="cpu")


def wait(study, id, status, limit_s=120):
    end, seen = time.monotonic() + limit_s, []
    while time.monotonic() < end:
        state = service.job_state(study, id)
        seen.append(state)
        if state.status == status:
            return seen
        time.sleep(0.1)
    pytest.fail(f"{state} after {limit_s} s: {service.job_log(study, id)}")


def test_train_predict_and_accept(tiny_study, short):
    """A short training; then the scans without a label are predicted, and one prediction is accepted."""
    outlook = service.training_outlook(tiny_study)
    assert (outlook.complete, outlook.partial, outlook.unlabelled, outlook.blocked) == (2, 0, 3, None)
    first = service.queue_training(tiny_study, short)
    second = service.queue_training(tiny_study, short)
    assert (first.model, second.model) == ("supervised", "supervised-2")
    assert service.job_state(tiny_study, second.id).ahead == 1
    assert service.stop_job(tiny_study, second.id).status == "stopped"
    seen = wait(tiny_study, first.id, "done")
    shares = [state.share for state in seen if state.doing == "Training" and state.share is not None]
    assert shares
    assert shares == sorted(shares)
    assert [state.id for state in service.job_states(tiny_study)] == [second.id, first.id]
    curve = service.training_curve(tiny_study, first.model)
    assert curve[-1]["iteration"] >= 1
    assert "3 segmentations written" in service.job_log(tiny_study, first.id)

    unlabelled = service.unlabelled_names(tiny_study)
    predictions = tiny_study / "predictions" / "supervised"
    assert sorted(path.name for path in predictions.glob("*[0-9].nii.gz")) == [f"{name}.nii.gz" for name in unlabelled]
    version = service.accept_prediction(tiny_study, unlabelled[0], "supervised", "eve")
    predicted = np.asarray(nib.load(predictions / f"{unlabelled[0]}.nii.gz").dataobj)
    np.testing.assert_array_equal(version.read().array, predicted)
    assert service.unlabelled_names(tiny_study) == unlabelled[1:]
    with pytest.raises(StudyError, match="'supervised' is already in"):
        service.queue_training(tiny_study, TrainingOrder(name="supervised"))


def test_a_training_without_time_for_an_iteration_says_so_and_leaves_no_model(tiny_study):
    order = TrainingOrder(method="supervised", minutes=0.01, device="cpu")
    first = service.queue_training(tiny_study, order)
    message = wait(tiny_study, first.id, "failed")[-1].message
    assert "of the 0.01 minutes" in message
    assert "no iteration was made; start it anew with more minutes" in message
    assert not (tiny_study / "models" / "supervised").exists()
    assert list((tiny_study / ".cache").rglob("*.*")), "what was prepared is kept"


def test_orders_that_cannot_be_met_are_refused_at_once(tiny_study, tmp_path):
    empty = Study.create(tmp_path / "empty", channel_names=["MRI"], label_names={"background": 0, "a": 1})
    with pytest.raises(TrainingError, match="No scan has a label yet"):
        service.queue_training(empty)
    with pytest.raises(InputError, match="magic"):
        service.queue_training(tiny_study, TrainingOrder(method="magic"))
    with pytest.raises(StudyError, match="no trained model 'm'"):
        service.queue_training(tiny_study, TrainingOrder(start_from="m"))
    with pytest.raises(StudyError, match="no trained model 'm'"):
        service.queue_prediction(tiny_study, "m")
    assert service.job_states(tiny_study) == []
    assert JobQueue(tiny_study).runner_lock.holder() is None
