"""A benchmark on generated scans: cells in processes of their own, stopped, killed, gone on with, grown."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file

from maskmatch_med import service
from maskmatch_med.bench import BenchRequest, Design, LabelBudget, Variant, run_bench
from maskmatch_med.bench.cell import cell_folder, check_scored, model_of, read_result, run_cell
from maskmatch_med.bench.prepare import prepare_study
from maskmatch_med.bench.runs import Run
from maskmatch_med.bench.summary import table, write_results
from maskmatch_med.cli.app import main
from maskmatch_med.errors import InputError, TrainingError
from maskmatch_med.study import Study

PLAN = {"patch_vox": "[16, 16, 16]", "network.features": "[4, 8, 8]"}
QUICK = {"labelled_batch": "1", "unlabelled_batch": "1", "unlabelled.start": "0.2"}


def silent(done: int, total: int, name: str) -> None:
    """Show nothing."""


def design_of(source: Path, recipes: str, iterations: int = 4, **changes) -> Design:
    values = {
        "data": source,
        "splits": source / "splits.json",
        "labelled": (LabelBudget(scans=2),),
        "variants": tuple(Variant.parse(name) for name in recipes.split(",")),
        "seeds": (0,),
        "iterations": iterations,
        "preset": "quick",
        "settings": QUICK,
        "plan": PLAN,
    }
    return Design(**(values | changes))


def digest(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "log.txt")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_cells_become_rows_a_table_and_pictures(phantom_source: Path, tmp_path: Path) -> None:
    root = tmp_path / "bench"
    design = design_of(phantom_source, "supervised,cps").keep_in(root)
    prepare_study(root, design, design.labelled[0], silent)
    supervised, cps = design.cells()
    assert run_cell(root, design, supervised, "cpu", lambda: False)
    steps = iter(range(100))
    assert not run_cell(root, design, cps, "cpu", lambda: next(steps) > 7), "asked to stop"
    assert read_result(root, cps) is None
    assert "1 of 2 trainings are finished" in write_results(root, design).read_text()
    before = digest(cell_folder(root, supervised))
    assert all(run_cell(root, design, cell, "cpu", lambda: False) for cell in design.cells())
    assert digest(cell_folder(root, supervised)) == before
    text = write_results(root, design).read_text()
    assert "2 of 2 trainings are finished" in text
    assert "`cps` − `supervised`" in text
    with (root / "cases.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["recipe"], row["case"]) for row in rows} == {
        (name, case) for name in ("supervised", "cps") for case in design.scored_cases()
    }
    for row in rows:
        structures = [float(row[key]) for key in row if key.startswith("dice ") and row[key]]
        assert float(row["dice"]) == pytest.approx(sum(structures) / len(structures), abs=1e-5)
        assert row["iterations"] == "4"
    figures = {path.name for path in (root / "figures").iterdir()}
    assert figures == {f"2_4iterations_{name}.png" for name in ("curves", "worst", "median")}, "of two scans"


def test_predictions_are_of_the_scales_asked_for(phantom_source: Path, tmp_path: Path) -> None:
    settings = {"labelled_batch": "2", "optimiser.learning_rate": "0.01", "ema_decay": "0.9"}
    design = design_of(phantom_source, "supervised", 30, settings=settings, scales=(1.0,)).keep_in(tmp_path / "bench")
    prepare_study(tmp_path / "bench", design, design.labelled[0], silent)
    cell = next(design.cells())
    assert run_cell(tmp_path / "bench", design, cell, "cpu", lambda: False)
    assert "Predictions are of scale 1." in write_results(tmp_path / "bench", design).read_text()
    names = design.scored_cases()
    scored = [labels_of(cell_folder(tmp_path / "bench", cell) / "predictions" / f"{name}.nii.gz") for name in names]

    def predicted(scales: tuple[float, ...] | None) -> list[np.ndarray]:
        request = service.PredictRequest(only=names, device="cpu", scales=scales)
        model, out = model_of(tmp_path / "bench", cell), tmp_path / f"{scales}"
        return [labels_of(path) for path in service.predict(model, phantom_source, out, request)]

    assert all(map(np.array_equal, scored, predicted((1.0,))))
    assert not any(map(np.array_equal, scored, predicted(None))), "the preset's scales give other labels"


def labels_of(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def test_a_few_slices_of_each_scan_are_judged(phantom_source: Path, tmp_path: Path) -> None:
    labelled = LabelBudget.parse("2x3")
    design = design_of(phantom_source, "supervised", labelled=(labelled,)).keep_in(tmp_path)
    study = prepare_study(tmp_path, design, labelled, silent)
    cases = Study.open(study).labelled_cases()
    assert [case.judged for case in cases] == ["partial", "partial"]
    for case in cases:
        judged = case.read_label().array != 255
        assert 3 in [judged.any(axes).sum() for axes in ((0, 1), (0, 2), (1, 2))]
    again = prepare_study(tmp_path, design, labelled, silent)
    assert again == study


def test_label_counts_stand_side_by_side(tmp_path: Path, phantom_source: Path) -> None:
    """Scores that a hand wrote: 2 seeds at one label count, 1 at the other."""
    counts = (LabelBudget(scans=1), LabelBudget(scans=2))
    design = design_of(phantom_source, "supervised", labelled=counts, seeds=(0, 1))
    runs = []
    for cell, dice in zip(design.cells(), (0.5, 0.7, 0.6), strict=False):
        row = {"case": "t", "structure": "liver", "dice": dice, "nsd": 0.5, "hd95_mm": 2.0, "assd_mm": 1.0}
        runs.append(Run(cell, {"iterations": 4, "seconds": 30.0, "device": "cpu", "rows": [row]}))
    text = table(design, runs)
    assert "3 of 4 trainings are finished" in text
    assert "| recipe | 1 | 2 |" in text
    assert "| `supervised` | 0.5500 ± 0.0707 | 0.7000 |" in text
    assert (
        "| `supervised` | 2 | 0.5500 ± 0.0707 | 0.500 ± 0.000 | 2.00 ± 0.00 | 1.00 ± 0.00 | 4 ± 0 | 0.5 ± 0.0 |" in text
    )


def test_a_cell_that_fails_is_named_and_the_others_are_finished(phantom_source: Path, tmp_path: Path) -> None:
    wild = "wild=supervised;optimiser.learning_rate=1e30;optimiser.gradient_clip=1e30"
    root = tmp_path / "bench"
    design = design_of(phantom_source, f"{wild},supervised", iterations=3).keep_in(root)
    prepare_study(root, design, design.labelled[0], silent)
    supervised = next(cell for cell in design.cells() if cell.variant.name == "supervised")
    assert run_cell(root, design, supervised, "cpu", lambda: False)
    before = digest(cell_folder(root, supervised))
    done: list[str] = []
    request = BenchRequest(("cpu",), 2, lambda finished, total, name: done.append(f"{finished}/{total} {name}"))
    with pytest.raises(TrainingError, match=r"(?s)1 cells .*2_wild_s0_3iterations: the loss is not finite.*/log\.txt"):
        run_bench(root, design, request)
    assert digest(cell_folder(root, supervised)) == before
    assert "1 of 2 trainings are finished" in (tmp_path / "bench" / "table.md").read_text()
    assert "not finite" in (tmp_path / "bench" / "cells" / "2_wild_s0_3iterations" / "log.txt").read_text()
    assert done == ["1/2 ", "2/2 2_wild_s0_3iterations"]


def test_the_command_refuses_a_wrong_word(phantom_source: Path, tmp_path: Path, capsys) -> None:
    words = ["bench", str(phantom_source), str(tmp_path / "out"), "--splits", str(phantom_source / "splits.json")]
    for more, told in (
        (["--recipes", "maskmach", "--iterations", "1"], "unknown method"),
        (["--labelled", "two", "--iterations", "1"], "--labelled takes numbers"),
        (["--seeds", "a", "--iterations", "1"], "--seeds takes whole numbers"),
        ([], "--iterations, --minutes"),
        (["--iterations", "1", "--devices", "tpu"], "tpu"),
    ):
        assert main([*words, *more]) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_wrong_word_of_the_plan_or_a_missing_scan_is_told_before_and_the_corrected_command_runs(
    phantom_source: Path, tmp_path: Path, capsys
) -> None:
    root, splits = tmp_path / "out", tmp_path / "splits.json"
    listed = json.loads((phantom_source / "splits.json").read_text())
    splits.write_text(json.dumps(listed | {"test": [*listed["test"], "nobody"]}))
    words = ["bench", str(phantom_source), str(root), "--labelled", "1", "--iterations", "1", "--preset", "quick"]
    words += [item for key, value in PLAN.items() for item in ("--plan", f"{key}={value}")]
    words += ["--recipes", "supervised", "--scales", "1"]
    assert main([*words, "--splits", str(splits)]) == 2
    assert "no scan for nobody" in capsys.readouterr().err
    assert not root.exists()
    assert main([*words, "--splits", str(phantom_source / "splits.json"), "--plan", "nosuch=3"]) == 2
    assert "nosuch" in capsys.readouterr().err
    assert main([*words, "--splits", str(phantom_source / "splits.json"), "--labelled", "2"]) == 0
    assert "1 of 1 trainings are finished" in (root / "table.md").read_text()


def test_labels_to_score_on_may_be_turned_but_not_lie_elsewhere(phantom_source: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(phantom_source, tmp_path / "source"))
    name = json.loads((source / "splits.json").read_text())["test"][0]
    path = next(source.glob(f"labels*/{name}.nii.gz"))
    label = nib.load(path)
    turned = label.as_reoriented(nib.orientations.axcodes2ornt(("P", "S", "L")))
    nib.save(turned, path)
    check_scored(design_of(source, "supervised"))
    turned.affine[:3, 3] += 50
    nib.save(nib.Nifti1Image(np.asarray(turned.dataobj), turned.affine), path)
    with pytest.raises(InputError, match=f"{name}.nii.gz does not lie on the grid of its scan"):
        check_scored(design_of(source, "supervised"))


def wait_for(what: Callable[[], bool], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)


@pytest.mark.proof
def test_killed_at_any_moment_it_goes_on_to_the_same_bits(phantom_source: Path, tmp_path: Path) -> None:
    """``kill -9`` of the command and of its trainings, twice, against a benchmark that nobody disturbed."""
    recipes, iterations = "supervised,maskmatch,cps", 100
    words = [sys.executable, "-c", "from maskmatch_med.cli import main; main()", "bench", str(phantom_source)]
    options = ["--splits", str(phantom_source / "splits.json"), "--labelled", "2", "--recipes", recipes]
    options += ["--iterations", str(iterations), "--preset", "quick", "--devices", "cpu"]
    for key, value in {**QUICK, "checkpoint_seconds": "0.2"}.items():
        options += ["--set", f"{key}={value}"]
    for key, value in PLAN.items():
        options += ["--plan", f"{key}={value}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start(root: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*words, str(root), *options], env=environment, stdout=subprocess.DEVNULL)

    whole, root = tmp_path / "whole", tmp_path / "killed"
    assert start(whole).wait() == 0
    design = Design.load(whole)
    supervised, maskmatch, cps = design.cells()

    bench = start(root)
    wait_for(model_of(root, maskmatch).state_path.exists)
    family = psutil.Process(bench.pid).children(recursive=True)
    os.kill(bench.pid, signal.SIGKILL)
    bench.wait()
    for child in family:
        if child.is_running():
            child.kill()
    assert read_result(root, maskmatch) is None
    finished = digest(cell_folder(root, supervised))
    assert "result.json" in finished

    bench = start(root)
    wait_for(model_of(root, cps).state_path.exists)
    orphans = psutil.Process(bench.pid).children(recursive=True)
    os.kill(bench.pid, signal.SIGKILL)
    bench.wait()
    wait_for(lambda: not any(child.is_running() and child.status() != "zombie" for child in orphans))
    assert digest(cell_folder(root, supervised)) == finished, "a finished cell is never done again"

    assert start(root).wait() == 0
    assert digest(cell_folder(root, supervised)) == finished
    for cell in design.cells():
        ours, theirs = load_file(model_of(root, cell).weights_path), load_file(model_of(whole, cell).weights_path)
        assert all((ours[name] == theirs[name]).all() for name in theirs), cell.key
        found, expected = read_result(root, cell), read_result(whole, cell)
        assert found is not None
        assert expected is not None
        assert found["rows"] == expected["rows"]
