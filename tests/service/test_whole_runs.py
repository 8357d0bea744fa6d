"""Every recipe from a study to scores: what a model folder holds, and where predictions lie."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from maskmatch_med import service
from maskmatch_med.config import TrainConfig
from maskmatch_med.errors import InputError, StoppedError
from maskmatch_med.inference import Prediction
from maskmatch_med.io import CaseFiles
from maskmatch_med.nets import ModelFolder
from maskmatch_med.phantom import PhantomOptions, write_phantom
from maskmatch_med.planning import Plan
from maskmatch_med.service.writing import write_segmented
from maskmatch_med.study import ImportOptions, Study
from maskmatch_med.training import read_log
from maskmatch_med.volume import Geometry, Volume

RECIPES = ("supervised", "fixmatch", "unimatch", "cps", "bcp+masked", "maskmatch", "supervised+masked")


def config(method: str, iterations: int = 4, **settings) -> TrainConfig:
    short = {"unlabelled.start": 0.25, "pseudo_labels.measure_every": 2, "labelled_batch": 1, "unlabelled_batch": 1}
    return TrainConfig(method=method, iterations=iterations).override(short | settings)


def refuse_names(folder: ModelFolder, study: Path) -> None:
    """No file that a person may share names a scan."""
    for path in (folder.card_path, folder.metrics_path, folder.config_path, folder.plan_path, folder.log_path):
        text = path.read_text()
        assert not [case.name for case in Study.at(study).cases() if case.name in text], path


def check_model(folder: ModelFolder, study: Path, method: str) -> None:
    files = {path.name for path in folder.root.iterdir()}
    expected = {"plan.json", "config.json", "weights.safetensors", "metrics.json", "MODEL_CARD.md", "log.jsonl"}
    assert files - {"microscope"} == expected | {"state.pt", "tensorboard", "labels.json"}
    assert Plan.load(folder.plan_path) == Plan.load(study / "plan.json")
    assert TrainConfig.load(folder.config_path).method == method
    assert all(np.isfinite(values).all() for values in load_file(folder.weights_path).values())
    metrics = folder.metrics()
    assert metrics["finished"]
    assert metrics["iterations"] == 4
    assert metrics["device"] == "cpu"
    assert 50 < metrics["memory_mib"] < 20_000
    card = folder.card_path.read_text()
    assert "Not a medical device" in card
    assert f"method `{method}`" in card
    assert [line["iteration"] for line in read_log(folder.log_path)][:1] == [1]
    assert list((folder.root / "tensorboard").glob("events.*"))
    refuse_names(folder, study)


def naive_dice(a: np.ndarray, b: np.ndarray) -> float:
    total = a.sum() + b.sum()
    return 2 * (a & b).sum() / total if total else float("nan")


@pytest.mark.parametrize("method", RECIPES)
def test_a_recipe_from_study_to_scores(tiny_study, held_out_scans, tmp_path, method):
    images, labels = held_out_scans
    folder = service.train(tiny_study, config(method))
    assert folder.root == tiny_study / "models" / method.replace("+", "-")
    check_model(folder, tiny_study, method)
    data = {"labelled": 2, "partial": 0, "unlabelled": 0 if method == "supervised" else 3, "validation": 0}
    assert folder.metrics()["data"] == data
    line = read_log(folder.log_path)[0]
    assert line["loss"] == pytest.approx(line["loss_supervised"])

    written = service.predict(folder, images, tmp_path / "out")
    assert [path.name for path in written] == ["phantom_005.nii.gz", "phantom_006.nii.gz"]
    evaluation = service.evaluate(tmp_path / "out", labels, None, tmp_path / "scores")
    assert evaluation.cases == ("phantom_005", "phantom_006")
    for row in evaluation.rows:
        found = np.asarray(nib.load(tmp_path / "out" / f"{row.case}.nii.gz").dataobj)
        truth = np.asarray(nib.load(labels / f"{row.case}.nii.gz").dataobj)
        expected = naive_dice(found == row.label, truth == row.label)
        assert row.dice == pytest.approx(expected, nan_ok=True)
    assert {"cases.csv", "summary.json", "figure.png"} <= {path.name for path in (tmp_path / "scores").iterdir()}


def test_predictions_lie_on_the_grid_of_their_scan(tiny_study, held_out_scans, tmp_path):
    """Generated scans are tilted and flipped; the oracle is nibabel."""
    images, _ = held_out_scans
    folder = service.train(tiny_study, config("maskmatch"))
    request = service.PredictRequest(scales=(0.7, 1.0), mirror=True, uncertainty=True, probabilities=True)
    out = tmp_path / "new" / "out"
    service.predict(folder, [images], out, request)
    for source in sorted(images.iterdir()):
        name = source.name.removesuffix("_0000.nii.gz")
        scan, found = nib.load(source), nib.load(out / f"{name}.nii.gz")
        assert found.shape == scan.shape
        assert found.get_data_dtype() == np.uint8
        np.testing.assert_allclose(found.affine, scan.affine, atol=1e-5)
        assert found.header["qform_code"] > 0
        np.testing.assert_allclose(found.get_qform(), scan.affine, atol=1e-3)
        labels = np.asarray(found.dataobj)
        assert labels.max() <= 4
        maps = [nib.load(out / f"{name}_probabilities_{k:02d}.nii.gz") for k in range(5)]
        uncertainty = nib.load(out / f"{name}_uncertainty.nii.gz")
        for image in (*maps, uncertainty):
            assert image.shape == scan.shape
            assert image.get_data_dtype() == np.float32
            np.testing.assert_allclose(image.affine, scan.affine, atol=1e-5)
        probabilities = np.stack([image.get_fdata() for image in maps])
        np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-4)
        np.testing.assert_array_equal(probabilities.argmax(0), labels)
        assert uncertainty.get_fdata().min() >= 0
        assert 0 < uncertainty.get_fdata().max() <= 1
    with (out / "summary.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["case"] for row in rows] == ["phantom_005", "phantom_006"]
    for row in rows:
        image = nib.load(out / f"{row['case']}.nii.gz")
        voxel_ml = abs(np.linalg.det(image.affine[:3, :3])) / 1000
        for name, value in Study.at(tiny_study).label_names.items():
            if value:
                volume = (np.asarray(image.dataobj) == value).sum() * voxel_ml
                assert float(row[f"{name}_ml"]) == pytest.approx(volume, abs=1e-3)
        assert float(row["seconds"]) >= 0
        assert 0 <= float(row["mean_uncertainty"]) <= 1


def test_predicting_again_leaves_no_map_of_before_and_keeps_the_rows_of_others(tiny_study, held_out_scans, tmp_path):
    images, _ = held_out_scans
    model = service.train(tiny_study, config("supervised"))
    names = ["phantom_005", "phantom_006"]
    everything = service.PredictRequest(only=names, uncertainty=True, probabilities=True)
    service.predict(model, [images], tmp_path, everything)
    service.predict(model, [images], tmp_path, service.PredictRequest(only=names[:1]))
    assert sorted(path.name for path in tmp_path.glob("phantom_005*")) == ["phantom_005.nii.gz"]
    assert (tmp_path / "phantom_006_uncertainty.nii.gz").is_file()
    with (tmp_path / "summary.csv").open(newline="") as stream:
        rows = {row["case"]: row for row in csv.DictReader(stream)}
    assert set(rows) == set(names)
    assert rows["phantom_006"]["mean_uncertainty"]
    assert not rows["phantom_005"]["mean_uncertainty"]
    (tmp_path / "phantom_006.nii.gz").unlink()
    service.predict(model, [images], tmp_path, service.PredictRequest(only=names[:1]))
    assert "phantom_006" not in (tmp_path / "summary.csv").read_text()


def test_pictures_in_2d(picture_study, picture_source, tmp_path):
    folder = service.train(picture_study, config("maskmatch"))
    check_model(folder, picture_study, "maskmatch")
    assert Plan.load(folder.plan_path).spatial_dims == 2
    assert folder.metrics()["data"] == {"labelled": 2, "partial": 0, "unlabelled": 2, "validation": 0}
    service.predict(folder, picture_source / "test", tmp_path / "out", service.PredictRequest(uncertainty=True))
    for name in ("cell10", "cell11"):
        with Image.open(picture_source / "test" / "images" / f"{name}.png") as source:
            size = source.size
        with Image.open(tmp_path / "out" / f"{name}.png") as mask:
            assert mask.size == size
            picture = np.asarray(mask)
        found = nib.load(tmp_path / "out" / f"{name}.nii.gz")
        assert found.shape == (*size, 1)
        assert found.get_data_dtype() == np.uint8
        labels = np.asarray(found.dataobj)[:, :, 0]
        np.testing.assert_array_equal(picture, labels.T * 255)
        assert nib.load(tmp_path / "out" / f"{name}_uncertainty.nii.gz").shape == (*size, 1)
    evaluation = service.evaluate(tmp_path / "out", picture_source / "test" / "masks")
    with Image.open(picture_source / "test" / "masks" / "cell10.png") as truth:
        expected = naive_dice(
            np.asarray(truth).T > 0, np.asarray(nib.load(tmp_path / "out/cell10.nii.gz").dataobj)[..., 0] > 0
        )
    assert evaluation.rows[0].dice == pytest.approx(expected)


@pytest.mark.parametrize("precision", ["full", "bf16"])
def test_a_2d_network_learns_a_bright_disc(picture_study, picture_source, tmp_path, capfd, precision):
    """Sixty small steps are enough for a disc that is brighter than everything else: the whole way learns."""
    learning = {"labelled_batch": 2, "unlabelled_batch": 2, "ema_decay": 0.9, "optimiser.learning_rate": 0.01}
    learning |= {"precision": precision}
    folder = service.train(picture_study, config("supervised", 60, **learning))
    assert "Precision" not in capfd.readouterr().err
    assert folder.metrics()["precision"] == precision
    assert ("cpu in bfloat16" in folder.card_path.read_text()) == (precision == "bf16")
    assert all(values.dtype == np.float32 for values in load_file(folder.weights_path).values())
    service.predict(folder, picture_source / "test", tmp_path / "out")
    assert service.evaluate(tmp_path / "out", picture_source / "test" / "masks").mean_dice > 0.7


def test_the_mask_picture_of_many_classes_keeps_their_numbers(tmp_path):
    """A scan in which only the first of two structures is found must not be written as black and white."""
    geometry = Geometry((4, 3, 1), np.eye(4))
    labels = np.zeros((4, 3, 1), np.uint8)
    labels[1] = 1
    case = CaseFiles("a", (tmp_path / "a.png",), True)
    volume = Volume(np.zeros((3, 4, 3, 1), np.float32), geometry)
    write_segmented(tmp_path, case, volume, Prediction(labels), 3)
    with Image.open(tmp_path / "a.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask), labels[:, :, 0].T)


def test_ten_labelled_scans_hold_two_out_for_validation(tmp_path):
    source = write_phantom(tmp_path / "source", PhantomOptions(scans=10, labelled=10, test=1, shape=(20, 20, 20)))
    service.import_scans(source, tmp_path / "study", ImportOptions(splits=source / "splits.json"))
    changes = {"patch_vox": "[16, 16, 16]", "network.features": "[4, 8, 8]"}
    service.plan_study(tmp_path / "study", "quick", "cpu", changes)
    folder = service.train(tmp_path / "study", config("supervised", validation_rounds=2))
    metrics = folder.metrics()
    assert metrics["data"] == {"labelled": 8, "partial": 0, "unlabelled": 0, "validation": 2}
    assert metrics["validation_scans"] == 2
    assert set(metrics["validation"]) <= {"liver", "spleen", "kidney", "aorta"}
    assert all(0 <= dice <= 1 for dice in metrics["validation"].values())
    validated = [line["iteration"] for line in read_log(folder.log_path) if "val_dice" in line]
    assert validated == [2, 4]
    assert "Dice on 2 held-out labelled scans" in folder.card_path.read_text()


def test_partial_labels_train(tiny_study):
    study = Study.open(tiny_study)
    for case in study.cases():
        label = np.full(case.shape, 255, np.uint8)
        label[:, :, 8:14] = 0
        label[8:16, 8:16, 10] = 1
        study.add_label(case.name, label)
    folder = service.train(tiny_study, config("maskmatch"))
    data = folder.metrics()["data"]
    assert (data["labelled"], data["partial"]) == (5, 5)


def test_a_run_may_start_from_another_models_weights(tiny_study):
    first = service.train(tiny_study, config("supervised"), service.TrainRequest(name="first"))
    still = config("supervised", 1, **{"optimiser.learning_rate": 1e-30})
    second = service.train(tiny_study, still, service.TrainRequest(name="second", start_from=first.root))
    a, b = load_file(first.weights_path), load_file(second.weights_path)
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_a_stop_while_scans_are_prepared_leaves_no_model(tiny_study):
    with pytest.raises(StoppedError, match="preparing"):
        service.train(tiny_study, config("supervised"), service.TrainRequest(stop_requested=lambda: True))
    assert list((tiny_study / "models").iterdir()) == []


def test_the_seed_decides_the_weights(tiny_study):
    def weights(name: str, seed: int) -> dict[str, np.ndarray]:
        request = service.TrainRequest(name=name)
        return load_file(service.train(tiny_study, config("maskmatch", seed=seed), request).weights_path)

    first, again, other = weights("a", 3), weights("b", 3), weights("c", 4)
    assert all(np.array_equal(again[name], values) for name, values in first.items())
    assert not all(np.array_equal(other[name], values) for name, values in first.items())


def test_only_one_part_of_the_splits_is_predicted(tiny_study, phantom_source, tmp_path):
    folder = service.train(tiny_study, config("supervised"))
    names = service.names_in_splits(phantom_source / "splits.json", "test")
    request = service.PredictRequest(only=names)
    written = service.predict(folder, phantom_source, tmp_path / "out", request)
    assert [path.name for path in written] == [f"{name}.nii.gz" for name in names]
    assert json.loads((phantom_source / "splits.json").read_text())["test"] == names


@pytest.mark.parametrize(("preset", "mirror"), [("quick", False), ("balanced", True), ("best", True)])
def test_a_model_keeps_what_its_preset_found_best(tiny_study, held_out_scans, tmp_path, preset, mirror):
    folder = service.train(tiny_study, TrainConfig(method="supervised", iterations=1, preset=preset))
    found = {}
    for name, chosen in (("default", None), ("on", True), ("off", False)):
        request = service.PredictRequest(mirror=chosen, probabilities=True)
        service.predict(folder, held_out_scans[0], tmp_path / name, request)
        found[name] = nib.load(tmp_path / name / "phantom_005_probabilities_01.nii.gz").get_fdata()
    assert np.array_equal(found["default"], found["on" if mirror else "off"])
    assert not np.array_equal(found["on"], found["off"])


def test_the_models_best_scales_are_the_default(tiny_study, held_out_scans, tmp_path):
    folder = service.train(tiny_study, config("supervised"))
    metrics = folder.metrics()
    metrics["inference"] = {"scales": [0.7, 1.0], "mirror": True}
    service.predict(folder, held_out_scans[0], tmp_path / "one", service.PredictRequest(probabilities=True))
    folder.metrics_path.write_text(json.dumps(metrics))
    service.predict(folder, held_out_scans[0], tmp_path / "best", service.PredictRequest(probabilities=True))
    explicit = service.PredictRequest(scales=(0.7, 1.0), mirror=True, probabilities=True)
    service.predict(folder, held_out_scans[0], tmp_path / "said", explicit)
    name = "phantom_005_probabilities_01.nii.gz"
    one, best, said = (nib.load(tmp_path / kind / name).get_fdata() for kind in ("one", "best", "said"))
    np.testing.assert_array_equal(best, said)
    assert np.abs(one - best).max() > 0


def test_predictions_never_replace_scans(tiny_study, tmp_path):
    folder = service.train(tiny_study, TrainConfig(method="supervised", iterations=1))
    scans = tmp_path / "scans"
    scans.mkdir()
    case = service.open_study(tiny_study).cases()[0]
    scan = scans / "scan.nii.gz"
    scan.write_bytes(case.image_paths[0].read_bytes())
    before = scan.read_bytes()
    with pytest.raises(InputError, match="would replace the scan"):
        service.predict(folder, scans, scans)
    assert scan.read_bytes() == before
    assert [path.name for path in scans.iterdir()] == ["scan.nii.gz"]


def test_a_broken_scan_does_not_keep_the_others_from_being_predicted(tiny_study, held_out_scans, tmp_path):
    folder = service.train(tiny_study, TrainConfig(method="supervised", iterations=1))
    scans = tmp_path / "scans"
    shutil.copytree(held_out_scans[0], scans)
    first, *others = sorted(scans.iterdir())
    first.write_bytes(first.read_bytes()[:900])
    with pytest.raises(InputError, match=rf"1 of {len(others) + 1} scans were refused[^\n]*\n[^\n]*{first.name}"):
        service.predict(folder, scans, tmp_path / "out")
    written = sorted(path.name for path in (tmp_path / "out").glob("*.nii.gz"))
    assert written == [path.name.replace("_0000", "") for path in others]
