"""Real processes: told to stop, killed, and on time."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from maskmatch_med.study import ImportOptions, check_study, import_scans
from maskmatch_med.training import read_log
from maskmatch_med.training.checkpoint import Checkpoint

PROGRAM = [sys.executable, "-c", "from maskmatch_med.cli import main; main()"]


def start(*words: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*PROGRAM, *map(str, words)], env=environment, **pipes)


def wait_for_iteration(model: Path, at_least: int, process: subprocess.Popen[str], limit_s: float = 120) -> None:
    end = time.monotonic() + limit_s
    while time.monotonic() < end and process.poll() is None:
        lines = read_log(model / "log.jsonl")
        if lines and lines[-1]["iteration"] >= at_least:
            return
        time.sleep(0.05)
    process.kill()
    pytest.fail(f"no iteration {at_least} within {limit_s} s: {process.communicate()}")


def test_sigterm_and_ctrl_c_save_and_leave_clean(tiny_study):
    """SIGTERM ends the first session, Ctrl-C the one that resumes it."""
    model = tiny_study / "models" / "m"
    words = ["train", tiny_study, "--name", "m", "--iterations", "1000000"]
    reached = 0
    for number in (signal.SIGTERM, signal.SIGINT):
        process = start(*words, *(["--resume"] if reached else []))
        wait_for_iteration(model, reached + 1, process)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert err == ""
        assert f"Go on with: maskmatch train {tiny_study} --name m --resume" in " ".join(out.split())
        state = Checkpoint.load(model / "state.pt")
        assert state.iteration > reached
        reached = state.iteration
        metrics = json.loads((model / "metrics.json").read_text())
        assert (metrics["finished"], metrics["iterations"]) == (False, reached)
        assert (model / "weights.safetensors").is_file()
        assert not (model / "lock").exists()
    assert [f for f in check_study(tiny_study) if f.severity != "note"] == []


def test_bad_input_of_a_real_process(tmp_path):
    nowhere = tmp_path / "nowhere"
    process = start("train", nowhere)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert out.strip() == ""
    assert err == f"maskmatch: there is no study {nowhere}; make one with `maskmatch import SRC {nowhere}`\n"


@pytest.fixture(params=["generated scans", "hippocampi"])
def study(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The tiny generated study, or 160 real scans of which 5 are labelled."""
    if request.param == "generated scans":
        return Path(request.getfixturevalue("tiny_study"))
    source = request.getfixturevalue("shared_data") / "Task04_Hippocampus"
    import_scans(source, tmp_path / "hippocampi", ImportOptions(splits=source / "splits.json", labelled=5))
    return tmp_path / "hippocampi"


def data_files(study: Path) -> dict[Path, bytes]:
    """Every file of a study but models, cache and catalogue, with its content."""
    kept = [path for path in study.iterdir() if path.name not in {"models", ".cache"} and "sqlite" not in path.name]
    files = [path for place in kept for path in (place.rglob("*") if place.is_dir() else [place]) if path.is_file()]
    return {path: path.read_bytes() for path in files}


@pytest.mark.proof
def test_kill_9_at_random_moments(study):
    """Five kills, some before the first state; then the run ends with the weights of one that was never killed."""
    iterations, longest_s = (400, 0.6) if study.name == "study" else (30, 5.0)
    words = ["--iterations", iterations, "--set", "checkpoint_seconds=0.2", "--set", "unlabelled.start=0.1"]
    whole = start("train", study, "--name", "whole", *words)
    whole.communicate(timeout=600)
    assert whole.returncode == 0
    before, findings = data_files(study), check_study(study)
    model, rng, killed = study / "models" / "m", random.Random(3), 0
    began = time.monotonic()
    process = start("train", study, "--name", "m", "--resume", *words)
    wait_for_iteration(model, 1, process)
    start_up = time.monotonic() - began
    while killed < 5:
        time.sleep(rng.uniform(0, longest_s) if killed else 0.0)
        if killed == 3:
            time.sleep(0.3 * start_up)
        assert process.poll() is None, process.communicate()
        process.kill()
        process.communicate()
        killed += 1
        assert data_files(study) == before
        process = start("train", study, "--name", "m", "--resume", *words)
        if killed in {1, 2, 4}:
            time.sleep(0.8 * start_up)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert err == ""
    metrics = json.loads((model / "metrics.json").read_text())
    assert (metrics["finished"], metrics["iterations"]) == (True, iterations)
    one, other = load_file(model / "weights.safetensors"), load_file(study / "models/whole/weights.safetensors")
    assert all((other[name] == values).all() for name, values in one.items())
    assert data_files(study) == before
    assert check_study(study) == findings
    logged = [line["iteration"] for line in read_log(model / "log.jsonl")]
    assert logged == sorted(set(logged))


@pytest.mark.proof
@pytest.mark.alone
def test_minutes_are_the_wall_time_of_the_whole_command(tiny_study):
    began = time.monotonic()
    process = start("train", tiny_study, "--name", "m", "--minutes", "0.4")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert 24 - 4 < time.monotonic() - began < 24 + 2
