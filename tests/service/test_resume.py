"""Interrupted and resumed, refused and locked, on time, and stopped by a loss that is not finite."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors.numpy import load_file

from maskmatch_med import service
from maskmatch_med.config import TrainConfig
from maskmatch_med.errors import InputError, StudyError, TrainingError
from maskmatch_med.methods import Objective
from maskmatch_med.nets import ModelFolder
from maskmatch_med.study import FolderLock
from maskmatch_med.training import read_log
from maskmatch_med.training.checkpoint import Checkpoint


def config(method: str = "maskmatch", iterations: int = 10) -> TrainConfig:
    """Unlabelled terms from iteration 2 on, scales measured every third iteration."""
    settings = {"unlabelled.start": 0.2, "pseudo_labels.measure_every": 3, "labelled_batch": 1, "unlabelled_batch": 1}
    return TrainConfig(method=method, iterations=iterations, checkpoint_seconds=1e6).override(settings)


RECIPES = (
    "supervised",
    "mean-teacher",
    "ua-mt",
    "unimatch",
    "cps+masked",
    "bcp",
    "maskmatch",
    "fixmatch+masked-labelled+entropy-weighting+copy-paste",
)


def name_of(method: str) -> str:
    return method.replace("+", "-")


def stop_after(steps: int) -> Callable[[], bool]:
    """Asks for a stop before step ``steps`` of the loop; what is asked while scans are prepared does not count."""
    asked = iter(range(steps + 1))

    def ask() -> bool:
        in_loop = any(Path(frame.filename).name == "loop.py" for frame in traceback.extract_stack())
        return in_loop and next(asked) >= steps

    return ask


def train(study: Path, name: str, method: str = "maskmatch", **request) -> ModelFolder:
    return service.train(study, config(method), service.TrainRequest(name=name, **request))


def refuse_difference(one: ModelFolder, other: ModelFolder) -> None:
    """Every bit of the weights and of the state is the same; only the seconds may differ."""
    a, b = load_file(one.weights_path), load_file(other.weights_path)
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[name], b[name]) for name in a)
    first, second = Checkpoint.load(one.state_path), Checkpoint.load(other.state_path)
    assert first.iteration == second.iteration
    assert torch.equal(first.scale_counts, second.scale_counts)
    for part in ("student", "teacher"):
        weights = getattr(second, part)
        assert all(torch.equal(value, weights[name]) for name, value in getattr(first, part).items())
    for key, moments in first.optimiser["state"].items():
        assert all(torch.equal(value, second.optimiser["state"][key][name]) for name, value in moments.items())


@pytest.fixture(scope="module")
def uninterrupted(planned_study, tmp_path_factory) -> dict[str, ModelFolder]:
    study = Path(shutil.copytree(planned_study, tmp_path_factory.mktemp("whole") / "study"))
    return {method: train(study, name_of(method), method) for method in RECIPES}


@pytest.mark.parametrize(
    ("method", "stops"),
    [(method, [4]) for method in RECIPES if method != "maskmatch"] + [("maskmatch", [1, 3]), ("maskmatch", [7])],
)
def test_a_resumed_run_gives_the_same_bits(tiny_study, uninterrupted, method, stops):
    for steps in stops:
        folder = train(tiny_study, "m", method, resume=True, stop_requested=stop_after(steps))
        assert not folder.metrics()["finished"]
        assert folder.weights_path.is_file()
        assert "stopped before its end" in folder.card_path.read_text()
    assert folder.metrics()["iterations"] == sum(stops)
    folder = train(tiny_study, "m", method, resume=True)
    assert folder.metrics()["finished"]
    assert folder.metrics()["iterations"] == 10
    refuse_difference(folder, uninterrupted[method])
    if method == "maskmatch":
        assert Checkpoint.load(folder.state_path).scale_counts.sum() > 0, "no scale was ever measured"


def test_a_resumed_run_says_that_labels_have_changed(tiny_study):
    train(tiny_study, "m", "supervised", stop_requested=stop_after(2))
    study = service.open_study(tiny_study)
    case = study.labelled_cases()[0]
    label = np.array(case.read_label().array)
    label[0, 0, 0] = 1
    study.add_label(case.name, label, source="human")
    told = []
    folder = train(tiny_study, "m", "supervised", resume=True, report=told.append)
    assert any("labels have changed" in event.get("text", "") for event in told)
    assert folder.metrics()["finished"]
    unchanged = []
    train(tiny_study, "n", "supervised", stop_requested=stop_after(2))
    train(tiny_study, "n", "supervised", resume=True, report=unchanged.append)
    assert not any("have changed" in event.get("text", "") for event in unchanged)


class Killed(BaseException):
    """Stands for a process that ends without saving."""


def test_steps_after_the_last_state_are_taken_again(tiny_study, uninterrupted):
    train(tiny_study, "m", stop_requested=stop_after(4))

    def kill_after(steps: int) -> Callable[[], bool]:
        stop = stop_after(steps)

        def ask() -> bool:
            if stop():
                raise Killed
            return False

        return ask

    with pytest.raises(Killed):
        train(tiny_study, "m", resume=True, stop_requested=kill_after(4))
    folder = ModelFolder(tiny_study / "models" / "m")
    assert Checkpoint.load(folder.state_path).iteration == 4
    refuse_difference(train(tiny_study, "m", resume=True), uninterrupted["maskmatch"])
    logged = [line["iteration"] for line in read_log(folder.log_path)]
    assert logged == sorted(set(logged))


def digest(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_resuming_a_finished_run_changes_nothing(tiny_study):
    folder = train(tiny_study, "m")
    before, told = digest(folder.root), []
    again = train(tiny_study, "m", resume=True, report=told.append)
    assert again.root == folder.root
    assert digest(folder.root) == before
    assert [event["event"] for event in told] == ["notice"]
    assert "finished already" in told[0]["text"]


def test_resuming_what_never_saved_starts_fresh(tiny_study, uninterrupted):
    folder = train(tiny_study, "new", resume=True)
    refuse_difference(folder, uninterrupted["maskmatch"])
    (tiny_study / "models" / "killed early").mkdir()
    (tiny_study / "models" / "killed early" / "log.jsonl").write_text('{"iteration": 9, "loss": 1')
    folder = train(tiny_study, "killed early", resume=True)
    refuse_difference(folder, uninterrupted["maskmatch"])
    assert read_log(folder.log_path)[0]["iteration"] == 1


def test_a_resumed_run_keeps_its_plan_and_settings(tiny_study, uninterrupted):
    train(tiny_study, "m", stop_requested=stop_after(2))
    service.plan_study(tiny_study, "quick", "cpu", {"batch_size": 1, "network.features": "[4, 4, 4]"})
    other = TrainConfig(method="supervised", iterations=3, seed=9)
    folder = service.train(tiny_study, other, service.TrainRequest(name="m", resume=True))
    refuse_difference(folder, uninterrupted["maskmatch"])


def test_an_existing_name_is_refused(tiny_study):
    folder = train(tiny_study, "m", stop_requested=stop_after(1))
    before = digest(tiny_study)
    with pytest.raises(StudyError, match=r"model named 'm' is already in .*--resume"):
        train(tiny_study, "m")
    assert digest(tiny_study) == before
    assert not folder.metrics()["finished"]


@pytest.mark.parametrize("name", ["../m", "a/b", "", "."])
def test_a_name_that_leaves_the_folder_is_refused(tiny_study, name):
    before = digest(tiny_study)
    with pytest.raises(InputError, match="cannot be a model's name"):
        service.train(tiny_study, config(), service.TrainRequest(name=name))
    assert digest(tiny_study) == before


def dead_lock(path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    record = {"pid": process.pid, "create_time": psutil.Process(process.pid).create_time(), "host": platform.node()}
    process.wait()
    path.write_text(json.dumps({**record, "purpose": "training m"}))


def test_a_dead_process_leaves_no_lock(tiny_study, uninterrupted):
    folder = train(tiny_study, "m", stop_requested=stop_after(2))
    dead_lock(folder.root / "lock")
    dead_lock(tiny_study / ".lock")
    refuse_difference(train(tiny_study, "m", resume=True), uninterrupted["maskmatch"])
    assert not (folder.root / "lock").exists()


def test_a_model_in_training_is_refused(tiny_study):
    folder = train(tiny_study, "m", stop_requested=stop_after(2))
    with FolderLock(folder.root / "lock", "training m").held():
        before = digest(tiny_study)
        with pytest.raises(StudyError, match="training m"):
            train(tiny_study, "m", resume=True)
        assert digest(tiny_study) == before
    assert train(tiny_study, "m", resume=True).metrics()["finished"]


def test_losing_a_race_for_a_name_leaves_the_winners_folder(tiny_study, monkeypatch):
    """Another process makes the folder and locks it between the look at the name and the lock."""
    folder = tiny_study / "models" / "m"
    made = Path.mkdir
    winner = ExitStack()

    def race(path, *args, **kwargs):
        made(path, *args, **kwargs)
        if path == folder:
            (folder / "winner.txt").write_text("mine")
            winner.enter_context(FolderLock(folder / "lock", "training m").held(timeout_s=0))

    monkeypatch.setattr(Path, "mkdir", race)
    with pytest.raises(StudyError, match="in use"):
        train(tiny_study, "m")
    assert (folder / "winner.txt").read_text() == "mine"
    winner.close()


def test_the_minutes_end_on_time(tiny_study):
    quick = config("supervised").model_copy(update={"iterations": None, "minutes": 0.06})
    began = time.monotonic()
    folder = service.train(tiny_study, quick, service.TrainRequest(name="m", began=began))
    taken = time.monotonic() - began
    assert taken < 3.6 + 1.0
    metrics = folder.metrics()
    assert metrics["finished"]
    assert 1.4 < metrics["seconds"] < 4.6
    assert metrics["iterations"] > 3


def test_the_minutes_count_from_the_commands_begin_and_over_all_sessions(tiny_study):
    quick = config("supervised").model_copy(update={"iterations": None, "minutes": 10.0})
    request = service.TrainRequest(name="m", began=time.monotonic() - 300, stop_requested=stop_after(2))
    folder = service.train(tiny_study, quick, request)
    assert 300 < folder.metrics()["seconds"] < 330
    request = service.TrainRequest(name="m", resume=True, began=time.monotonic() - 299)
    folder = service.train(tiny_study, quick, request)
    assert folder.metrics()["finished"]
    assert 599 < folder.metrics()["seconds"] < 630
    assert folder.metrics()["iterations"] < 100


def test_a_loss_that_is_not_finite_names_the_scans_and_leaves_no_model(tiny_study):
    wild = config("supervised").override({"optimiser.learning_rate": 1e30, "optimiser.gradient_clip": 1e30})
    with pytest.raises(TrainingError, match=r"not finite at iteration \d+ \(supervised (nan|inf).*phantom_00[01]"):
        service.train(tiny_study, wild, service.TrainRequest(name="m"))
    assert not (tiny_study / "models" / "m").exists()


def test_a_loss_that_is_not_finite_keeps_the_last_state(tiny_study, monkeypatch):
    folder = train(tiny_study, "m", stop_requested=stop_after(6))
    before = folder.state_path.read_bytes()
    step = Objective.step

    def broken(self, *args):
        losses = step(self, *args)
        return type(losses)(losses.total * float("nan"), losses.parts)

    monkeypatch.setattr(Objective, "step", broken)
    with pytest.raises(TrainingError, match=r"iteration 6 .*confident.*phantom_00[01], phantom_00[234]"):
        train(tiny_study, "m", resume=True)
    assert folder.state_path.read_bytes() == before


def test_a_study_without_labels_is_refused(tiny_study):
    for folder in ("history", "labelsTr"):
        shutil.rmtree(tiny_study / folder)
        (tiny_study / folder).mkdir()
    service.repair_study(tiny_study)
    with pytest.raises(TrainingError, match=r"no label to learn from: 5 scans"):
        train(tiny_study, "m")
    assert not (tiny_study / "models" / "m").exists()


def test_a_state_of_another_network_is_refused(tiny_study):
    folder = train(tiny_study, "m", stop_requested=stop_after(2))
    service.plan_study(tiny_study, "quick", "cpu", {"patch_vox": "[16, 16, 16]", "network.features": "[4, 8, 16]"})
    (tiny_study / "plan.json").replace(folder.plan_path)
    before = digest(folder.root)
    with pytest.raises(StudyError, match=r"state\.pt belongs to another network"):
        train(tiny_study, "m", resume=True)
    assert digest(folder.root) == before


def test_an_impossible_device_is_refused_before_anything_is_made(tiny_study, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = digest(tiny_study)
    for device in ("tpu", "cuda:99", "cudas"):
        with pytest.raises(InputError, match=device):
            service.train(tiny_study, config().model_copy(update={"device": device}))
    assert digest(tiny_study) == before


def test_a_plan_for_other_labels_is_refused(tiny_study):
    path = tiny_study / "plan.json"
    content = json.loads(path.read_text())
    content["label_names"] = {"background": 0, "liver": 1}
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"plan\.json was made for other labels"):
        train(tiny_study, "m")


def test_starting_from_a_model_of_other_labels_is_refused(tiny_study):
    folder = train(tiny_study, "m", stop_requested=stop_after(1))
    content = json.loads(folder.plan_path.read_text())
    content["label_names"] = {name: value for value, name in enumerate(["background", "a", "b", "c", "d"])}
    folder.plan_path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"models/m segments .*train without --from"):
        train(tiny_study, "n", start_from=folder.root)
    assert not (tiny_study / "models" / "n").exists()


def test_no_memory_left_on_the_card_is_one_sentence(tiny_study, monkeypatch):
    """The real exception, raised where a step would raise it; no card is needed for that."""

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(Objective, "step", full)
    with pytest.raises(TrainingError, match=r"too little free memory for a step of this plan; set a smaller patch_vox"):
        train(tiny_study, "m")
    assert not (tiny_study / "models" / "m").exists()
