"""The pseudo-label microscope: what it keeps of a real run, when it looks, and what it costs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from maskmatch_med import service
from maskmatch_med.config import TrainConfig
from maskmatch_med.data.cache import CachedCase
from maskmatch_med.errors import StudyError
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.methods import Objective, parse_recipe
from maskmatch_med.nets import build_network
from maskmatch_med.planning import Plan
from maskmatch_med.training.microscope import Microscope, Moment, read_snapshots, read_stack

SHORT = {"iterations": 14, "device": "cpu", "checkpoint_seconds": 1e-3}


def objective_of(study: Path, method: str = "maskmatch") -> Objective:
    return Objective(parse_recipe(method), Plan.load(study / "plan.json"), TrainConfig(device="cpu"))


def scan(name: str, plan: Plan, labelled: bool) -> CachedCase:
    """A scan whose structure lies at three quarters of each edge."""
    rng = np.random.default_rng(len(name))
    shape = tuple(2 * n for n in plan.patch_vox)
    place = np.array([[3 * n // 4 for n in shape]], np.int32)
    labels = np.full(shape, 0 if labelled else UNJUDGED, np.uint8)
    voxels = {0: np.zeros_like(place), 1: place} if labelled else {}
    return CachedCase(name, None, rng.normal(size=(1, *shape)).astype(np.float32), labels, voxels, labelled)


def microscope(study: Path, folder: Path) -> tuple[Microscope, torch.nn.Module]:
    objective = objective_of(study)
    unlabelled = [scan(f"u{number}", objective.plan, labelled=False) for number in range(5)]
    made = Microscope(folder, objective, [scan("l", objective.plan, labelled=True)], unlabelled)
    torch.manual_seed(0)
    return made, build_network(objective.plan).eval()


def test_a_run_leaves_small_files_of_the_same_places(tiny_study):
    service.train(tiny_study, TrainConfig(**SHORT), service.TrainRequest(name="m"))
    folder = tiny_study / "models" / "m" / "microscope"
    snapshots = read_snapshots(folder)
    assert snapshots
    assert {path.suffix for path in folder.iterdir()} == {".json", ".npz"}
    names = [[glimpse.case for glimpse in snapshot.glimpses] for snapshot in snapshots]
    assert all(name == names[0] for name in names)
    assert len(set(names[0])) == 3
    plan = Plan.load(tiny_study / "models" / "m" / "plan.json")
    for glimpse in snapshots[-1].glimpses:
        assert sum(glimpse.classes.values()) == pytest.approx(1, abs=1e-3)
        assert set(glimpse.classes) == set(plan.label_names)
    stack = read_stack(folder, snapshots[-1].iteration, 0)
    assert stack.labels.shape == plan.patch_vox
    assert set(np.unique(stack.labels)) <= {*plan.label_names.values(), UNJUDGED}
    share = float((stack.confidence >= round(0.95 * 255)).mean())
    assert share == pytest.approx(snapshots[-1].glimpses[0].confident, abs=0.02)

    seen = service.microscope(tiny_study, "m")
    assert [snapshot.iteration for snapshot in seen.snapshots] == [snapshot.iteration for snapshot in snapshots]
    first = snapshots[0]
    for layer in ("labels", "confidence"):
        picture = service.microscope_picture(tiny_study, "m", first.iteration, names[0][0], 3, layer)
        assert picture.startswith(b"\x89PNG")
    with pytest.raises(StudyError, match="has not looked at 'nobody'"):
        service.microscope_picture(tiny_study, "m", first.iteration, "nobody", 3, "labels")
    (folder / f"{first.iteration:08d}.npz").write_bytes(b"PK")
    with pytest.raises(StudyError, match="is damaged at iteration"):
        service.microscope_picture(tiny_study, "m", first.iteration, names[0][0], 3, "labels")


def test_supervised_training_has_none(tiny_study):
    service.train(tiny_study, TrainConfig(method="supervised", **SHORT), service.TrainRequest(name="s"))
    assert not (tiny_study / "models" / "s" / "microscope").exists()
    assert service.microscope(tiny_study, "s").snapshots == ()


def test_it_looks_where_structures_lie_in_the_labelled_scans(planned_study, tmp_path):
    made, teacher = microscope(planned_study, tmp_path)
    made.look(teacher, Moment(1, 100.0, 0.1))
    plan = made.objective.plan
    again, _ = microscope(planned_study, tmp_path)
    for place, same in zip(made._places, again._places, strict=True):
        assert place.case.name == same.case.name
        np.testing.assert_array_equal(place.centre, same.centre)
        np.testing.assert_array_equal(place.centre, [3 * n // 2 for n in plan.patch_vox])
    place = made._places[0]
    shown = read_stack(tmp_path, 1, 0).image.astype(float).ravel()
    low, high = (np.array(place.centre) + side * (np.array(plan.patch_vox) // 2) for side in (-1, 1))
    real = place.case.image[0][tuple(slice(a, b) for a, b in zip(low, high, strict=True))].ravel()
    assert np.corrcoef(shown, real)[0, 1] > 0.98


def test_it_looks_about_ten_times_and_puts_off_what_costs_too_much(planned_study, tmp_path):
    made, teacher = microscope(planned_study, tmp_path / "slow")
    for iteration in range(1, 201):
        made.look_when_due(teacher, Moment(iteration, 1e4 * iteration, iteration / 200))
    made.look_last(teacher, Moment(200, 2e6, 1.0))
    snapshots = read_snapshots(tmp_path / "slow")
    assert 10 <= len(snapshots) <= 12
    assert snapshots[-1].iteration == 200
    assert [s.teaches for s in snapshots] == [s.progress >= 0.7 for s in snapshots]
    assert any(s.progress == 0.7 for s in snapshots)

    hurried, _ = microscope(planned_study, tmp_path / "quick")
    for iteration in range(1, 201):
        hurried.look_when_due(teacher, Moment(iteration, 1e-3 * iteration, iteration / 200))
    assert len(read_snapshots(tmp_path / "quick")) == 1


def test_resuming_keeps_what_was_seen_before_and_drops_what_came_after(planned_study, tmp_path):
    made, teacher = microscope(planned_study, tmp_path)
    for iteration in (10, 20, 30):
        made.look(teacher, Moment(iteration, 1e6, iteration / 40))
    (tmp_path / "00000005.json").write_text("{")
    resumed, _ = microscope(planned_study, tmp_path)
    resumed.begin(Moment(20, 1e6, 0.5))
    assert [snapshot.iteration for snapshot in read_snapshots(tmp_path)] == [10, 20]
    assert not (tmp_path / "00000030.npz").exists()
    resumed.look_when_due(teacher, Moment(21, 1e6, 0.51))
    assert [snapshot.iteration for snapshot in read_snapshots(tmp_path)] == [10, 20]
    resumed.look_when_due(teacher, Moment(22, 1e6, 0.56))
    assert [snapshot.iteration for snapshot in read_snapshots(tmp_path)] == [10, 20, 22]


def test_thick_slices_are_looked_at_across_and_stacks_stay_small(planned_study, tmp_path):
    made, teacher = microscope(planned_study, tmp_path)
    plan = made.objective.plan.model_copy(update={"spacing_mm": (5.0, 1.0, 1.0)})
    made.objective.plan = plan
    made.look(teacher, Moment(1, 1e6, 0.5))
    (snapshot,) = read_snapshots(tmp_path)
    assert {glimpse.axis for glimpse in snapshot.glimpses} == {0}
    assert json.loads((tmp_path / "00000001.json").read_text())["glimpses"][0]["spacing_mm"] == [5.0, 1.0, 1.0]
