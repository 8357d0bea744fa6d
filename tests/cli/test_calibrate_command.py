"""``maskmatch calibrate``: what it prints, and what it refuses with one sentence."""

from __future__ import annotations

import csv
import json

import pytest

from maskmatch_med import service
from maskmatch_med.phantom import PhantomOptions, write_phantom
from maskmatch_med.study import ImportOptions


def test_help_shows_an_example(run):
    outcome = run("calibrate", "--help")
    assert outcome.code == 0
    assert "Example: maskmatch calibrate " in " ".join(outcome.out.split())
    for option in ("--splits", "--part", "--first", "--last", "--only", "--validation", "--scales", "--device"):
        assert option in outcome.out


def test_from_held_out_scans_to_the_columns_of_a_summary(run, places):
    splits = places.source / "splits.json"
    words = ["calibrate", places.model, places.source, places.source, "--splits", splits, "--last", "3"]
    outcome = run(*words)
    assert outcome.code == 0, outcome.err
    found = json.loads((places.model / "calibration.json").read_text())
    assert found["scans"] == 3
    printed = " ".join(outcome.out.split())
    assert f"{found['temperature']:.3f}" in printed
    assert f"{found['confidence']['before']:.4f} before, {found['confidence']['after']:.4f} after" in printed
    assert "of at least 10 scans, so the expected Dice is for ranking only" in printed
    assert "calibration.json" in printed
    assert run("predict", places.model, places.scans, "-o", places.tmp / "out").code == 0
    assert run("predict", places.model, places.scans, "-o", places.tmp / "plain", "--plain").code == 0
    heads = {}
    for name in ("out", "plain"):
        with (places.tmp / name / "summary.csv").open(newline="") as stream:
            heads[name] = next(csv.reader(stream))
    assert "dice_expected" in heads["out"]
    assert "dice_low" not in heads["out"]
    assert "dice_expected" not in heads["plain"]


def test_names_can_be_given_one_by_one(run, places):
    words = ["calibrate", places.model, places.source, places.source, "--only", "phantom_004, phantom_002"]
    assert run(*words).code == 0
    with (places.model / "calibration_scans.csv").open(newline="") as stream:
        assert [row["case"] for row in csv.DictReader(stream)] == ["phantom_004", "phantom_002"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--only", "phantom_000"], "learnt from the labels of 1 of the 1 scans (phantom_000)"),
        ([], "learnt from the labels of 2 of the 7 scans (phantom_000, phantom_001)"),
        (["--last", "2"], "--first and --last need --splits"),
        (["--validation"], "held no scan out"),
        (["--validation", "--only", "phantom_004"], "one of --splits, --only and --validation"),
        (["--only", "phantom_099"], "no scan for phantom_099"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(run, places, words, told):
    outcome = run("calibrate", places.model, places.source, places.source, *words)
    assert outcome.code == 2
    assert told in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert not (places.model / "calibration.json").exists()


def test_a_damaged_record_is_named(run, places):
    (places.model / "calibration.json").write_text("{")
    outcome = run("predict", places.model, places.scans, "-o", places.tmp / "out")
    assert outcome.code == 2
    assert "calibration.json" in outcome.err
    assert "maskmatch calibrate" in outcome.err


def test_a_training_with_held_out_scans_names_the_command_that_calibrates_on_them(run, tmp_path):
    source = write_phantom(tmp_path / "source", PhantomOptions(scans=10, labelled=10, test=1, shape=(20, 20, 20)))
    study = tmp_path / "study"
    service.import_scans(source, study, ImportOptions(splits=source / "splits.json"))
    service.plan_study(study, "quick", "cpu", {"patch_vox": "[16, 16, 16]", "network.features": "[4, 8, 8]"})
    trained = run("train", study, "--method", "supervised", "--preset", "quick", "--iterations", "3")
    (line,) = [line for line in trained.out.splitlines() if line.startswith("Its confidence: ")]
    outcome = run(*line.removeprefix("Its confidence: maskmatch ").split())
    assert outcome.code == 0, outcome.err
    (entry,) = json.loads((study / "models" / "supervised" / "labels.json").read_text())
    with (study / "models" / "supervised" / "calibration_scans.csv").open(newline="") as stream:
        assert [row["case"] for row in csv.DictReader(stream)] == sorted(entry["held_out"])
