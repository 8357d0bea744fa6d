"""log.jsonl and TensorBoard."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from maskmatch_med.training.log import RunLog, read_log


def line(iteration: int, **more) -> dict:
    return {"iteration": iteration, "seconds": iteration / 2, "loss": 1 / iteration, **more}


def written(folder: Path, iterations: range, first: int = 0) -> None:
    log = RunLog(folder, first)
    for iteration in iterations:
        log.write(line(iteration))
    log.close()


def test_lines_can_be_read_while_the_run_goes_on(tmp_path):
    log = RunLog(tmp_path, 0)
    log.write(line(1, val_dice={"liver": 0.5}))
    assert read_log(tmp_path / "log.jsonl") == [line(1, val_dice={"liver": 0.5})]
    log.close()


def test_no_file_no_lines(tmp_path):
    assert read_log(tmp_path / "log.jsonl") == []


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_last_line_cut_short_is_left_out(tmp_path, cut):
    written(tmp_path, range(1, 4))
    path = tmp_path / "log.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    expected = [line(1), line(2)] if cut > 1 else [line(1), line(2), line(3)]
    assert read_log(path) == expected


def test_a_resumed_run_drops_what_it_will_write_again(tmp_path):
    written(tmp_path, range(1, 10))
    path = tmp_path / "log.jsonl"
    path.write_text(path.read_text() + '{"iteration": 10, "sec')
    written(tmp_path, range(6, 8), first=5)
    assert [entry["iteration"] for entry in read_log(path)] == [1, 2, 3, 4, 5, 6, 7]
    assert all(json.loads(text) for text in path.read_text().splitlines())


def test_a_fresh_run_starts_a_fresh_log(tmp_path):
    written(tmp_path, range(1, 4))
    written(tmp_path, range(1, 2))
    assert read_log(tmp_path / "log.jsonl") == [line(1)]


def test_tensorboard_gets_every_number_by_name(tmp_path):
    log = RunLog(tmp_path, 0)
    log.write(line(3, learning_rate=0.25, note="text is left out"))
    log.write({"iteration": 4, "seconds": 2.0, "val_dice": {"liver": 0.5, "spleen": 0.75}})
    log.close()
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert sorted(board.Tags()["scalars"]) == ["learning_rate", "loss", "val_dice/liver", "val_dice/spleen"]
    events = {name: [(e.step, e.value) for e in board.Scalars(name)] for name in board.Tags()["scalars"]}
    assert events["learning_rate"] == [(3, 0.25)]
    assert events["val_dice/spleen"] == [(4, 0.75)]


def test_tensorboard_forgets_what_a_resumed_run_writes_again(tmp_path):
    written(tmp_path, range(1, 10))
    time.sleep(1)  # TensorBoard reads files in the order of the seconds in their names
    written(tmp_path, range(6, 8), first=5)
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [event.step for event in board.Scalars("loss")] == [1, 2, 3, 4, 5, 6, 7]
