"""What a study shows of itself, held against files that the tests write."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from maskmatch_med import Study
from maskmatch_med.errors import InputError, StudyError
from maskmatch_med.service import (
    browse,
    display_label,
    display_prediction,
    display_scan,
    is_study,
    make_demo_study,
    studies_in,
    study_stamp,
    thumbnail_of,
)


def test_rows_tell_grid_and_state_as_the_files_do(tiny_study: Path) -> None:
    page = browse(tiny_study)
    for scan in page.scans:
        image = nibabel.load(tiny_study / "imagesTr" / f"{scan.name}_0000.nii.gz")
        assert scan.shape == image.shape
        assert scan.spacing_mm == pytest.approx(nibabel.affines.voxel_sizes(image.affine), rel=1e-5)
        assert (scan.state == "labelled") == (tiny_study / "labelsTr" / f"{scan.name}.nii.gz").is_file()
    assert page.states == {"labelled": 2, "none": 3}


def test_states_follow_labels_and_predictions(tiny_study: Path) -> None:
    study = Study.open(tiny_study)
    first, second, third = [case for case in study.cases() if case.label is None]
    some = np.zeros(first.shape, np.uint8)
    some[0] = 255
    study.add_label(first.name, some)
    study.add_label(second.name, np.zeros(second.shape, np.uint8), source="model accepted", complete=True)
    _write_prediction(tiny_study, "m", third.name, np.zeros(third.shape, np.uint8))
    states = {scan.name: scan.state for scan in browse(tiny_study).scans}
    assert (states[first.name], states[second.name], states[third.name]) == ("partial", "accepted", "predicted")


def test_the_stamp_changes_with_labels_and_predictions(tiny_study: Path) -> None:
    before = study_stamp(tiny_study)
    assert study_stamp(tiny_study) == before
    study = Study.open(tiny_study)
    case = next(case for case in study.cases() if case.label is None)
    study.add_label(case.name, np.zeros(case.shape, np.uint8))
    labelled = study_stamp(tiny_study)
    _write_prediction(tiny_study, "m", case.name, np.zeros(case.shape, np.uint8))
    assert len({before, labelled, study_stamp(tiny_study)}) == 3


def test_studies_are_found_in_a_folder(tiny_study: Path) -> None:
    (tiny_study.parent / "other").mkdir()
    assert studies_in(tiny_study.parent) == [tiny_study]
    assert is_study(tiny_study)
    assert studies_in(tiny_study.parent / "absent") == []


@pytest.mark.proof
def test_the_demo_study_is_made_once(tmp_path: Path) -> None:
    root = make_demo_study(tmp_path / "Demo")
    stamp = study_stamp(root)
    assert browse(root).states == {"labelled": 4, "none": 20}
    assert study_stamp(make_demo_study(root)) == stamp


def test_copies_to_look_at_hold_the_voxels_and_the_grid_of_the_study(tiny_study: Path) -> None:
    name = "phantom_000"
    source = nibabel.load(tiny_study / "imagesTr" / f"{name}_0000.nii.gz")
    shown = nibabel.load(display_scan(tiny_study, name))
    np.testing.assert_array_equal(shown.get_fdata(), source.get_fdata())
    np.testing.assert_allclose(shown.affine, source.affine, atol=1e-5)
    np.testing.assert_allclose(shown.header.get_qform(), shown.header.get_sform(), atol=1e-4)
    label = nibabel.load(display_label(tiny_study, name))
    np.testing.assert_array_equal(
        label.get_fdata(), nibabel.load(tiny_study / "labelsTr" / f"{name}.nii.gz").get_fdata()
    )
    assert thumbnail_of(tiny_study, name).read_bytes()[:3] == b"\xff\xd8\xff"


def test_copies_follow_a_new_label_and_hide_what_nobody_judged(tiny_study: Path) -> None:
    study = Study.open(tiny_study)
    case = study.labelled_cases()[0]
    first, picture = display_label(tiny_study, case.name), thumbnail_of(tiny_study, case.name)
    label = np.full(case.shape, 255, np.uint8)
    label[2:5, 2:5, 2:5] = 1
    study.add_label(case.name, label)
    second = display_label(tiny_study, case.name)
    assert second != first
    assert thumbnail_of(tiny_study, case.name) != picture
    np.testing.assert_array_equal(nibabel.load(second).get_fdata(), np.where(label == 255, 0, label))


def test_what_is_not_there_is_refused_in_a_sentence(tiny_study: Path) -> None:
    with pytest.raises(StudyError, match="no case"):
        display_scan(tiny_study, "nobody")
    with pytest.raises(StudyError, match="no case"):
        thumbnail_of(tiny_study, "../secret")
    with pytest.raises(InputError, match="no channel 3"):
        display_scan(tiny_study, "phantom_000", 3)
    with pytest.raises(InputError, match="has not segmented"):
        display_prediction(tiny_study, "phantom_000", "m")
    with pytest.raises(InputError, match="cannot be used"):
        display_prediction(tiny_study, "phantom_000", "../m")
    unlabelled = next(scan.name for scan in browse(tiny_study).scans if scan.state == "none")
    with pytest.raises(InputError, match="no label yet"):
        display_label(tiny_study, unlabelled)


def _write_prediction(root: Path, model: str, name: str, values: np.ndarray) -> None:
    affine = nibabel.load(root / "imagesTr" / f"{name}_0000.nii.gz").affine
    folder = root / "predictions" / model
    folder.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), folder / f"{name}.nii.gz")
