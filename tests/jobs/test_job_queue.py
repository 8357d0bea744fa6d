"""Real jobs in real processes: they wait, pause, resume, outlive runner and server, and are found when they die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from maskmatch_med.errors import StudyError
from maskmatch_med.jobs import Command, Job, JobQueue, JobSpec
from maskmatch_med.jobs.job import State
from maskmatch_med.training import read_log
from maskmatch_med.training.checkpoint import Checkpoint


@pytest.fixture
def queue(tiny_study: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobQueue]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made = JobQueue(tiny_study)
    yield made
    for job in made.jobs():
        if job.status in {"running", "waiting"}:
            made.stop(job.id)
    end = time.monotonic() + 30
    while (holder := made.runner_lock.holder()) and time.monotonic() < end:
        if any(job.status == "running" and job.state.process is not None for job in made.jobs()):
            time.sleep(0.1)
        else:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(holder["pid"]).kill()


def training(study: Path, name: str) -> JobSpec:
    words = ("train", str(study), "--name", name, "--method", "supervised", "--iterations", "1000000", "--resume")
    command = Command(words=(*words, "--set", "checkpoint_seconds=0.2"), title="train", grace_s=60)
    return JobSpec(kind="train", title=name, commands=(command,))


def quick(*words: str) -> JobSpec:
    """Commands of a single word that start nothing heavy."""
    return JobSpec(kind="quick", title="quick", commands=tuple(Command(words=(word,)) for word in words))


def wait(queue: JobQueue, id: str, until: Callable[[Job], object], limit_s: float = 60) -> Job:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if until(job := queue.job(id)):
            return job
        time.sleep(0.05)
    job = queue.job(id)
    pytest.fail(f"{id} is {job.state} after {limit_s} s; it printed: {job.log_tail()}")


def iterations(study: Path, name: str) -> int:
    lines = read_log(study / "models" / name / "log.jsonl")
    return int(lines[-1]["iteration"]) if lines else 0


def trains(study: Path, name: str, past: int = 0) -> Callable[[Job], bool]:
    return lambda job: job.status == "running" and iterations(study, name) > past


def test_a_second_job_waits_and_a_paused_one_goes_on(queue, tiny_study):
    first, second = queue.add(training(tiny_study, "m")), queue.add(quick("--help", "train"))
    assert (first.id, second.id) == ("0001-train", "0002-quick")
    wait(queue, first.id, trains(tiny_study, "m"))
    assert queue.job(second.id).status == "waiting"
    assert [job.id for job in queue.waiting()] == [second.id]
    wait(queue, first.id, lambda job: job.progress().get("event") in {"train", "validate"})

    queue.pause(first.id)
    wait(queue, first.id, lambda job: job.status == "paused")
    reached = Checkpoint.load(tiny_study / "models" / "m" / "state.pt").iteration
    failed = wait(queue, second.id, lambda job: job.status == "failed")
    assert failed.state.step == 1
    assert failed.state.message == "Missing argument 'STUDY'. (see maskmatch --help)"
    assert "Stopped and saved" in queue.job(first.id).log_tail()
    assert "Usage: maskmatch" in failed.log_tail()

    queue.resume(first.id)
    with pytest.raises(StudyError, match="only jobs that have ended early"):
        queue.resume(first.id)
    wait(queue, first.id, trains(tiny_study, "m", reached))
    queue.stop(first.id)
    wait(queue, first.id, lambda job: job.status == "stopped")
    assert (tiny_study / "models" / "m" / "weights.safetensors").is_file()
    assert Checkpoint.load(tiny_study / "models" / "m" / "state.pt").iteration > reached


SERVER = """
import sys, time
from pathlib import Path
from maskmatch_med.jobs import JobQueue, JobSpec
JobQueue(Path(sys.argv[1])).add(JobSpec.model_validate_json(sys.argv[2]))
print("added", flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills as Unix does")
def test_work_outlives_its_server_and_its_runner_and_its_death_is_found(queue, tiny_study):
    words = [sys.executable, "-c", SERVER, str(tiny_study), training(tiny_study, "m").model_dump_json()]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout.readline() == "added\n"
        job = wait(queue, "0001-train", trains(tiny_study, "m"))
        server.kill()
    process = job.state.process
    os.kill(queue.runner_lock.holder()["pid"], signal.SIGKILL)
    reached = iterations(tiny_study, "m")
    wait(queue, job.id, trains(tiny_study, "m", reached))
    assert process.alive()

    os.utime(queue.root / ".started", (0, 0))
    assert [known.id for known in queue.tend()] == [job.id]
    end = time.monotonic() + 30
    while queue.runner_lock.holder() is None and time.monotonic() < end:
        time.sleep(0.05)
    assert queue.job(job.id).state.process == process

    os.kill(process.pid, signal.SIGKILL)
    died = wait(queue, job.id, lambda found: found.status == "died")
    assert died.state.message.startswith("its process ended without a word")
    assert died.can_resume


def test_what_does_not_listen_is_ended_and_what_waits_is_taken_back(queue, tiny_study):
    spec = training(tiny_study, "m")
    deaf = spec.model_copy(update={"commands": (spec.commands[0].model_copy(update={"grace_s": 0.0}),)})
    first, second = queue.add(deaf), queue.add(quick("--help"))
    assert queue.pause(second.id).status == "paused"
    assert queue.stop(second.id).status == "stopped"
    job = wait(queue, first.id, lambda found: found.state.pid is not None)
    queue.stop(first.id)
    wait(queue, first.id, lambda found: found.status == "stopped")
    assert not job.state.process.alive()
    with pytest.raises(StudyError, match="there is nothing to pause"):
        queue.pause(first.id)
    with pytest.raises(StudyError, match="has no job '0009-train'; it has 0001-train, 0002-quick"):
        queue.job("0009-train")


def test_a_damaged_job_hides_no_other(queue, tiny_study):
    (queue.root / "0001-train").mkdir(parents=True)
    (queue.root / "0001-train" / "state.json").write_text("{")
    job = queue.add(quick("--help"))
    assert job.id == "0002-quick"
    done = wait(queue, job.id, lambda found: found.status == "done")
    assert (done.state.started is None, done.state.ended is None, done.state.message) == (False, False, "")


def test_the_log_shows_lines_as_they_ended(tmp_path):
    job = Job(tmp_path, quick("--help"), State(status="done", queued="2026-01-01T00:00:00.000+00:00"))
    assert job.log_tail() == ""
    (tmp_path / "log.txt").write_bytes(b"one\n10%\r20%\rdone\nmaskmatch: no scans\nlast\n")
    assert job.log_tail().splitlines() == ["one", "done", "maskmatch: no scans", "last"]
    assert job.log_tail(2).splitlines() == ["maskmatch: no scans", "last"]
    assert job.error_in_log() == "no scans"
