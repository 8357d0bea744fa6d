"""Copies for a viewer: where their voxels lie, what they hold, and how small they are."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from maskmatch_med import service
from maskmatch_med.errors import InputError
from maskmatch_med.service.reduced import LIMIT, display_factors, display_geometry, reduce_labels, reduce_values
from maskmatch_med.study import ImportOptions, Study, import_scans
from maskmatch_med.volume import Geometry, Volume

AFFINE = np.array([[0, -0.7, 0.1, 7], [0.7, 0, 0, -3], [0, 0.1, 2.0, 1], [0, 0, 0, 1.0]])


def study_with(tmp_path: Path, array: np.ndarray) -> Path:
    made = Study.create(tmp_path / "study", channel_names=["CT"], label_names={"background": 0, "a": 1, "b": 2})
    made.add_case("x", Volume(array[None].astype(np.float32), Geometry(array.shape, AFFINE)))
    return made.root


@pytest.mark.parametrize("shape", [(16, 16, 8), (17, 15, 9), (1, 40, 30), (64, 64, 1)])
def test_a_reduced_voxel_lies_where_its_block_lies_and_holds_its_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int, int]
) -> None:
    monkeypatch.setenv(LIMIT, "600")
    values = np.random.default_rng(0).integers(-1000, 3000, shape)
    root = study_with(tmp_path, values)
    said = service.describe_scan(root, "x")
    copy = nib.load(service.display_scan(root, "x"))
    factors = said.factors
    assert np.prod(copy.shape) <= 600 < np.prod(shape)
    assert (said.shape, copy.shape) == (shape, tuple(-(-n // f) for n, f in zip(shape, factors, strict=True)))
    assert copy.get_data_dtype() == np.int16
    rng, shown = np.random.default_rng(1), np.asarray(copy.dataobj)
    for _ in range(30):
        voxel = rng.integers(0, copy.shape)
        native = voxel * factors + (np.array(factors) - 1) / 2
        np.testing.assert_allclose(copy.affine @ [*voxel, 1], AFFINE @ [*native, 1], atol=1e-3)
        block = values[tuple(slice(v * f, (v + 1) * f) for v, f in zip(voxel, factors, strict=True))]
        assert abs(shown[tuple(voxel)] - block.mean()) <= 0.51


def test_labels_and_predictions_lie_on_the_reduced_grid_of_their_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LIMIT, "500")
    root = study_with(tmp_path, np.zeros((20, 18, 7)))
    labels = np.zeros((20, 18, 7), np.uint8)
    labels[4:16, 6:12, 2:6] = 2
    Study.open(root).add_label("x", np.where(labels == 0, 255, labels).astype(np.uint8))
    (root / "predictions" / "m").mkdir()
    nib.save(nib.Nifti1Image(labels, AFFINE), root / "predictions" / "m" / "x.nii.gz")
    scan = nib.load(service.display_scan(root, "x"))
    for path in (service.display_label(root, "x"), service.display_prediction(root, "x", "m")):
        shown = nib.load(path)
        assert shown.shape == scan.shape != labels.shape
        np.testing.assert_allclose(shown.affine, scan.affine, atol=1e-5)
        np.testing.assert_array_equal(
            np.asarray(shown.dataobj), reduce_labels(labels, service.describe_scan(root, "x").factors)
        )
    monkeypatch.setenv(LIMIT, "100000")
    np.testing.assert_array_equal(np.asarray(nib.load(service.display_label(root, "x")).dataobj), labels)


def test_only_large_scans_are_reduced_and_their_finest_axes_first() -> None:
    assert display_factors(Geometry((160, 160, 88), np.eye(4))) == (1, 1, 1)
    ct = Geometry((512, 512, 400), np.diag([0.7, 0.7, 1.0, 1]))
    assert display_factors(ct) == (2, 2, 1)
    assert display_geometry(ct, (2, 2, 1)).shape == (256, 256, 400)


def test_fractions_travel_as_16_bits_and_are_true_to_a_500th(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(0.3, 0.1, (12, 11, 10))
    copy = nib.load(service.display_scan(study_with(tmp_path, values), "x"))
    assert copy.get_data_dtype() == np.int16
    np.testing.assert_allclose(copy.get_fdata(), values, atol=0.4 / 500)


def test_fractions_beside_an_extreme_value_stay_as_they_are(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(0.3, 0.1, (12, 11, 10))
    values[0, 0, 0] = 1e9
    copy = nib.load(service.display_scan(study_with(tmp_path, values), "x"))
    np.testing.assert_allclose(copy.get_fdata(), values, rtol=1e-6)


def test_a_scan_of_one_value_and_one_with_nan_are_shown(tmp_path: Path) -> None:
    values = np.full((6, 5, 4), 0.5)
    values[1, 1, 1] = np.nan
    root = study_with(tmp_path, values)
    said = service.describe_scan(root, "x")
    assert said.extent == (0.0, 0.5)
    assert np.isfinite(nib.load(service.display_scan(root, "x")).get_fdata()).all()


def test_a_coloured_picture_travels_in_its_colours(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    Image.fromarray(pixels).save(tmp_path / "in" / "cells.png")
    import_scans(tmp_path / "in", tmp_path / "study", ImportOptions(label_names=("background", "nucleus")))
    assert service.describe_scan(tmp_path / "study", "cells").colour
    image = nib.load(service.display_colour(tmp_path / "study", "cells"))
    found = np.asarray(image.dataobj)
    assert (int(image.header["datatype"]), int(image.header["bitpix"]), found.shape) == (128, 24, (13, 9, 1))
    for channel, name in enumerate("RGB"):
        np.testing.assert_array_equal(found[name][:, :, 0].T, pixels[..., channel])


def test_a_grey_scan_has_no_colours(tiny_study: Path) -> None:
    with pytest.raises(InputError, match="no coloured picture"):
        service.display_colour(tiny_study, "phantom_000")


def test_block_means_keep_whole_numbers_whole() -> None:
    values = np.arange(27, dtype=np.int16).reshape(3, 3, 3)
    means = reduce_values(values, (2, 2, 2))
    assert (means == np.rint(means)).all()
    assert means[1, 1, 1] == 26
    assert abs(means[0, 0, 0] - values[:2, :2, :2].mean()) <= 0.5


def test_a_copy_is_made_once_and_anew_when_the_scan_changes(tiny_study: Path) -> None:
    first = service.display_scan(tiny_study, "phantom_000")
    before = first.stat().st_mtime_ns
    assert service.display_scan(tiny_study, "phantom_000").stat().st_mtime_ns == before
    source = tiny_study / "imagesTr" / "phantom_000_0000.nii.gz"
    shutil.copyfile(tiny_study / "imagesTr" / "phantom_001_0000.nii.gz", source)
    again = service.display_scan(tiny_study, "phantom_000")
    np.testing.assert_array_equal(nib.load(again).get_fdata(), nib.load(source).get_fdata())
    assert gzip.decompress(again.read_bytes())


def test_a_prediction_is_shown_in_the_classes_of_now(tmp_path: Path) -> None:
    """Whoever accepts it must get what was shown, also after the classes were reordered."""
    root = study_with(tmp_path, np.zeros((6, 5, 4)))
    labels = np.zeros((6, 5, 4), np.uint8)
    labels[1:3], labels[4] = 1, 2
    (root / "predictions" / "m").mkdir()
    nib.save(nib.Nifti1Image(labels, AFFINE), root / "predictions" / "m" / "x.nii.gz")
    (root / "models" / "m").mkdir()
    service.plan_study(root)
    shutil.copy(root / "plan.json", root / "models" / "m" / "plan.json")
    before = np.asarray(nib.load(service.display_prediction(root, "x", "m")).dataobj)
    np.testing.assert_array_equal(before, labels)
    turned = service.label_definitions(root)[::-1]
    service.define_labels(root, turned)
    shown = np.asarray(nib.load(service.display_prediction(root, "x", "m")).dataobj)
    np.testing.assert_array_equal(shown, np.array([0, 2, 1], np.uint8)[labels])
    service.accept_prediction(root, "x", "m")
    np.testing.assert_array_equal(Study.open(root).case("x").read_label().array, shown)
