"""Calibration of a model from held-out scans to summary.csv, against what the other verbs say of the same scans."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmarks import uncertainty
from maskmatch_med import service
from maskmatch_med.config import TrainConfig
from maskmatch_med.errors import InputError
from maskmatch_med.evaluation.held_out import HeldOutCalibration
from maskmatch_med.nets import ModelFolder
from maskmatch_med.phantom import PhantomOptions, write_phantom
from maskmatch_med.study import ImportOptions

HELD_OUT = 12
LEARNING = {"labelled_batch": 2, "optimiser.learning_rate": 0.01, "ema_decay": 0.9}


@dataclass(frozen=True)
class Calibrated:
    """A model of two labelled scans, calibrated on twelve others; only to be read."""

    source: Path
    splits: Path
    model: ModelFolder
    found: HeldOutCalibration

    def copy(self, tmp: Path) -> ModelFolder:
        return ModelFolder(Path(shutil.copytree(self.model.root, tmp / "model")))


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Calibrated:
    root = tmp_path_factory.mktemp("calibrated")
    options = PhantomOptions(scans=2 + HELD_OUT, labelled=2, test=3, shape=(20, 20, 20))
    source = write_phantom(root / "source", options)
    splits = source / "splits.json"
    service.import_scans(source, root / "study", ImportOptions(splits=splits, labelled=2))
    changes = {"patch_vox": "[16, 16, 16]", "network.features": "[4, 8, 8]"}
    service.plan_study(root / "study", "quick", "cpu", changes)
    model = service.train(
        root / "study", TrainConfig(method="supervised", preset="quick", iterations=40).override(LEARNING)
    )
    names = service.names_in_splits(splits, "label_order", last=HELD_OUT)
    return Calibrated(
        source, splits, model, service.calibrate(model, source, source, service.PredictRequest(only=names))
    )


def summary(folder: Path) -> list[dict[str, str]]:
    with (folder / "summary.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_what_it_finds_is_what_predict_and_evaluate_say_of_the_same_scans(calibrated, tmp_path):
    found = calibrated.found
    assert HeldOutCalibration.load(calibrated.model.root) == found
    assert not list(calibrated.model.root.glob(".calibrate-*"))
    names = service.names_in_splits(calibrated.splits, "label_order", last=HELD_OUT)
    for folder, plain in (("plain", True), ("scaled", False)):
        request = service.PredictRequest(only=names, probabilities=True, calibrated=not plain)
        service.predict(calibrated.model, calibrated.source, tmp_path / folder, request)
        counted = service.measure_confidence(tmp_path / folder, calibrated.source)
        told = found.confidence
        assert counted.cases == HELD_OUT
        assert counted.ece == pytest.approx(told.before if plain else told.after, abs=2e-4)
        in_structures = told.structures_before if plain else told.structures_after
        assert counted.called.ece == pytest.approx(in_structures, abs=2e-4)
    true = service.evaluate(tmp_path / "scaled", calibrated.source).case_dice()
    with (calibrated.model.root / "calibration_scans.csv").open(newline="") as stream:
        scans = {row["case"]: row for row in csv.DictReader(stream)}
    assert list(scans) == names
    rows = summary(tmp_path / "scaled")
    low, middle, high = found.dice.offsets.low, found.dice.offsets.middle, found.dice.offsets.high
    for row in rows:
        told = float(scans[row["case"]]["dice_expected"])
        assert float(scans[row["case"]]["dice"]) == pytest.approx(true[row["case"]], abs=1e-4)
        assert float(row["dice_expected"]) == pytest.approx(np.clip(told + middle, 0, 1), abs=2e-4)
        assert float(row["dice_low"]) == pytest.approx(np.clip(told + low, 0, 1), abs=2e-4)
        assert float(row["dice_high"]) == pytest.approx(np.clip(told + high, 0, 1), abs=2e-4)
    inside = [float(row["dice_low"]) <= true[row["case"]] <= float(row["dice_high"]) for row in rows]
    assert sum(inside) >= HELD_OUT - 1  # of the scans that gave the interval, ceil(13 * 0.9) = 12, are inside
    assert found.dice.bias == pytest.approx(
        np.mean([true[name] - float(scans[name]["dice_expected"]) for name in names]), abs=2e-4
    )


def test_probabilities_are_scaled_and_labels_and_uncertainty_are_not(calibrated, tmp_path):
    temperature = calibrated.found.temperature
    assert abs(temperature - 1) > 0.02
    found = {}
    for folder, scaled in (("plain", False), ("scaled", True)):
        request = service.PredictRequest(only=["phantom_014"], probabilities=True, uncertainty=True, calibrated=scaled)
        service.predict(calibrated.model, calibrated.source, tmp_path / folder, request)
        read = lambda end, at=tmp_path / folder: nib.load(at / f"phantom_014{end}.nii.gz").get_fdata()  # noqa: E731
        maps = np.stack([read(f"_probabilities_{k:02d}") for k in range(5)])
        found[folder] = (maps, read(""), read("_uncertainty"))
    powers = found["plain"][0] ** (1 / temperature)
    np.testing.assert_allclose(found["scaled"][0], powers / powers.sum(axis=0), atol=1e-5)
    np.testing.assert_array_equal(found["scaled"][1], found["plain"][1])
    np.testing.assert_array_equal(found["scaled"][2], found["plain"][2])


def test_without_calibration_the_summary_is_as_before(calibrated, tmp_path):
    model = calibrated.copy(tmp_path)
    (model.root / "calibration.json").unlink()
    request = service.PredictRequest(only=["phantom_014"], uncertainty=True)
    service.predict(model, calibrated.source, tmp_path / "out", request)
    columns = ["case", "liver_ml", "spleen_ml", "kidney_ml", "aorta_ml", "mean_uncertainty", "seconds"]
    assert list(summary(tmp_path / "out")[0]) == columns
    service.predict(calibrated.model, calibrated.source, tmp_path / "with", request)
    dice = ["dice_expected", "dice_low", "dice_high"]
    assert list(summary(tmp_path / "with")[0]) == [*columns[:-1], *dice, "seconds"]


def test_few_held_out_scans_rank_only(calibrated, tmp_path):
    model = calibrated.copy(tmp_path)
    names = service.names_in_splits(calibrated.splits, "label_order", last=4)
    found = service.calibrate(model, calibrated.source, calibrated.source, service.PredictRequest(only=names))
    assert (found.scans, found.dice.offsets) == (4, None)
    service.predict(model, calibrated.source, tmp_path / "out", service.PredictRequest(only=names))
    with (model.root / "calibration_scans.csv").open(newline="") as stream:
        told = [float(row["dice_expected"]) for row in csv.DictReader(stream)]
    rows = summary(tmp_path / "out")
    assert [float(row["dice_expected"]) for row in rows] == pytest.approx(told, abs=1.1e-4)
    assert "dice_low" not in rows[0]


@pytest.mark.parametrize("names", [["phantom_001"], ["phantom_005", "phantom_000", "phantom_001"]])
def test_scans_that_the_model_learnt_from_are_refused(calibrated, tmp_path, names):
    model = calibrated.copy(tmp_path)
    (model.root / "calibration.json").unlink()
    request = service.PredictRequest(only=names)
    learnt = len(set(names) - {"phantom_005"})
    with pytest.raises(InputError, match=rf"learnt from the labels of {learnt} of the {len(names)} scans \(phantom_00"):
        service.calibrate(model, calibrated.source, calibrated.source, request)
    assert not (model.root / "calibration.json").exists()


def test_what_its_starting_model_learnt_from_is_refused_too(calibrated, tmp_path):
    model = calibrated.copy(tmp_path)
    (entry,) = json.loads((model.root / "labels.json").read_text())
    (model.root / "labels.json").write_text(json.dumps([entry | {"inherited": ["phantom_007"]}]))
    request = service.PredictRequest(only=["phantom_007", "phantom_008"])
    with pytest.raises(InputError, match=r"1 of the 2 scans \(phantom_007\)"):
        service.calibrate(model, calibrated.source, calibrated.source, request)


def test_where_it_is_not_known_what_was_learnt_from_that_is_said(calibrated, tmp_path):
    model, said = calibrated.copy(tmp_path), list[str]()
    (model.root / "labels.json").unlink()
    request = service.PredictRequest(only=["phantom_007"], notice=said.append)
    service.calibrate(model, calibrated.source, calibrated.source, request)
    assert len(said) == 1
    assert "does not record all labels" in said[0]


def test_scans_that_took_part_without_their_label_are_counted(tiny_study, phantom_source):
    short = {"unlabelled.start": 0.25, "labelled_batch": 1, "unlabelled_batch": 1}
    model = service.train(tiny_study, TrainConfig(method="fixmatch", iterations=4).override(short))
    names = [f"phantom_{n:03d}" for n in (3, 4, 5)]  # the last is of the test part
    found = service.calibrate(model, phantom_source, phantom_source, service.PredictRequest(only=names))
    assert (found.scans, found.scans_without_label) == (3, 2)


def test_a_label_that_is_missing_is_named_before_anything_is_predicted(calibrated, tmp_path):
    model, labels, seen = calibrated.copy(tmp_path), tmp_path / "labels", list[str]()
    labels.mkdir()
    shutil.copy(calibrated.source / "labelsTr" / "phantom_005.nii.gz", labels)
    request = service.PredictRequest(only=["phantom_005", "phantom_006"], progress=lambda *told: seen.append(told[2]))
    with pytest.raises(InputError, match="no reference for phantom_006"):
        service.calibrate(model, calibrated.source, labels, request)
    assert seen == []


def test_unjudged_voxels_count_for_nothing(calibrated, tmp_path):
    model, labels = calibrated.copy(tmp_path), tmp_path / "labels"
    labels.mkdir()
    path = calibrated.source / "labelsTr" / "phantom_005.nii.gz"
    image = nib.load(path)
    label, request = np.asarray(image.dataobj).copy(), service.PredictRequest(only=["phantom_005"])
    whole = service.calibrate(model, calibrated.source, calibrated.source, request)
    label[:, :, ::2] = 255
    nib.save(nib.Nifti1Image(label, image.affine, image.header), labels / path.name)
    half = service.calibrate(model, calibrated.source, labels, request)
    assert half.confidence.before != whole.confidence.before
    label[...] = 255
    nib.save(nib.Nifti1Image(label, image.affine, image.header), labels / path.name)
    with pytest.raises(InputError, match="no voxel of the held-out scans is judged"):
        service.calibrate(model, calibrated.source, labels, request)


@pytest.mark.parametrize("change", ["weights", "scales", "mirror", "overlap"])
def test_it_is_not_used_for_another_model_or_way_of_predicting(calibrated, tmp_path, change):
    model, said = calibrated.copy(tmp_path), list[str]()
    request = service.PredictRequest(only=["phantom_014"], notice=said.append)
    if change == "weights":
        path = model.root / "calibration.json"
        path.write_text(path.read_text().replace(calibrated.found.weights_sha256, "0" * 64))
    else:
        setattr(request, change, {"scales": (0.8,), "mirror": not calibrated.found.mirror, "overlap": 0.25}[change])
    service.predict(model, calibrated.source, tmp_path / "out", request)
    assert "dice_expected" not in summary(tmp_path / "out")[0]
    assert len(said) == 1
    assert ("other weights" if change == "weights" else "other scales, mirror images or overlap") in said[0]


def test_held_out_names_are_those_of_the_training(calibrated, tmp_path):
    with pytest.raises(InputError, match="held no scan out"):
        service.held_out_names(calibrated.model)
    model = calibrated.copy(tmp_path)
    (entry,) = json.loads((model.root / "labels.json").read_text())
    later = entry | {"held_out": {"phantom_009": "0001", "phantom_004": "0001"}}
    (model.root / "labels.json").write_text(json.dumps([entry, later]))
    assert service.held_out_names(model) == ["phantom_004", "phantom_009"]


def test_the_first_and_the_last_names_of_a_part(calibrated):
    every = service.names_in_splits(calibrated.splits, "label_order")
    assert service.names_in_splits(calibrated.splits, "label_order", first=2) == every[:2]
    assert service.names_in_splits(calibrated.splits, "label_order", last=3) == every[-3:]
    assert service.names_in_splits(calibrated.splits, "label_order", last=len(every)) == every
    for wrong in ({"last": 99}, {"first": 0}, {"last": -1}):
        with pytest.raises(InputError, match="lists 14 cases under 'label_order'"):
            service.names_in_splits(calibrated.splits, "label_order", **wrong)
    with pytest.raises(InputError, match="not both"):
        service.names_in_splits(calibrated.splits, "label_order", first=1, last=1)


def test_the_benchmark_measures_on_the_test_part(calibrated, tmp_path, capsys):
    model = calibrated.copy(tmp_path)
    words = [
        model.root,
        calibrated.source,
        "--splits",
        calibrated.splits,
        "--held-out",
        HELD_OUT,
        "--out",
        tmp_path / "b",
    ]
    uncertainty.main([*map(str, words), "--device", "cpu"])
    measured = json.loads((tmp_path / "b" / "uncertainty.json").read_text())
    assert measured["calibration"]["temperature"] == calibrated.found.temperature
    test = measured["test"]
    assert list(test["cases"]) == ["phantom_014", "phantom_015", "phantom_016"]
    inside = [float(c["dice_low"]) <= c["dice"] <= float(c["dice_high"]) for c in test["cases"].values()]
    assert test["coverage"]["share"] == pytest.approx(sum(inside) / 3)
    error = np.mean([abs(float(case["dice_expected"]) - case["dice"]) for case in test["cases"].values()])
    assert test["mean_absolute_error"] == pytest.approx(error)
    printed = capsys.readouterr().out
    assert "| held-out scans, test scans | 12, 3 |" in printed
    assert "coverage of the 90 % interval" in printed


def test_it_is_used_where_the_default_overlap_is_said(calibrated, tmp_path):
    model, said = calibrated.copy(tmp_path), list[str]()
    names = service.names_in_splits(calibrated.splits, "label_order", last=2)
    of_one_scale = service.PredictRequest(only=names, scales=(1.0,))
    service.calibrate(model, calibrated.source, calibrated.source, of_one_scale)
    for overlap in (None, 0.5):
        request = replace(of_one_scale, only=["phantom_014"], notice=said.append, overlap=overlap)
        service.predict(model, calibrated.source, tmp_path / f"{overlap}", request)
        assert "dice_expected" in summary(tmp_path / f"{overlap}")[0]
    assert said == []
