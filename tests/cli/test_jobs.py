"""`maskmatch jobs`: the jobs of a study from the terminal, and what is said where the machine runs out of something."""

from __future__ import annotations

import errno
import shutil
import time
from pathlib import Path

import pytest

from maskmatch_med import service
from maskmatch_med.cli.app import main
from maskmatch_med.cli.failures import DISK, MEMORY, in_plain_words
from maskmatch_med.service.jobs import TrainingOrder


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Jobs of other tests are not waited for."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "160")


def wait(study: Path, id: str, *statuses: str, limit_s: float = 90) -> service.JobState:
    end = time.monotonic() + limit_s
    while (state := service.job_state(study, id)).status not in statuses:
        assert time.monotonic() < end, (state, service.job_log(study, id))
        time.sleep(0.1)
    return state


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["jobs", *words]) == 0
    return capsys.readouterr().out


def test_a_training_that_waits_is_listed_paused_resumed_and_stopped(tiny_study, capsys):
    study = str(tiny_study)
    order = TrainingOrder(method="supervised", minutes=30, device="cpu", predict=False)
    first, second = (service.queue_training(tiny_study, order) for _ in range(2))
    assert f"{second.id}: starts after 1 other job" in said(capsys, "list", study).splitlines()
    assert f"{second.id} is paused" in said(capsys, "pause", study, second.id)
    assert f"{second.id} goes on when its turn comes" in said(capsys, "resume", study)
    assert f"{second.id} is stopped" in said(capsys, "stop", study, second.id)
    said(capsys, "stop", study, first.id)
    wait(tiny_study, first.id, "stopped")


@pytest.mark.proof
def test_a_training_is_listed_paused_resumed_stopped_and_read(tiny_study, capsys):
    study = str(tiny_study)
    assert "nothing has been started yet" in said(capsys, "list", study)
    job = service.queue_training(tiny_study, TrainingOrder(minutes=30, device="cpu", predict=False))
    end = time.monotonic() + 90
    while not service.training_curve(tiny_study, job.model):
        assert time.monotonic() < end, service.job_log(tiny_study, job.id)
        time.sleep(0.1)
    listed = said(capsys, "list", study)
    assert "0001-train" in listed
    assert "running" in listed
    assert "0001-train saves and pauses" in said(capsys, "pause", study)
    wait(tiny_study, job.id, "paused")
    assert "Stopped and saved" in said(capsys, "log", study)
    assert "0001-train goes on when its turn comes" in said(capsys, "resume", study)
    wait(tiny_study, job.id, "running")
    said(capsys, "stop", study, "0001-train")
    assert wait(tiny_study, job.id, "stopped").can_resume
    assert "stopped" in said(capsys, "list", study)


def test_what_cannot_be_done_says_what_there_is(tiny_study, capsys):
    assert main(["jobs", "pause", str(tiny_study)]) == 2
    assert "no job of" in capsys.readouterr().err
    assert main(["jobs", "log", str(tiny_study), "0007-train"]) == 2
    assert "has no job '0007-train'; it has none" in capsys.readouterr().err


@pytest.mark.proof
def test_two_studies_train_one_after_the_other(tiny_study, tmp_path, capsys):
    other = Path(shutil.copytree(tiny_study, tmp_path / "other"))
    order = TrainingOrder(method="supervised", minutes=30, device="cpu", predict=False)
    first = service.queue_training(tiny_study, order)
    wait(tiny_study, first.id, "running")
    second = service.queue_training(other, order)
    end = time.monotonic() + 60
    while not (state := service.job_state(other, second.id)).waits_for:
        assert time.monotonic() < end, state
        time.sleep(0.1)
    assert (state.status, state.waits_for) == ("waiting", tiny_study.name)
    assert f"waits for {tiny_study.name}" in said(capsys, "list", str(other))
    service.stop_job(tiny_study, first.id)
    wait(tiny_study, first.id, "stopped")
    wait(other, second.id, "running")
    service.stop_job(other, second.id)
    wait(other, second.id, "stopped")


def test_what_the_machine_lacks_is_told_in_plain_words():
    assert in_plain_words(OSError(errno.ENOSPC, "No space left on device", "x")) == DISK
    assert in_plain_words(OSError("4096 requested and 0 written")) == DISK
    assert in_plain_words(MemoryError()) == MEMORY
    assert in_plain_words(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to…")) == MEMORY
    outer = RuntimeError("PytorchStreamWriter failed writing file")
    outer.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert in_plain_words(outer) == DISK
    assert in_plain_words(ValueError("x")) is None
