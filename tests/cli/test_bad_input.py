"""Whatever is wrong: exit code 2, one sentence that names it, no traceback, the study as it was."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from maskmatch_med.errors import InputError
from maskmatch_med.nets import ModelFolder
from maskmatch_med.training.checkpoint import Checkpoint

Words = Callable[..., list[object]]

TRAIN: dict[str, tuple[Words, str]] = {
    "no study": (lambda p: ["train", p.tmp / "nowhere"], r"no study .*nowhere"),
    "a file for a study": (lambda p: ["train", p.file("study.txt", "x")], r"study\.txt"),
    "a folder for a study": (lambda p: ["train", p.tmp], r"new is not a study"),
    "method": (lambda p: ["train", p.study, "--method", "magic"], r"'magic'.*supervised"),
    "addition": (lambda p: ["train", p.study, "--method", "fixmatch+magic"], r"\+magic"),
    "useless addition": (lambda p: ["train", p.study, "--method", "supervised+multiscale"], r"multiscale"),
    "empty method": (lambda p: ["train", p.study, "--method", ""], r"unknown method ''"),
    "preset": (lambda p: ["train", p.study, "--preset", "huge"], r"huge.*quick"),
    "no GPU": (lambda p: ["train", p.study, "--device", "cuda"], r"'cuda'.*use cpu"),
    "device": (lambda p: ["train", p.study, "--device", "tpu9"], r"'tpu9'.*auto"),
    "setting": (lambda p: ["train", p.study, "--set", "lerning_rate=3"], r"'lerning_rate'"),
    "setting of a setting": (lambda p: ["train", p.study, "--set", "seed.x=3"], r"'seed\.x'"),
    "setting without value": (lambda p: ["train", p.study, "--set", "seed"], r"key=value.*'seed'"),
    "negative seed": (lambda p: ["train", p.study, "--set", "seed=-1"], r"seed.*-1"),
    "word for a number": (
        lambda p: ["train", p.study, "--set", "optimiser.learning_rate=fast"],
        r"learning_rate.*fast",
    ),
    "endless number": (lambda p: ["train", p.study, "--set", "optimiser.learning_rate=inf"], r"learning_rate.*inf"),
    "scales without 1": (lambda p: ["train", p.study, "--set", "pseudo_labels.scales=[0.7]"], r"scales.*0\.7"),
    "negative minutes": (lambda p: ["train", p.study, "--minutes", "-1"], r"minutes.*-1"),
    "no minutes": (lambda p: ["train", p.study, "--minutes", "0"], r"minutes.*0"),
    "minutes that are none": (lambda p: ["train", p.study, "--minutes", "nan"], r"minutes.*nan"),
    "minutes in words": (lambda p: ["train", p.study, "--minutes", "ten"], r"'--minutes'.*valid number"),
    "no iterations": (lambda p: ["train", p.study, "--iterations", "0"], r"iterations.*0"),
    "half an iteration": (lambda p: ["train", p.study, "--iterations", "1.5"], r"'--iterations'.*valid integer"),
    "both budgets": (lambda p: ["train", p.study, "--minutes", "1", "--iterations", "3"], r"minutes or iterations"),
    "no configuration": (lambda p: ["train", p.study, "--config", p.tmp / "no.toml"], r"no\.toml"),
    "key of a configuration": (
        lambda p: ["train", p.study, "--config", p.file("a.toml", "[optimiser]\nspeed = 1\n")],
        r"a\.toml.*optimiser\.speed",
    ),
    "broken TOML": (lambda p: ["train", p.study, "--config", p.file("b.toml", "seed = = 1")], r"b\.toml"),
    "broken JSON": (lambda p: ["train", p.study, "--config", p.file("c.json", '{"seed": ')], r"c\.json"),
    "taken name": (lambda p: ["train", p.study, "--name", "ready", "--iterations", "1"], r"'ready'.*--resume"),
    "name that climbs": (lambda p: ["train", p.study, "--name", "../../x"], r"'\.\./\.\./x' cannot be a model's name"),
    "start from nothing": (lambda p: ["train", p.study, "--from", p.tmp / "gone", "--name", "n"], r"gone"),
    "start from a study": (lambda p: ["train", p.study, "--from", p.study, "--name", "n"], r"study holds no"),
}

PREDICT: dict[str, tuple[Words, str]] = {
    "no model": (lambda p: ["predict", p.tmp / "gone", p.scans, "-o", p.tmp / "out"], r"gone holds no finished model"),
    "a study for a model": (lambda p: ["predict", p.study, p.scans, "-o", p.tmp / "out"], r"study holds no finished"),
    "no scan": (lambda p: ["predict", p.model, p.tmp / "gone", "-o", p.tmp / "out"], r"gone"),
    "empty folder": (lambda p: ["predict", p.model, p.tmp, "-o", p.tmp / "out"], r"no scan found.*new"),
    "text for a scan": (lambda p: ["predict", p.model, p.file("a.txt", "x"), "-o", p.tmp / "out"], r"a\.txt"),
    "damaged scan": (lambda p: ["predict", p.model, p.file("a.nii.gz", "x"), "-o", p.tmp / "out"], r"a\.nii\.gz"),
    "no output": (lambda p: ["predict", p.model, p.scans], r"-o"),
    "a file for the output": (lambda p: ["predict", p.model, p.scans, "-o", p.file("out", "x")], r"new/out"),
    "output under a file": (lambda p: ["predict", p.model, p.scans, "-o", p.file("f", "x") / "out"], r"new/f"),
    "scales in words": (lambda p: ["predict", p.model, p.scans, "-o", p.tmp, "--scales", "big"], r"'big'"),
    "scale 0": (lambda p: ["predict", p.model, p.scans, "-o", p.tmp, "--scales", "1,0"], r"0\.0"),
    "a scale twice": (lambda p: ["predict", p.model, p.scans, "-o", p.tmp, "--scales", "1,1"], r"once"),
    "whole overlap": (lambda p: ["predict", p.model, p.scans, "-o", p.tmp, "--overlap", "1"], r"1\.0"),
    "no GPU": (lambda p: ["predict", p.model, p.scans, "-o", p.tmp, "--device", "cuda"], r"cuda"),
    "no splits": (lambda p: ["predict", p.model, p.scans, "-o", p.tmp, "--splits", p.tmp / "s.json"], r"s\.json"),
    "broken splits": (
        lambda p: ["predict", p.model, p.scans, "-o", p.tmp, "--splits", p.file("s.json", "[1")],
        r"s\.json",
    ),
    "splits that are a number": (
        lambda p: ["predict", p.model, p.scans, "-o", p.tmp, "--splits", p.file("s.json", "7")],
        r"s\.json.*'test'",
    ),
    "part": (
        lambda p: ["predict", p.model, p.scans, "-o", p.tmp, "--splits", p.source / "splits.json", "--part", "tset"],
        r"'tset'.*label_order, test",
    ),
    "part that is a text": (
        lambda p: ["predict", p.model, p.scans, "-o", p.tmp, "--splits", p.source / "splits.json", "--part", "about"],
        r"'about'.*label_order, test",
    ),
    "empty part": (
        lambda p: ["predict", p.model, p.scans, "-o", p.tmp, "--splits", p.file("s.json", '{"test": []}')],
        r"lists no case",
    ),
    "part of other scans": (
        lambda p: ["predict", p.model, p.scans, "-o", p.tmp, "--splits", p.file("s.json", '{"test": ["abc"]}')],
        r"no scan for abc",
    ),
}

OTHERS: dict[str, tuple[Words, str]] = {
    "evaluate nothing": (lambda p: ["evaluate", p.tmp / "gone", p.labels], r"gone"),
    "evaluate against nothing": (lambda p: ["evaluate", p.labels, p.tmp / "gone"], r"gone"),
    "evaluate an empty folder": (lambda p: ["evaluate", p.tmp, p.labels], r"new holds no prediction"),
    "evaluate without reference": (
        lambda p: ["evaluate", p.source / "labelsTr", p.labels],
        r"no reference for phantom_0",
    ),
    "evaluate with a negative tolerance": (lambda p: ["evaluate", p.labels, p.labels, "--nsd-mm", "-1"], r"-1\.0"),
    "evaluate into a file": (lambda p: ["evaluate", p.labels, p.labels, "-o", p.file("o", "x")], r"new/o"),
    "plan nothing": (lambda p: ["plan", p.tmp / "gone"], r"gone"),
    "plan with an unknown value": (lambda p: ["plan", p.study, "--set", "patchh=3"], r"patchh"),
    "plan with an impossible value": (lambda p: ["plan", p.study, "--set", "patch_vox=[15, 16, 16]"], r"15, 16, 16"),
    "plan with an impossible batch": (lambda p: ["plan", p.study, "--set", "batch_size=0"], r"batch_size"),
    "plan with spacing 0": (lambda p: ["plan", p.study, "--set", "spacing_mm=[0, 1, 1]"], r"spacing_mm"),
    "plan without a spacing": (lambda p: ["plan", p.study, "--set", "spacing_mm=[NaN, 1, 1]"], r"spacing_mm"),
    "plan with an axis too many": (lambda p: ["plan", p.study, "--set", "mirror_axes=[5]"], r"mirror_axes.*5"),
    "plan with an empty patch": (lambda p: ["plan", p.study, "--set", "patch_vox=[0, 16, 16]"], r"patch_vox"),
    "import nothing": (lambda p: ["import", p.tmp / "gone", p.tmp / "s"], r"gone"),
    "import a text": (lambda p: ["import", p.file("a.txt", "x"), p.tmp / "s"], r"a\.txt"),
    "import into a file": (lambda p: ["import", p.source, p.file("s", "x")], r"new/s"),
    "import without its splits": (
        lambda p: ["import", p.source, p.tmp / "s", "--splits", p.tmp / "no.json"],
        r"no\.json",
    ),
    "import labelled without splits": (lambda p: ["import", p.source, p.tmp / "s", "--labelled", "3"], r"--splits"),
    "import with a broken group": (lambda p: ["import", p.source, p.tmp / "s", "--group", "("], r"--group '\('"),
    "info of nothing": (lambda p: ["info", p.tmp / "gone"], r"no file .*gone"),
    "info of a text": (lambda p: ["info", p.file("a.txt", "x")], r"a\.txt"),
    "check nothing": (lambda p: ["check", p.tmp / "gone"], r"gone"),
    "check a file": (lambda p: ["check", p.file("a.txt", "x")], r"a\.txt"),
    "export nothing": (lambda p: ["export", p.tmp / "gone", p.tmp / "out"], r"gone"),
    "export into a full folder": (lambda p: ["export", p.study, p.labels], r"not an empty folder"),
    "export in no format": (lambda p: ["export", p.study, p.tmp / "o", "--format", "tiff"], r"tiff.*png"),
    "export solid scans as pictures": (lambda p: ["export", p.study, p.tmp / "o", "--format", "png"], r"phantom_000"),
    "unknown command": (lambda p: ["trian", p.study], r"trian"),
    "unknown option": (lambda p: ["train", p.study, "--epochs", "3"], r"--epochs"),
    "forgotten argument": (lambda p: ["train"], r"STUDY"),
}


def refuse(outcome, expected: str) -> None:
    assert outcome.code == 2, outcome
    lines = outcome.err.splitlines()
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("maskmatch: ")
    assert re.search(expected, lines[0]), lines[0]
    assert "Traceback" not in outcome.err + outcome.out
    assert "internal error" not in outcome.err


TABLE = {
    f"{family}: {name}": row
    for family, rows in (("train", TRAIN), ("predict", PREDICT), ("", OTHERS))
    for name, row in rows.items()
}


@pytest.mark.parametrize("name", TABLE)
def test_bad_words(run, places, digest, name):
    words, expected = TABLE[name]
    arguments = words(places)
    before = digest(places.study), digest(places.source), digest(places.scans)
    refuse(run(*arguments), expected)
    assert (digest(places.study), digest(places.source), digest(places.scans)) == before


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def _garbage(path: Path) -> None:
    path.write_text("{not json\nat all")


def _remove(path: Path) -> None:
    path.unlink()


def _list(path: Path) -> None:
    path.write_text("[1, 2]")


def _set(key: str, value: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}, indent=2))

    return change


MODEL_DAMAGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "weights cut": ("weights.safetensors", _cut),
    "weights garbage": ("weights.safetensors", _garbage),
    "weights empty": ("weights.safetensors", lambda path: path.write_bytes(b"")),
    "weights gone": ("weights.safetensors", _remove),
    "plan garbage": ("plan.json", _garbage),
    "plan a list": ("plan.json", _list),
    "plan with another key": ("plan.json", _set("patch_size", [1, 2])),
    "plan with an impossible value": ("plan.json", _set("batch_size", 0)),
    "plan with spacing 0": ("plan.json", _set("spacing_mm", [0, 1, 1])),
    "plan with an axis too many": ("plan.json", _set("mirror_axes", [5])),
    "plan gone": ("plan.json", _remove),
    "metrics garbage": ("metrics.json", _garbage),
    "metrics a list": ("metrics.json", _list),
}


@pytest.mark.parametrize("damage", MODEL_DAMAGES)
def test_a_damaged_model_does_not_predict(run, places, digest, damage):
    name, change = MODEL_DAMAGES[damage]
    change(places.model / name)
    before = digest(places.study)
    expected = r"models/ready" if damage.endswith("gone") else name.replace(".", r"\.")
    refuse(run("predict", places.model, places.scans, "-o", places.tmp / "out"), expected)
    assert digest(places.study) == before
    assert not list(places.tmp.iterdir())


def test_weights_of_another_network_do_not_predict(run, places):
    run("plan", places.study, "--set", "patch_vox=[16, 16, 16]", "--set", "network.features=[4, 8, 16]")
    shutil.copy(places.study / "plan.json", places.model / "plan.json")
    refuse(
        run("predict", places.model, places.scans, "-o", places.tmp / "out"), r"weights\.safetensors belong to another"
    )


def test_a_model_without_weights_yet_can_still_be_named(run, places):
    shutil.rmtree(places.study / "models" / "ready")
    words = ["train", places.study, "--iterations", "5", "--name", "ready"]
    (places.study / "models" / "ready").mkdir()
    refuse(run(*words), r"'ready'.*--resume")
    assert run(*words, "--resume").code == 0


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("state.pt", _cut),
        ("state.pt", _garbage),
        ("plan.json", _garbage),
        ("config.json", _garbage),
        ("config.json", _list),
    ],
)
def test_a_damaged_model_does_not_resume(run, places, digest, name, change):
    (places.model / "metrics.json").unlink()
    change(places.model / name)
    before = digest(places.study)
    refuse(run("train", places.study, "--name", "ready", "--resume"), name.replace(".", r"\."))
    assert digest(places.study) == before


def test_a_state_that_is_an_attack_does_not_resume(run, places):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(places.tmp / "executed"),)

    (places.model / "metrics.json").unlink()
    (places.model / "state.pt").write_bytes(pickle.dumps({"iteration": Attack()}))
    refuse(run("train", places.study, "--name", "ready", "--resume"), r"state\.pt")
    assert not (places.tmp / "executed").exists()


@pytest.mark.parametrize("name", ["dataset.json", "plan.json"])
def test_a_damaged_study_does_not_train(run, places, digest, name):
    _garbage(places.study / name)
    before = digest(places.study)
    refuse(run("train", places.study, "--name", "new", "--iterations", "1"), name.replace(".", r"\."))
    assert digest(places.study) == before


@pytest.mark.parametrize("what", ["cut", "gone", "all NaN"])
def test_a_damaged_scan_stops_the_training_before_a_model_is_made(run, places, digest, what):
    path = places.study / "imagesTr" / "phantom_003_0000.nii.gz"
    if what == "cut":
        _cut(path)
    elif what == "all NaN":
        image = nib.load(path)
        nib.save(nib.Nifti1Image(np.full(image.shape, np.nan, np.float32), image.affine), path)
    if what == "gone":
        path.unlink()
    before = digest(places.study)
    outcome = run("train", places.study, "--name", "new", "--iterations", "1")
    if what == "gone":
        assert outcome.code == 0
        assert json.loads((places.study / "models" / "new" / "metrics.json").read_text())["data"]["unlabelled"] == 2
        return
    refuse(outcome, r"phantom_003_0000\.nii\.gz")
    after = {name: value for name, value in digest(places.study).items() if not name.startswith(".cache")}
    assert after == {name: value for name, value in before.items() if not name.startswith(".cache")}


def test_scans_of_two_channels_do_not_fit_a_model_of_one(run, places):
    image = nib.load(next(places.scans.iterdir()))
    for channel in range(2):
        nib.save(image, places.tmp / f"two_{channel:04d}.nii.gz")
    refuse(
        run("predict", places.model, places.tmp, "-o", places.tmp / "out"), r"two_0000\.nii\.gz has 2 channels.*1: MRI"
    )


def test_a_picture_does_not_fit_a_model_of_scans(run, places):
    Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save(places.tmp / "a.png")
    refuse(run("predict", places.model, places.tmp / "a.png", "-o", places.tmp / "out"), r"a\.png has 3 channels")


def test_a_grey_picture_or_a_single_slice_does_not_fit_a_model_of_volumes(run, places):
    Image.fromarray(np.zeros((30, 30), np.uint8)).save(places.tmp / "a.png")
    scan = nib.load(next(places.scans.iterdir()))
    nib.save(scan.slicer[:, :, 10:11], places.tmp / "b_0000.nii.gz")
    for name in ("a.png", "b_0000.nii.gz"):
        outcome = run("predict", places.model, places.tmp / name, "-o", places.tmp / "out")
        refuse(outcome, rf"{name}.* is a single slice, the model was trained on volumes")
    assert not any((places.tmp / "out").glob("*.nii.gz"))


def test_a_label_outside_the_declared_ones_is_not_scored(run, places):
    source = next(places.labels.iterdir())
    image = nib.load(source)
    array = np.asarray(image.dataobj).copy()
    array[0] = 77
    nib.save(nib.Nifti1Image(array, image.affine, image.header), places.tmp / source.name)
    refuse(run("evaluate", places.tmp, places.source / "labelsTr"), r"label 77.*new/phantom_00[56]\.nii\.gz")


def test_a_prediction_on_another_grid_is_not_scored(run, places):
    source = next(places.labels.iterdir())
    image = nib.load(source)
    affine = image.affine.copy()
    affine[0, 3] += 3
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine, image.header), places.tmp / source.name)
    refuse(run("evaluate", places.tmp, places.labels), r"does not lie on the grid")


def test_a_damaged_plan_is_told_without_the_library_s_words(run, places):
    _set("patch_size", [1, 2])(places.study / "plan.json")
    outcome = run("train", places.study, "--name", "new", "--iterations", "1")
    assert "patch_size" in outcome.err
    assert "pydantic" not in outcome.err
    assert "validation error for" not in outcome.err


def test_debug_shows_the_traceback(run, places):
    with pytest.raises(InputError, match="magic"):
        run("train", places.study, "--method", "magic", "--debug")


def test_a_fault_of_the_program_says_so(run, places, monkeypatch):
    def broken(path):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("maskmatch_med.service.info", broken)
    outcome = run("info", places.study)
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert "internal error: ZeroDivisionError: division by zero; run again with --debug" in outcome.err
    with pytest.raises(ZeroDivisionError):
        run("info", places.study, "--debug")


def test_the_saved_state_still_loads(places):
    """The damages above would prove nothing if the state were not sound to begin with."""
    assert Checkpoint.load(ModelFolder(places.model).state_path).iteration == 3
