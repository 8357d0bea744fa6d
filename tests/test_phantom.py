"""The generated study: deterministic, varied, complete, and honest about where things lie."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from maskmatch_med.errors import InputError
from maskmatch_med.phantom import LABEL_NAMES, PhantomOptions, case_name, make_phantom, write_phantom

SMALL = PhantomOptions(scans=3, labelled=1, test=1, shape=(36, 28, 24), seed=5)


def test_the_same_seed_and_index_give_the_same_scan_and_others_differ():
    first, labels = make_phantom(SMALL, 1)
    again, labels_again = make_phantom(SMALL, 1)
    assert np.array_equal(first.array, again.array)
    assert np.array_equal(labels, labels_again)
    assert np.array_equal(first.geometry.affine, again.geometry.affine)
    other_seed, _ = make_phantom(PhantomOptions(shape=SMALL.shape, seed=6), 1)
    other_index, _ = make_phantom(SMALL, 2)
    assert other_seed.array.shape != first.array.shape or not np.array_equal(other_seed.array, first.array)
    assert other_index.array.shape != first.array.shape or not np.array_equal(other_index.array, first.array)


def test_every_scan_of_the_default_study_has_every_structure_at_a_believable_size():
    options = PhantomOptions()
    for index in range(options.scans + options.test):
        scan, labels = make_phantom(options, index)
        volumes_ml = np.bincount(labels.ravel(), minlength=5)[1:] * scan.geometry.voxel_mm3 / 1000
        assert set(np.unique(labels)) == {0, 1, 2, 3, 4}, index
        for name, low, high in (("liver", 400, 3000), ("spleen", 25, 500), ("kidney", 60, 500), ("aorta", 25, 180)):
            assert low < volumes_ml[LABEL_NAMES[name] - 1] < high, (index, name)


def test_grids_vary_in_shape_spacing_direction_and_tilt():
    grids = [make_phantom(SMALL, index)[0].geometry for index in range(14)]
    assert len({grid.shape for grid in grids}) > 4
    assert len({grid.axis_codes for grid in grids}) >= 3
    spacings = np.array([grid.spacing_mm for grid in grids])
    assert np.ptp(spacings, axis=0).min() > 0.1
    tilted = [np.count_nonzero(np.abs(grid.affine[:3, :3]) > 0.05) > 3 for grid in grids]
    assert any(tilted)
    assert not all(tilted)


def test_the_liver_lies_on_the_right_and_the_spleen_on_the_left_whatever_the_flips():
    for index in range(8):
        scan, labels = make_phantom(SMALL, index)
        world = [
            scan.geometry.affine @ [*ndimage.center_of_mass(labels == LABEL_NAMES[name]), 1]
            for name in ("liver", "spleen", "aorta")
        ]
        assert world[0][0] > world[2][0] > world[1][0]


def test_labels_follow_the_image_yet_intensity_alone_does_not_tell_the_organ():
    scan, labels = make_phantom(PhantomOptions(), 3)
    image = scan.array[0]
    assert np.median(image[labels == LABEL_NAMES["liver"]]) > 3 * np.median(image[:4, :4])
    values = {name: image[labels == value] for name, value in LABEL_NAMES.items()}
    low, high = np.percentile(values["liver"], [5, 95])
    unlabelled = image[(labels == 0) & (image > low) & (image < high)]
    assert unlabelled.size > 0.25 * values["liver"].size
    assert (image >= 0).all()
    assert (image == np.rint(image)).all()


def test_the_written_study_is_a_dataset_folder_on_one_grid_a_case(tmp_path: Path):
    root = write_phantom(tmp_path / "study", SMALL)
    dataset = json.loads((root / "dataset.json").read_text())
    splits = json.loads((root / "splits.json").read_text())
    assert dataset["labels"] == {"background": 0, **LABEL_NAMES}
    assert dataset["numTraining"] == 4
    assert splits["label_order"] == [case_name(i) for i in range(3)]
    assert splits["test"] == [case_name(3)]
    for name in splits["label_order"] + splits["test"]:
        image = nib.load(root / "imagesTr" / f"{name}_0000.nii.gz")
        label = nib.load(root / "labelsTr" / f"{name}.nii.gz")
        assert image.shape == label.shape
        assert np.allclose(image.affine, label.affine, atol=1e-4)
    scan, labels = make_phantom(SMALL, 3)
    assert np.array_equal(np.asarray(label.dataobj), labels)
    assert np.array_equal(image.get_fdata(), scan.array[0])


def test_a_finished_study_is_left_alone_and_another_folder_is_refused(tmp_path: Path):
    root = write_phantom(tmp_path / "study", SMALL)
    before = (root / "dataset.json").stat().st_mtime_ns
    assert write_phantom(root, SMALL) == root
    assert (root / "dataset.json").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="already holds another dataset"):
        write_phantom(root, PhantomOptions(scans=2, labelled=1, test=0, shape=SMALL.shape))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.txt").write_text("x")
    with pytest.raises(InputError, match="not an empty folder"):
        write_phantom(tmp_path / "photos", SMALL)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"scans": 0}, "scans=0"), ({"labelled": 30}, "labelled=30"), ({"shape": (8, 60, 60)}, "at least 16 voxels")],
)
def test_impossible_options_are_refused(options: dict[str, int], message: str):
    with pytest.raises(InputError, match=message):
        PhantomOptions(**options)
