"""Exports hold what the study holds: voxels, grid, names and where each file comes from."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from maskmatch_med import service
from maskmatch_med.config import TrainConfig
from maskmatch_med.errors import InputError
from maskmatch_med.io import write_segmentation
from maskmatch_med.service import ExportOrder
from maskmatch_med.study import ImportOptions, LabelDefinition, SourceInfo, Study, import_scans
from maskmatch_med.study.exported import exports_of
from maskmatch_med.study.verdicts import add_verdict
from maskmatch_med.volume import Geometry, Volume

NOTICE = "Research use, not a medical device"


def _picture_like(root: Path, shape: tuple[int, int, int], classes: int = 1) -> tuple[Study, np.ndarray]:
    names = {"background": 0, **{f"class {n}": n for n in range(1, classes + 1)}}
    study = Study.create(root, channel_names=["grey"], label_names=names)
    geometry = Geometry(shape, np.diag([-1.0, -1.0, 1.0, 1.0]))
    for seed, name in enumerate(("p one", "q")):
        array = np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)
        study.add_case(name, Volume(array, geometry), source=SourceInfo(f"{name}.jpg", "jpg", is_raster=True))
    labels = np.zeros(shape, np.uint8)
    labels[1, 2] = 1
    study.add_label("p one", labels, author="Ada")
    write_segmentation(study.predictions_dir / "model" / "q.nii.gz", labels, geometry)
    return study, labels


def _table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def test_labels_and_predictions_for_the_rest_as_nifti(tmp_path: Path) -> None:
    study, labels = _picture_like(tmp_path / "s", (4, 5, 1))
    written = service.export_study(study, tmp_path / "o", ExportOrder(model="model", author="Bo"))
    assert {str(path.relative_to(tmp_path / "o")) for path in written} == {
        "labels/label_description.txt",
        "labels/p one.nii.gz",
        "predictions/model/label_description.txt",
        "predictions/model/q.nii.gz",
        "provenance.csv",
        "labels.json",
        "README.txt",
    }
    for path in (path for path in written if path.name.endswith(".nii.gz")):
        image = nibabel.load(path)
        assert image.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(np.asarray(image.dataobj), labels)
    drawn, predicted = _table(tmp_path / "o" / "provenance.csv")
    assert (drawn["case"], drawn["kind"], drawn["version"], drawn["author"]) == ("p one", "label", "0001", "Ada")
    assert (predicted["case"], predicted["kind"], predicted["model"]) == ("q", "prediction", "model")
    assert NOTICE in (tmp_path / "o" / "README.txt").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "o" / "labels.json").read_text())["notice"] == NOTICE
    (record,) = exports_of(study.root)
    assert (record.author, record.labels, record.predictions) == ("Bo", {"p one": "0001"}, {"q": "model"})


def test_names_and_colours_come_back_from_an_export_as_nifti(tmp_path: Path) -> None:
    study, labels = _picture_like(tmp_path / "s", (4, 5, 1), classes=2)
    wanted = [LabelDefinition('the "inner" part', "#102030", "class 2"), LabelDefinition("rim", "#fedcba", "class 1")]
    service.define_labels(study.root, wanted)
    service.export_study(study.root, tmp_path / "o")
    shutil.copytree(study.root / "imagesTr", tmp_path / "in" / "images")
    shutil.copytree(tmp_path / "o" / "labels", tmp_path / "in" / "labels")
    import_scans(tmp_path / "in", tmp_path / "back")
    back = Study.open(tmp_path / "back")
    assert back.label_names == {"background": 0, "the 'inner' part": 1, "rim": 2}
    assert back.label_colours == {"the 'inner' part": "#102030", "rim": "#fedcba"}
    label = back.case("p one").label
    assert label is not None
    np.testing.assert_array_equal(label.read().array, labels * 2)


def test_accepted_predictions_can_be_left_out_and_scans_chosen(tmp_path: Path) -> None:
    study, _ = _picture_like(tmp_path / "s", (4, 5, 1))
    service.accept_prediction(study.root, "q", "model", "Bo")
    assert service.exportable(study, ExportOrder()) == (2, 0)
    assert service.exportable(study, ExportOrder(accepted=False)) == (1, 0)
    assert service.exportable(study, ExportOrder(accepted=False, model="model")) == (1, 1)
    service.export_study(study, tmp_path / "o", ExportOrder(scans=("q",)))
    assert [path.name for path in (tmp_path / "o" / "labels").glob("*.nii.gz")] == ["q.nii.gz"]
    assert _table(tmp_path / "o" / "provenance.csv")[0]["source"] == "model accepted"
    with pytest.raises(InputError, match="nothing of that to export"):
        service.export_study(study, tmp_path / "p", ExportOrder(accepted=False, scans=("q",)))


def test_a_prediction_that_somebody_rejected_is_not_exported(tmp_path: Path) -> None:
    study, _ = _picture_like(tmp_path / "s", (4, 5, 1))
    add_verdict(study, "q", "model", "rejected", "wrong place", "Bo")
    assert service.exportable(study, ExportOrder(model="model")) == (1, 0)


@pytest.mark.parametrize(("unjudged", "value", "declared"), [("marked", 255, 2), ("background", 0, None)])
def test_voxels_that_nobody_judged_are_written_as_stated(tmp_path: Path, unjudged, value, declared) -> None:
    study, labels = _picture_like(tmp_path / "s", (4, 5, 2))
    partial = labels.copy()
    partial[0] = 255
    study.add_label("p one", partial)
    service.export_study(study, tmp_path / "o", ExportOrder(unjudged=unjudged))
    array = np.asarray(nibabel.load(tmp_path / "o" / "labels" / "p one.nii.gz").dataobj)
    np.testing.assert_array_equal(array, np.where(partial == 255, value, partial))
    stated = json.loads((tmp_path / "o" / "labels.json").read_text())["not_judged"]
    assert stated == (255 if unjudged == "marked" else None)
    service.export_study(study, tmp_path / "n", ExportOrder(format="nnunet", unjudged=unjudged))
    array = np.asarray(nibabel.load(tmp_path / "n" / "labelsTr" / "p one.nii.gz").dataobj)
    np.testing.assert_array_equal(array, np.where(partial == 255, declared or 0, partial))
    assert json.loads((tmp_path / "n" / "dataset.json").read_text())["labels"].get("ignore") == declared
    assert "nobody judged" in (tmp_path / "n" / "README.txt").read_text(encoding="utf-8")


def test_an_nnunet_data_set_holds_images_labels_and_dataset_json(tmp_path: Path) -> None:
    study, _ = _picture_like(tmp_path / "s", (4, 5, 2))
    service.export_study(study, tmp_path / "out", ExportOrder(format="nnunet"))
    content = json.loads((tmp_path / "out/dataset.json").read_text())
    assert content == json.loads((study.root / "dataset.json").read_text())
    assert sorted(p.name for p in (tmp_path / "out/imagesTr").iterdir()) == ["p one_0000.nii.gz", "q_0000.nii.gz"]
    for entry in content["dataset"].values():
        assert all((tmp_path / "out" / image).is_file() for image in entry["images"])
        assert (tmp_path / "out" / entry["label"]).is_file()


@pytest.mark.parametrize(("shape", "axis"), [((1, 4, 5), 0), ((4, 1, 5), 1), ((1, 4, 1), 2)])
def test_single_slices_become_one_picture(tmp_path: Path, shape, axis) -> None:
    study = Study.create(tmp_path / "s", channel_names=["MRI"], label_names={"background": 0, "a": 1})
    labels = np.zeros(shape, np.uint8)
    labels.flat[2] = 1
    study.add_case("x", Volume(np.zeros((1, *shape), np.float32), Geometry(shape, np.diag([2.0, 3.0, 4.0, 1.0]))))
    study.add_label("x", labels)
    picture = service.export_study(study, tmp_path / "png", ExportOrder(format="png"))[0]
    with Image.open(picture) as opened:
        np.testing.assert_array_equal(np.asarray(opened), labels.squeeze(axis).T * 255)


@pytest.mark.parametrize(("plane", "axis"), [("axial", 1), ("coronal", 0), ("sagittal", 2)])
def test_a_volume_becomes_slices_that_can_be_put_back(tmp_path: Path, plane, axis) -> None:
    """Its first axis runs from front to back, the second from head to feet, the third from left to right."""
    shape = (3, 4, 5)
    affine = np.array([[0, 0, 1.5, 0], [-1, 0, 0, 0], [0, -2, 0, 0], [0, 0, 0, 1.0]])
    study = Study.create(tmp_path / "s", channel_names=["CT"], label_names={"background": 0, "a": 1, "b": 2})
    labels = np.random.default_rng(0).integers(0, 3, shape, dtype=np.uint8)
    study.add_case("x", Volume(np.zeros((1, *shape), np.float32), Geometry(shape, affine)))
    study.add_label("x", labels)
    service.export_study(study, tmp_path / "png", ExportOrder(format="png", plane=plane))
    files = sorted((tmp_path / "png" / "labels" / "x").iterdir())
    assert files[0].name == f"{plane}_000.png"
    slices = []
    for path in files:
        with Image.open(path) as picture:
            slices.append(np.asarray(picture).T)
    np.testing.assert_array_equal(np.stack(slices, axis), labels)


def test_exports_that_cannot_be_are_refused_in_a_sentence(tmp_path: Path) -> None:
    study, _ = _picture_like(tmp_path / "s", (4, 5, 2))
    with pytest.raises(InputError, match="no single slice"):
        service.export_study(study, tmp_path / "png", ExportOrder(format="png"))
    with pytest.raises(InputError, match="unknown"):
        service.export_study(study, tmp_path / "x", ExportOrder(format="dicom"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="not an empty folder"):
        service.export_study(study, study.root)
    with pytest.raises(InputError, match="holds no finished model"):
        service.export_study(study, tmp_path / "m", ExportOrder(format="model", model="model"))
    assert not exports_of(study.root)


def test_a_model_leaves_without_a_path_and_without_the_name_of_a_scan(tiny_study: Path, tmp_path: Path) -> None:
    config = TrainConfig(method="supervised", iterations=1, labelled_batch=1)
    first = service.train(tiny_study, config, service.TrainRequest(name="first"))
    model = service.train(tiny_study, config, service.TrainRequest(name="second", start_from=first.root))
    (model.root / "calibration.json").write_text("{}")
    (model.root / "calibration_scans.csv").write_text("case,dice\nphantom_000,0.9\n")
    assert TrainConfig.load(model.config_path).start_from == str(first.root.resolve())

    written = service.export_study(tiny_study, tmp_path / "out", ExportOrder(format="model", model="second"))

    files = {"weights.safetensors", "plan.json", "config.json", "metrics.json", "calibration.json"}
    assert {path.name for path in written} == files | {"MODEL_CARD.md", "README.txt"}
    assert TrainConfig.load(tmp_path / "out" / "config.json") == config
    for path in written:
        content = path.read_bytes()
        assert not re.search(rb"phantom_\d|[\"\s(]/\w+/|[A-Z]:\\\\", content), path.name
        assert str(tiny_study.parent).encode() not in content, path.name


def test_a_zip_is_the_same_each_time_and_holds_what_the_folder_holds(tmp_path: Path) -> None:
    study, _ = _picture_like(tmp_path / "my study", (4, 5, 2))
    order = ExportOrder(format="nnunet")
    made = service.prepare_download(study, order)
    path = service.download_path(study, made.key, made.name)
    first = path.read_bytes()
    assert (made.name, made.size, made.scans) == ("Dataset501_my_study.zip", len(first), 1)
    path.unlink()
    assert service.prepare_download(study, order) == made
    assert path.read_bytes() == first
    folder = tmp_path / "folder"
    service.export_study(study, folder, order)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = {name.removeprefix("Dataset501_my_study/"): archive.read(name) for name in archive.namelist()}
    assert names == {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    study.add_label("q", np.zeros((4, 5, 2), np.uint8))
    assert service.prepare_download(study, order).key != made.key


def test_old_zips_are_removed_and_odd_names_lead_nowhere(tmp_path: Path) -> None:
    import os

    study, _ = _picture_like(tmp_path / "s", (4, 5, 2))
    made = service.prepare_download(study, ExportOrder())
    folder = service.download_path(study, made.key, made.name).parent
    os.utime(folder, (0, 0))
    service.prepare_download(study, ExportOrder(format="nnunet"))
    with pytest.raises(InputError, match="no longer there"):
        service.download_path(study, made.key, made.name)
    for key, name in ((made.key, "../../dataset.json"), ("..", "dataset.json"), ("", made.name)):
        with pytest.raises(InputError, match="no longer there"):
            service.download_path(study, key, name)


def test_hippocampi_come_back_voxel_by_voxel_on_their_own_grid(shared_data: Path, tmp_path: Path) -> None:
    source, place = shared_data / "Task04_Hippocampus", tmp_path / "source"
    content = json.loads((source / "dataset.json").read_text())
    content["training"] = content["training"][:3]
    content["test"] = []
    for entry in content["training"]:
        for path in entry.values():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes((source / path).read_bytes())
    (place / "dataset.json").write_text(json.dumps(content))
    study = tmp_path / "study"
    import_scans(place, study, ImportOptions())
    made = service.prepare_download(study, ExportOrder())
    with zipfile.ZipFile(service.download_path(study, made.key, made.name)) as archive:
        archive.extractall(tmp_path / "out")
    exported = sorted((tmp_path / "out").rglob("labels/*.nii.gz"))
    assert len(exported) == 3
    for path in exported:
        image, label = nibabel.load(path), nibabel.load(source / "labelsTr" / path.name)
        scan = nibabel.load(next((source / "imagesTr").glob(path.name.replace(".nii.gz", "*.nii.gz"))))
        np.testing.assert_array_equal(np.asarray(image.dataobj), np.asarray(label.dataobj))
        np.testing.assert_allclose(image.affine, scan.affine, atol=1e-6)
        np.testing.assert_allclose(image.header.get_zooms(), scan.header.get_zooms()[:3], atol=1e-6)
        assert image.shape == scan.shape[:3]


def test_a_ct_from_dicom_is_exported_on_the_grid_of_its_series(shared_data: Path, tmp_path: Path) -> None:
    import SimpleITK as sitk  # noqa: N813

    series, study = tmp_path / "series", tmp_path / "study"
    series.mkdir()
    for path in sorted((shared_data / "ct" / "example_ct_dicom").iterdir())[:8]:
        (series / path.name).write_bytes(path.read_bytes())
    import_scans(series, study, ImportOptions(label_names=("bone",)))
    (case,) = Study.at(study).cases()
    image = case.read_image().array[0]
    labels = (image > 200).astype(np.uint8)
    Study.open(study).add_label(case.name, labels)
    out = service.export_study(study, tmp_path / "o", ExportOrder())[0]
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    scan = reader.Execute()
    back = sitk.ReadImage(str(out))
    assert back.GetSize() == scan.GetSize()
    at = sitk.Resample(back, scan, sitk.Transform(), sitk.sitkNearestNeighbor)
    voxels = sitk.GetArrayFromImage(scan)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(at), voxels > 200)


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii"])
def test_an_oblique_scan_of_another_format_keeps_its_grid(tmp_path: Path, ending: str) -> None:
    import SimpleITK as sitk  # noqa: N813

    voxels = np.random.default_rng(1).integers(0, 900, (5, 6, 7)).astype(np.int16)
    scan = sitk.GetImageFromArray(voxels)
    turned = sitk.Euler3DTransform((0, 0, 0), 0.2, -0.3, 0.4)
    scan.SetDirection(turned.GetMatrix())
    scan.SetSpacing((0.7, 0.8, 2.5))
    scan.SetOrigin((-31.0, 12.5, 40.25))
    (tmp_path / "source").mkdir()
    sitk.WriteImage(scan, str(tmp_path / "source" / f"scan{ending}"))
    import_scans(tmp_path / "source", tmp_path / "study", ImportOptions(label_names=("bright",)))
    (case,) = Study.at(tmp_path / "study").cases()
    labels = (case.read_image().array[0] > 450).astype(np.uint8)
    Study.open(tmp_path / "study").add_label(case.name, labels)
    out = service.export_study(tmp_path / "study", tmp_path / "o", ExportOrder())[0]
    image = nibabel.load(out)
    np.testing.assert_allclose(image.affine, nibabel.load(case.image_paths[0]).affine, atol=1e-5)
    back = sitk.ReadImage(str(out))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), voxels > 450)
    np.testing.assert_allclose(back.GetDirection(), scan.GetDirection(), atol=1e-5)
    np.testing.assert_allclose(back.GetOrigin(), scan.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(back.GetSpacing(), scan.GetSpacing(), atol=1e-5)


def test_nuclei_go_back_out_as_png_under_their_names(shared_data: Path, tmp_path: Path) -> None:
    place = tmp_path / "source"
    names = sorted(path.name for path in (shared_data / "nuclei" / "images").glob("*.png"))[:4]
    for part in ("images", "masks"):
        (place / part).mkdir(parents=True)
        for name in names:
            (place / part / name).write_bytes((shared_data / "nuclei" / part / name).read_bytes())
    import_scans(place, tmp_path / "study", ImportOptions())
    service.export_study(tmp_path / "study", tmp_path / "o", ExportOrder(format="png"))
    assert sorted(path.name for path in (tmp_path / "o" / "labels").iterdir()) == names
    for name in names:
        with Image.open(tmp_path / "o" / "labels" / name) as out, Image.open(place / "masks" / name) as mask:
            assert out.size == mask.size
            np.testing.assert_array_equal(np.asarray(out) > 0, np.asarray(mask.convert("L")) > 0)


def test_pictures_of_which_some_are_judged_in_part_come_back(tmp_path: Path) -> None:
    """255 cannot mean the class in one picture and "not judged" in the next."""
    study, labels = _picture_like(tmp_path / "s", (4, 5, 1))
    partial = labels.copy()
    partial[3] = 255
    study.add_label("q", partial)
    out = tmp_path / "png"
    service.export_study(study, out, ExportOrder(format="png", unjudged="marked"))
    images = tmp_path / "images"
    images.mkdir()
    for name in ("p one", "q"):
        Image.fromarray(np.zeros((5, 4), np.uint8)).save(images / f"{name}.png")
    service.import_scans(images, tmp_path / "back", service.ImportOptions(labels_dir=out / "labels"))
    back = Study.open(tmp_path / "back")
    np.testing.assert_array_equal(back.case("p one").read_label().array, labels)
    np.testing.assert_array_equal(back.case("q").read_label().array, partial)
