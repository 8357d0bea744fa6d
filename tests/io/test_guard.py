"""The child process that readers in C++ run in: it may crash, hang or eat memory, and this process goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import SimpleITK as sitk  # noqa: N813

from maskmatch_med.errors import InputError
from maskmatch_med.io.guard import GUARD, Guard, Limits
from maskmatch_med.io.volumes import read_volume

TASKS = """
import ctypes, os, sys, time
import numpy as np

def double(path, arguments):
    print("noise on standard output")
    os.write(2, b"noise on standard error")
    return {"name": path.name}, np.full((2, 2), 2 * arguments["number"])

def crash(path, arguments):
    ctypes.string_at(0)

def leave(path, arguments):
    os._exit(7)

def hang(path, arguments):
    time.sleep(600)

def eat(path, arguments):
    found = []
    while True:
        found.append(np.ones(1 << 22))

def refuse(path, arguments):
    raise RuntimeError("Exception thrown in Some_Execute: /build/x.cxx:3:\\nsitk::ERROR: bad thing")

def objects(path, arguments):
    return {}, np.array([{}], dtype=object)
"""
ROOMY = Limits(seconds=60, memory_bytes=1 << 30)


@pytest.fixture
def guard(tmp_path, monkeypatch):
    (tmp_path / "odd_tasks.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    found = Guard()
    yield found
    found.close()


def _works(guard: Guard) -> None:
    facts, array = guard.run("odd_tasks:double", Path("x.mha"), ROOMY, number=21)
    assert facts == {"name": "x.mha"}
    np.testing.assert_array_equal(array, np.full((2, 2), 42))


def test_values_come_back_and_the_child_is_kept(guard):
    _works(guard)
    child = guard._child.pid
    _works(guard)
    assert guard._child.pid == child


@pytest.mark.parametrize(
    ("task", "limits", "message"),
    [
        ("crash", ROOMY, r"x\.mha made its reader crash"),
        ("leave", ROOMY, r"x\.mha made its reader crash \(exit status 7\)"),
        ("hang", Limits(0.5, 1 << 30), r"reading .*x\.mha was stopped after"),
        ("eat", Limits(60, 300 << 20), r"x\.mha.*memory"),
        ("refuse", ROOMY, r"cannot read .*x\.mha \(bad thing\)"),
        ("objects", ROOMY, r"cannot read .*x\.mha"),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_the_next_file_is_read(guard, task, limits, message):
    _works(guard)
    started = time.monotonic()
    with pytest.raises(InputError, match=message) as caught:
        guard.run(f"odd_tasks:{task}", Path("x.mha"), limits)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 30
    _works(guard)


def test_the_child_is_started_again_after_somebody_ended_it(guard):
    _works(guard)
    psutil.Process(guard._child.pid).kill()
    guard._child.wait()
    _works(guard)


def test_memory_is_limited_by_the_parent_too(guard, monkeypatch):
    """Where the system sets no limit, as on Windows, the parent sees the memory grow and ends the child."""
    (Path(sys.path[0]) / "odd_tasks.py").write_text(
        TASKS + "import maskmatch_med.io.child\nmaskmatch_med.io.child._limit_memory = lambda more: None\n"
    )
    guard.run("odd_tasks:double", Path("x"), ROOMY, number=1)
    with pytest.raises(InputError, match=r"was stopped at .* MiB"):
        guard.run("odd_tasks:eat", Path("x"), Limits(60, 300 << 20))


def test_limits_grow_with_the_file():
    small, large = Limits.of(1000, 2000), Limits.of(400_000_000, 800_000_000)
    assert small.seconds <= 30
    assert large.seconds > 300
    assert small.memory_bytes < large.memory_bytes <= psutil.virtual_memory().total


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_no_child_outlives_its_parent(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 3, 3), np.uint8)), str(tmp_path / "x.mha"))
    code = (
        "from pathlib import Path; from maskmatch_med.io import read_volume; import sys, time, psutil;"
        "read_volume(Path(sys.argv[1])); print(psutil.Process().children()[0].pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x.mha")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    child.wait(timeout=20)


def test_reading_costs_milliseconds_once_the_child_runs(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 3, 3), np.uint8)), str(tmp_path / "x.mha"))
    read_volume(tmp_path / "x.mha")
    child = GUARD._child.pid
    for _ in range(20):
        read_volume(tmp_path / "x.mha")
    assert GUARD._child.pid == child
