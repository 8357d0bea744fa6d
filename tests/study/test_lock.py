"""The lock: exclusive among the living, taken over from the dead."""

from __future__ import annotations

import json
import os
import platform
import threading
import time

import psutil
import pytest

from maskmatch_med.errors import StudyError
from maskmatch_med.study import FolderLock
from maskmatch_med.study import lock as lock_module


def _write(path, **changes):
    record = {
        "pid": os.getpid(),
        "create_time": psutil.Process().create_time(),
        "host": platform.node(),
        "purpose": "p",
    }
    path.write_text(json.dumps(record | changes))


def test_it_can_be_entered_again_and_is_gone_afterwards(tmp_path):
    lock = FolderLock(tmp_path / ".lock", "testing")
    with lock.held() as outer, lock.held() as inner:
        assert (outer, inner) == (True, False)
        assert lock.holder()["pid"] == os.getpid()
    assert not lock.path.exists()


def test_another_holder_has_to_wait(tmp_path):
    first, second = (FolderLock(tmp_path / ".lock", "training") for _ in range(2))
    message = rf"in use: process {os.getpid()} .* is training"
    with first.held(), pytest.raises(StudyError, match=message), second.held(0.1):
        pytest.fail("both hold the lock")
    with second.held(0.1) as outermost:
        assert outermost


def test_threads_take_turns(tmp_path):
    lock, inside, most = FolderLock(tmp_path / ".lock", "testing"), [], []

    def work():
        with lock.held():
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.01)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 5


@pytest.mark.parametrize("changes", [{"pid": 2**22 + 1}, {"create_time": 1.0}, {"pid": "nonsense"}])
def test_the_lock_of_a_dead_process_is_taken_over(tmp_path, changes):
    _write(tmp_path / ".lock", **changes)
    lock = FolderLock(tmp_path / ".lock", "testing")
    assert lock.holder() is None
    with lock.held(0.1):
        assert lock.holder()["purpose"] == "testing"
    assert list(tmp_path.iterdir()) == []


def test_a_lock_from_another_computer_is_respected(tmp_path):
    _write(tmp_path / ".lock", host="elsewhere", pid=1)
    lock = FolderLock(tmp_path / ".lock", "testing")
    assert not lock.remove_if_dead()
    with pytest.raises(StudyError, match="on elsewhere"), lock.held(0.1):
        pytest.fail("the lock was taken")


def test_a_lock_of_another_computer_without_a_heartbeat_is_taken_over(tmp_path):
    _write(tmp_path / ".lock", host="elsewhere", pid=1)
    lock = FolderLock(tmp_path / ".lock", "testing")
    for age, holder in ((50, True), (70, False)):
        os.utime(lock.path, (time.time() - age,) * 2)
        assert (lock.holder() is not None) == holder
    with lock.held(0.1):
        assert lock.holder()["purpose"] == "testing"
    assert list(tmp_path.iterdir()) == []


def test_the_holder_renews_its_file_until_it_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(lock_module, "HEARTBEAT_S", 0.02)
    before = threading.active_count()
    lock = FolderLock(tmp_path / ".lock", "testing")
    with lock.held():
        os.utime(lock.path, (1, 1))
        end = time.monotonic() + 10
        while lock.path.stat().st_mtime < time.time() - 30 and time.monotonic() < end:
            time.sleep(0.01)
        assert lock.path.stat().st_mtime > time.time() - 30
    assert threading.active_count() == before


def test_a_lock_that_another_took_over_is_left_to_it(tmp_path, monkeypatch):
    monkeypatch.setattr(lock_module, "HEARTBEAT_S", 0.01)
    lock = FolderLock(tmp_path / ".lock", "testing")
    with lock.held():
        _write(lock.path, host="elsewhere")
        os.utime(lock.path, (1, 1))
        time.sleep(0.1)
        assert lock.path.stat().st_mtime == 1
    assert json.loads(lock.path.read_text())["host"] == "elsewhere"


def test_who_waits_is_told_for_whom_once(tmp_path):
    told = []
    first, second = (FolderLock(tmp_path / ".lock", "preparing a scan") for _ in range(2))
    with first.held(), pytest.raises(StudyError), second.held(0.3, told.append):
        pytest.fail("both hold the lock")
    assert told == [f"process {os.getpid()} on {platform.node()} is preparing a scan"]
    with second.held(0.1, told.append):
        pass
    assert len(told) == 1


def test_an_empty_lock_is_left_alone_until_it_is_old(tmp_path):
    lock = FolderLock(tmp_path / ".lock", "testing")
    lock.path.touch()
    with pytest.raises(StudyError, match="in use"), lock.held(0.1):
        pytest.fail("the lock was taken")
    os.utime(lock.path, (1, 1))
    with lock.held(0.1):
        pass
