"""Every command does its work with exit code 0, and its help shows an example."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from maskmatch_med.config import TrainConfig
from maskmatch_med.nets import ModelFolder
from maskmatch_med.planning import Plan
from maskmatch_med.study import Study
from maskmatch_med.version import __version__

COMMANDS = (
    *("import", "get", "plan", "train", "predict", "calibrate", "evaluate", "report", "info"),
    *("check", "export", "doctor", "demo", "app"),
)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_shows_an_example(run, command, word):
    outcome = run(command, word)
    assert outcome.code == 0
    assert f"Example: maskmatch {command} " in " ".join(outcome.out.split()) + " "
    assert outcome.err == ""


def test_the_first_help_lists_every_command(run):
    outcome = run("--help")
    assert outcome.code == 0
    assert all(f" {command} " in outcome.out for command in COMMANDS)


def test_the_package_runs_as_the_command():
    ran = subprocess.run(
        [sys.executable, "-m", "maskmatch_med", "--version"], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == __version__


def test_options_of_the_help_exist(run):
    said = {
        "import": "--labels --label-names --channels --splits --labelled --group --link "
        "--resample --frames --magnitude --skip-broken",
        "train": "--method --preset --minutes --iterations --seed --device --name --config --set --from --resume",
        "predict": "--out --scales --mirror --uncertainty --probabilities --overlap --splits --part --device "
        "--keep-largest",
        "evaluate": "--out --nsd-mm --paper --label-names",
        "check": "--html --repair",
        "report": "--out --reference --images --nsd-mm",
        "export": "--format",
        "app": "--folder --port --browser",
        "plan": "--set",
    }
    for command, options in said.items():
        text = run(command, "--help").out
        assert [option for option in options.split() if option not in text] == [], command


def test_ctrl_c_is_said(run, places, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("maskmatch_med.service.info", interrupted)
    outcome = run("info", places.tmp)
    assert (outcome.code, outcome.err) == (130, "maskmatch: stopped\n")


def test_import_tells_what_it_did_and_what_is_next(run, places):
    words = ["import", places.source, places.tmp / "s", "--splits", places.source / "splits.json", "--labelled", "2"]
    first = run(*words)
    assert first.code == 0
    assert "5 scans added, 0 unchanged, 2 labels new, 2 left out (nnU-Net layout)" in first.out
    assert f"Next: maskmatch train {places.tmp / 's'}" in first.out
    assert "0 scans added, 5 unchanged, 0 labels new" in run(*words).out


def test_values_and_frames_are_chosen_by_name_and_number(run, tmp_path):
    (tmp_path / "in").mkdir()
    moving = np.random.default_rng(0).normal(size=(6, 5, 4, 3)).astype(np.float32)
    nib.save(nib.Nifti1Image(moving, np.eye(4)), tmp_path / "in/a.nii.gz")
    label = np.zeros((6, 5, 4), np.int16)
    label[1, 1, 1], label[2, 2, 2], label[3, 3, 3] = 17, 53, 1017
    nib.save(nib.Nifti1Image(label, np.eye(4)), tmp_path / "in/a_seg.nii.gz")
    words = ["import", tmp_path / "in", tmp_path / "s", "--frames", "all", "--label-names"]
    assert run(*words, "left=17+1017,right=fifty").code == 2
    assert run(*words, "left=17,left=53").code == 2
    assert run(*words, "left=17+1017,right=53").code == 0
    study = Study.open(tmp_path / "s")
    assert (study.label_names, len(study.channel_names)) == ({"background": 0, "left": 1, "right": 2}, 3)
    stored = study.case("a").read_label().array
    assert [int(stored[at, at, at]) for at in range(4)] == [0, 1, 2, 1]


def test_info_of_a_scan_a_folder_a_study_and_a_model(run, places):
    scan = sorted(places.scans.iterdir())[0]
    image = nib.load(scan)
    out = run("info", scan).out
    assert " × ".join(map(str, image.shape)) in out
    assert "".join(nib.aff2axcodes(image.affine)) in out
    assert "Scans" in run("info", places.scans).out
    out = run("info", places.study).out
    assert "2 complete, 0 in part" in out
    assert "0 background, 1 liver, 2 spleen, 3 kidney, 4 aorta" in out
    assert "ready" in out
    out = run("info", places.model).out
    assert "supervised" in out
    assert "finished" in out
    assert "16 × 16 × 16 voxels" in out


def test_check_of_a_sound_and_of_a_broken_study(run, places, digest):
    before = digest(places.study)
    outcome = run("check", places.study)
    assert (outcome.code, outcome.err) == (0, "")
    assert "0 errors, 0 warnings, 1 note" in outcome.out
    assert digest(places.study) == before
    (places.study / "labelsTr" / "nobody.nii.gz").write_bytes(
        (places.study / "labelsTr" / "phantom_000.nii.gz").read_bytes()
    )
    broken = places.study / "imagesTr" / "phantom_001_0000.nii.gz"
    broken.write_bytes(broken.read_bytes()[:50])
    outcome = run("check", places.study)
    assert outcome.code == 1
    assert "nobody" in outcome.out
    assert "phantom_001" in outcome.out


def test_check_writes_a_page_with_every_scan(run, places):
    page = places.tmp / "check.html"
    outcome = run("check", places.study, "--html", page)
    assert outcome.code == 0
    assert f"Page: {page}" in outcome.out
    assert page.read_text(encoding="utf-8").count("data:image/jpeg;base64,") == 5


def test_report_of_a_study_and_of_a_model(run, places):
    for path in (places.study, places.model):
        outcome = run("report", path, "-o", places.tmp / "page.html")
        assert (outcome.code, outcome.err) == (0, "")
        assert f"Report: {places.tmp / 'page.html'}" in outcome.out
        assert "Learning curves" in (places.tmp / "page.html").read_text(encoding="utf-8")
    assert run("report", places.tmp / "gone").code == 2


def test_repair_rebuilds_the_catalogue(run, places):
    (places.study / "study.sqlite").unlink()
    outcome = run("check", places.study, "--repair")
    assert outcome.code == 0
    assert "catalogue" in outcome.out
    assert "0 errors, 0 warnings, 1 note" in outcome.out


def test_export_in_each_format(run, places):
    assert run("export", places.study, places.tmp / "nifti").code == 0
    assert len(list((places.tmp / "nifti" / "labels").glob("*.nii.gz"))) == 2
    assert run("export", places.study, places.tmp / "nnunet", "--format", "nnunet").code == 0
    content = json.loads((places.tmp / "nnunet" / "dataset.json").read_text())
    assert run("export", places.study, places.tmp / "tables", "--format", "tables").code == 0
    assert (places.tmp / "tables" / "volumes.csv").read_text().count("label,0001") == 2 * (len(content["labels"]) - 1)
    outcome = run("export", places.study, places.tmp / "slices", "--format", "png", "--slices", "axial")
    assert outcome.code == 0
    assert "Research use, not a medical device" in outcome.out
    assert len(list((places.tmp / "slices" / "labels").glob("*/axial_*.png"))) == 2 * 24
    assert content["numTraining"] == 2
    assert len(list((places.tmp / "nnunet" / "imagesTr").iterdir())) == 5
    assert Study.at(places.study).label_names == content["labels"]


def test_export_as_pictures(run, tmp_path):
    source = tmp_path / "source"
    (source / "images").mkdir(parents=True)
    (source / "masks").mkdir()
    from PIL import Image

    mask = np.zeros((9, 12), np.uint8)
    mask[2:5, 3:9] = 255
    Image.fromarray(np.arange(108, dtype=np.uint8).reshape(9, 12)).save(source / "images" / "a.png")
    Image.fromarray(mask).save(source / "masks" / "a.png")
    assert run("import", source, tmp_path / "study").code == 0
    assert run("export", tmp_path / "study", tmp_path / "out", "--format", "png").code == 0
    with Image.open(tmp_path / "out" / "labels" / "a.png") as written:
        np.testing.assert_array_equal(np.asarray(written), mask)


def test_plan_is_written_and_obeyed(run, places):
    outcome = run(
        "plan", places.study, "--preset", "quick", "--set", "batch_size=1", "--set", "network.features=[4,8,8]"
    )
    assert outcome.code == 0
    assert "Target spacing" in outcome.out
    plan = Plan.load(places.study / "plan.json")
    assert plan.batch_size == 1
    assert run("train", places.study, "--method", "supervised", "--iterations", "1", "--name", "m").code == 0
    assert Plan.load(places.study / "models" / "m" / "plan.json") == plan


def test_train_takes_settings_from_a_file_and_from_words(run, places):
    settings = places.file("a.toml", 'method = "fixmatch"\nseed = 5\niterations = 2\n[optimiser]\nweight_decay = 0.5\n')
    words = ["train", places.study, "--config", settings, "--set", "optimiser.warm_up=0.5"]
    assert run(*words, "--name", "a").code == 0
    kept = TrainConfig.load(places.study / "models" / "a" / "config.json")
    assert (kept.method, kept.seed, kept.iterations) == ("fixmatch", 5, 2)
    assert (kept.optimiser.weight_decay, kept.optimiser.warm_up) == (0.5, 0.5)


def test_a_word_wins_over_the_file_even_when_it_says_the_default(run, places):
    settings = places.file("a.toml", 'method = "supervised"\npreset = "quick"\niterations = 2\n')
    words = ["--method", "maskmatch", "--preset", "balanced", "--iterations", "1", "--seed", "0"]
    assert run("train", places.study, "--config", settings, *words).code == 0
    kept = TrainConfig.load(places.study / "models" / "maskmatch" / "config.json")
    assert (kept.method, kept.preset, kept.iterations) == ("maskmatch", "balanced", 1)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("iterations = 50", ["--minutes", "0.2"]),
        ("minutes = 60", ["--iterations", "1"]),
        ("minutes = 60", ["--set", "iterations=1"]),
    ],
)
def test_a_budget_in_words_takes_the_place_of_the_files(run, places, monkeypatch, file, words):
    seen = []
    monkeypatch.setattr(
        "maskmatch_med.service.train", lambda study, config, request: seen.append(config) or ModelFolder(places.model)
    )
    assert run("train", places.study, "--config", places.file("a.toml", file), *words).code == 0
    wanted = (0.2, None) if "--minutes" in words else (None, 1)
    assert (seen[0].minutes, seen[0].iterations) == wanted


def test_a_stop_asked_for_after_the_last_step_is_no_stop(run, places, monkeypatch):
    monkeypatch.setattr("maskmatch_med.cli.console.StopOnSignal.requested", lambda self: True)
    monkeypatch.setattr("maskmatch_med.service.train", lambda study, config, request: ModelFolder(places.model))
    outcome = run("train", places.study, "--iterations", "3")
    assert outcome.code == 0
    assert f"Model: {places.model}" in outcome.out
    assert "Stopped" not in outcome.out


def test_without_a_command_there_is_the_help_alone(run):
    outcome = run()
    assert outcome.code in {0, 2}
    assert "Usage: maskmatch" in outcome.out
    assert outcome.err == ""


def test_train_from_another_model_and_resume_of_a_finished_one(run, places):
    words = ["train", places.study, "--method", "supervised", "--iterations", "2", "--name", "b"]
    outcome = run(*words, "--from", places.model)
    assert outcome.code == 0
    assert f"Model: {places.study / 'models' / 'b'}" in outcome.out
    outcome = run(*words, "--resume")
    assert outcome.code == 0
    assert "finished already" in outcome.out


def test_predict_and_evaluate(run, places):
    out, scores = places.tmp / "out", places.tmp / "scores"
    words = [
        "--uncertainty",
        "--probabilities",
        "--scales",
        "0.7,1",
        "--mirror",
        "--overlap",
        "0.25",
        "--device",
        "cpu",
    ]
    outcome = run("predict", places.model, places.scans, "-o", out, *words)
    assert (outcome.code, outcome.err) == (0, "")
    assert "2 segmentations written" in outcome.out
    names = {path.name for path in out.iterdir()}
    assert {"phantom_005.nii.gz", "phantom_005_uncertainty.nii.gz", "phantom_005_probabilities_04.nii.gz"} <= names
    outcome = run("evaluate", out, places.source, "-o", scores, "--nsd-mm", "2", "--paper")
    assert (outcome.code, outcome.err) == (0, "")
    assert "liver" in outcome.out
    assert json.loads((scores / "summary.json").read_text())
    assert {"cases.csv", "summary.json", "figure.png"} <= {path.name for path in scores.iterdir()}
    assert "called by their values" not in outcome.out
    plain = shutil.copytree(places.source / "labelsTr", places.tmp / "plain")
    outcome = run("evaluate", out, plain)
    assert "label 1" in outcome.out
    assert "does not name them; --label-names does" in outcome.out
    outcome = run("evaluate", out, plain, "--label-names", "liver,spleen,kidney,aorta")
    assert "spleen" in outcome.out
    assert "label 1" not in outcome.out


def test_doctor_times_the_engines(run):
    outcome = run("doctor", "--bench")
    assert outcome.code == 0
    for name in ("Engine eager", "s a window", "Engine auto"):
        assert name in outcome.out


def test_doctor_names_the_versions(run):
    import torch

    outcome = run("doctor")
    assert outcome.code == 0
    assert torch.__version__.split("+")[0] in outcome.out
    assert "maskmatch-med" in outcome.out


def subset(source: Path, target: Path, labelled: int, scans: int, test: int) -> Path:
    """The first scans of a real data set's order and of its test part, as a data set of the same layout."""
    splits = json.loads((source / "splits.json").read_text())
    order, held = splits["label_order"][:scans], splits["test"][:test]
    for part in ("imagesTr", "labelsTr"):
        (target / part).mkdir(parents=True)
        for name in [*order, *held]:
            shutil.copy(source / part / f"{name}.nii.gz", target / part)
    content = json.loads((source / "dataset.json").read_text())
    wanted = {f"{name}.nii.gz" for name in [*order, *held]}
    content["training"] = [entry for entry in content["training"] if Path(entry["image"]).name in wanted]
    (target / "dataset.json").write_text(json.dumps(content))
    (target / "splits.json").write_text(json.dumps({"label_order": order, "test": held}))
    return target


def test_real_scans_from_import_to_scores(run, shared_data, tmp_path):
    source = subset(shared_data / "Task04_Hippocampus", tmp_path / "source", 3, 5, 2)
    study, splits = tmp_path / "study", source / "splits.json"
    assert run("import", source, study, "--splits", splits, "--labelled", "3").code == 0
    assert run("plan", study, "--preset", "quick", "--set", "batch_size=1").code == 0
    assert run("train", study, "--iterations", "3", "--name", "m").code == 0
    folder = ModelFolder(study / "models" / "m")
    assert folder.metrics()["data"] == {"labelled": 3, "partial": 0, "unlabelled": 2, "validation": 0}
    out = tmp_path / "out"
    assert run("predict", folder.root, source, "-o", out, "--splits", splits).code == 0
    written = sorted(out.glob("*.nii.gz"))
    assert [path.name.removesuffix(".nii.gz") for path in written] == json.loads(splits.read_text())["test"]
    for path in written:
        scan, found = nib.load(source / "imagesTr" / path.name), nib.load(path)
        assert found.shape == scan.shape
        np.testing.assert_allclose(found.affine, scan.affine, atol=1e-5)
    outcome = run("evaluate", out, source, "-o", tmp_path / "scores")
    assert outcome.code == 0
    assert "Anterior" in outcome.out
