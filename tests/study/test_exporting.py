"""Export to NIfTI, nnU-Net and PNG."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from maskmatch_med.errors import InputError
from maskmatch_med.io import write_segmentation
from maskmatch_med.study import SourceInfo, Study, export_study
from maskmatch_med.volume import Geometry, Volume


def _study(root, shape):
    study = Study.create(root, channel_names=["grey"], label_names={"background": 0, "a": 1})
    geometry = Geometry(shape, np.diag([-1.0, -1.0, 1.0, 1.0]))
    for seed, name in enumerate(("p one", "q")):
        array = np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)
        study.add_case(name, Volume(array, geometry), source=SourceInfo(f"{name}.jpg", "jpg", is_raster=True))
    labels = np.zeros(shape, np.uint8)
    labels[1, 2] = 1
    study.add_label("p one", labels)
    write_segmentation(study.predictions_dir / "model" / "q.nii.gz", labels, geometry)
    return study, labels


def test_nifti_and_png(tmp_path):
    study, labels = _study(tmp_path / "s", (4, 5, 1))
    written = export_study(study, tmp_path / "nifti", "nifti")
    assert [str(p.relative_to(tmp_path / "nifti")) for p in written] == [
        "labels/p one.nii.gz",
        "predictions/model/q.nii.gz",
    ]
    np.testing.assert_array_equal(np.asarray(nib.load(written[0]).dataobj), labels)
    pictures = export_study(study, tmp_path / "png", "png")
    assert [p.name for p in pictures] == ["p one.png", "q.png"]
    with Image.open(pictures[0]) as picture:
        np.testing.assert_array_equal(np.asarray(picture), labels[:, :, 0].T * 255)


@pytest.mark.parametrize(("shape", "axis"), [((1, 4, 5), 0), ((4, 1, 5), 1), ((1, 4, 1), 2)])
def test_slices_along_another_axis_become_pictures_too(tmp_path, shape, axis):
    study = Study.create(tmp_path / "s", channel_names=["MRI"], label_names={"background": 0, "a": 1})
    labels = np.zeros(shape, np.uint8)
    labels.flat[2] = 1
    study.add_case("x", Volume(np.zeros((1, *shape), np.float32), Geometry(shape, np.diag([2.0, 3.0, 4.0, 1.0]))))
    study.add_label("x", labels)
    (picture,) = export_study(study, tmp_path / "png", "png")
    with Image.open(picture) as opened:
        np.testing.assert_array_equal(np.asarray(opened), labels.squeeze(axis).T * 255)


def test_nnunet_holds_images_labels_and_dataset_json(tmp_path):
    study, _ = _study(tmp_path / "s", (4, 5, 2))
    export_study(study, tmp_path / "out", "nnunet")
    content = json.loads((tmp_path / "out/dataset.json").read_text())
    assert content == json.loads((study.root / "dataset.json").read_text())
    assert sorted(p.name for p in (tmp_path / "out/imagesTr").iterdir()) == ["p one_0000.nii.gz", "q_0000.nii.gz"]
    for entry in content["dataset"].values():
        assert all((tmp_path / "out" / image).is_file() for image in entry["images"])
        assert (tmp_path / "out" / entry["label"]).is_file()


def test_exports_that_cannot_be(tmp_path):
    study, _ = _study(tmp_path / "s", (4, 5, 2))
    with pytest.raises(InputError, match="no single slice"):
        export_study(study, tmp_path / "png", "png")
    with pytest.raises(InputError, match="unknown"):
        export_study(study, tmp_path / "x", "dicom")
    with pytest.raises(InputError, match="not an empty folder"):
        export_study(study, study.root, "nifti")
