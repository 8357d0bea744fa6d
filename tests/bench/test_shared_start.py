"""A shared start saves time and changes nothing: a recipe ends with the weights it would have come to by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file

from maskmatch_med.bench.cell import model_of, read_result, run_cell
from maskmatch_med.bench.prepare import prepare_study, study_of
from maskmatch_med.bench.shared_start import shared_iterations, shared_settings
from maskmatch_med.config import TrainConfig
from maskmatch_med.methods import ScaleReliability
from maskmatch_med.nets import ModelFolder
from tests.bench.test_bench import design_of, silent

HALF = {"labelled_batch": "1", "unlabelled_batch": "1", "unlabelled.start": "0.5"}


@pytest.mark.parametrize("restart", ["0", "0.5"])
def test_recipes_go_on_from_one_state_to_the_weights_of_their_own(
    restart: str, phantom_source: Path, tmp_path: Path
) -> None:
    found, settings = {}, {**HALF, "optimiser.restart": restart}
    for shared in (False, True):
        root = tmp_path / f"shared{shared}"
        design = design_of(phantom_source, "supervised,fixmatch", 6, settings=settings, shared_start=shared).keep_in(
            root
        )
        prepare_study(root, design, design.labelled[0], silent)
        for cell in design.cells():
            assert run_cell(root, design, cell, "cpu", lambda: False)
            found[shared, cell.variant.name] = load_file(model_of(root, cell).weights_path)
            result = read_result(root, cell)
            assert result is not None
            assert result["iterations"] == 6
    for name in ("supervised", "fixmatch"):
        alone, together = found[False, name], found[True, name]
        assert all((alone[key] == together[key]).all() for key in alone), name
    models = study_of(tmp_path / "sharedTrue", design.labelled[0]) / "models"
    (start,) = (ModelFolder(path) for path in models.glob("start_s0_3of6_*") if path.is_dir())
    assert start.metrics()["iterations"] == 3
    assert not start.metrics()["finished"]


def test_a_start_that_was_stopped_is_gone_on_with(phantom_source: Path, tmp_path: Path) -> None:
    root = tmp_path / "bench"
    design = design_of(phantom_source, "fixmatch+multiscale", 12, settings=HALF, shared_start=True).keep_in(root)
    prepare_study(root, design, design.labelled[0], silent)
    cell = next(design.cells())
    steps = iter(range(1000))
    assert not run_cell(root, design, cell, "cpu", lambda: next(steps) > 4)
    assert not model_of(root, cell).state_path.exists()
    assert run_cell(root, design, cell, "cpu", lambda: False)
    lines = [json.loads(line) for line in model_of(root, cell).log_path.read_text().splitlines()]
    assert [line["iteration"] for line in lines if "loss" in line] == sorted({line["iteration"] for line in lines})
    assert lines[0]["iteration"] <= 6, "the curve begins with the start"


@pytest.mark.parametrize(
    ("method", "settings", "alike"),
    [
        ("supervised", {}, 40),
        ("maskmatch", {}, 40),
        ("maskmatch", {"pseudo_labels.train_scales": True}, 0),
        ("fixmatch", {"pseudo_labels.train_scales": True}, 40),
        ("bcp", {}, 0),
        ("cps", {}, 0),
    ],
)
def test_only_what_is_alike_is_shared(method: str, settings: dict[str, bool], alike: int) -> None:
    config = TrainConfig(method=method, iterations=100).override({"unlabelled.start": 0.4, **settings})
    assert shared_iterations(config) == alike
    assert shared_iterations(config.model_copy(update={"iterations": None, "minutes": 1.0})) == 0


def test_a_start_belongs_to_the_settings_it_was_trained_under() -> None:
    base = TrainConfig(method="maskmatch", iterations=100)
    for later in ({"method": "fixmatch"}, {"pseudo_labels.threshold": 0.8}, {"unlabelled.masked_weight": 0.5}):
        assert shared_settings(base.override(later)) == shared_settings(base)
    for sooner in ({"ema_decay": 0.9}, {"seed": 1}, {"optimiser.learning_rate": 1e-4}, {"unlabelled.start": 0.3}):
        assert shared_settings(base.override(sooner)) != shared_settings(base)


def test_counts_of_other_scales_say_nothing() -> None:
    three, one = ScaleReliability((0.7, 1.0, 1.5), 3), ScaleReliability((1.0,), 3)
    one.recall(torch.ones_like(three.counts))
    assert not one.counts.any()
    one.recall(torch.ones_like(one.counts))
    assert one.counts.all()
