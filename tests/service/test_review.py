"""The queue of predictions that wait for eyes, what people decide on them, and masks from elsewhere."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from maskmatch_med import service
from maskmatch_med.errors import InputError, StudyError
from maskmatch_med.service import browse, review_queue
from maskmatch_med.study import Study
from maskmatch_med.study.verdicts import verdicts_of

OPEN = ["phantom_002", "phantom_003", "phantom_004"]
"""The scans of the study that have no label."""


def _put(root: Path, case: str, voxels: np.ndarray, model: str = "m", at_s: int = 0, ending: str = "") -> Path:
    """Write a prediction, or what belongs to one; ``at_s`` tells newer ones from older ones."""
    image = nib.load(root / "imagesTr" / f"{case}_0000.nii.gz")
    path = root / "predictions" / model / f"{case}{ending}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(_fitted(voxels, image.shape), image.affine), path)
    os.utime(path, (1_700_000_000 + at_s, 1_700_000_000 + at_s))
    return path


def _fitted(voxels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The scans differ by a voxel or two in size: cut off, or filled with 0."""
    fitted = np.zeros(shape, voxels.dtype)
    part = tuple(slice(0, min(sizes)) for sizes in zip(shape, voxels.shape, strict=True))
    fitted[part] = voxels[part]
    return fitted


def _shape(root: Path, case: str) -> tuple[int, ...]:
    return tuple(nib.load(root / "imagesTr" / f"{case}_0000.nii.gz").shape)


def _block(*, start: int = 8, size: int = 6) -> np.ndarray:
    """Four structures side by side, away from the border."""
    voxels = np.zeros((24, 24, 24), np.uint8)
    for value in (1, 2, 3, 4):
        corner = 2 + 5 * (value - 1)
        voxels[corner : corner + 4, start : start + size, start : start + size] = value
    return voxels


def _names(root: Path) -> list[str]:
    return [item.case for item in review_queue(root)]


@pytest.fixture
def predicted(tiny_study: Path) -> Path:
    """The study with three alike predictions of the model ``m``."""
    for case in OPEN:
        _put(tiny_study, case, _block())
    return tiny_study


def test_without_predictions_nothing_waits(tiny_study: Path) -> None:
    assert review_queue(tiny_study) == []


def test_a_model_that_is_unsure_is_looked_at_first(predicted: Path) -> None:
    for case, value in zip(OPEN, (0.1, 0.4, 0.2), strict=True):
        _put(predicted, case, np.full((24, 24, 24), value, np.float32), ending="_uncertainty")
    queue = review_queue(predicted)
    assert [item.case for item in queue] == [OPEN[1], OPEN[2], OPEN[0]]
    assert all(item.has_uncertainty and item.measured and item.usable for item in queue)
    assert queue[0].score > queue[1].score > queue[2].score


@pytest.mark.parametrize("begun", [False, True])
def test_an_acceptance_is_taken_back(predicted: Path, begun: bool) -> None:
    case = OPEN[0]
    if begun:
        painted = np.full(_shape(predicted, case), 255, np.uint8)
        painted[3] = 0
        Study.open(predicted).add_label(case, painted, author="Ada")
    before = Study.open(predicted).case(case).label
    shown = predicted / "labelsTr" / f"{case}.nii.gz"
    version = service.accept_reviewed(predicted, case, "m", "Bo")
    assert case not in _names(predicted)
    assert shown.is_file()
    service.withdraw_acceptance(predicted, case, "m", version.version, "Bo")
    assert Study.open(predicted).case(case).label == before
    assert shown.is_file() == begun
    assert case in _names(predicted)
    draft = service.open_draft(predicted, case)
    assert draft.judged.any() == begun
    assert [one.verdict for one in verdicts_of(Study.at(predicted), case)] == ["accepted", "withdrawn"]
    assert service.scan_history(predicted, case)[0].title == "Acceptance of the prediction of m withdrawn"
    with pytest.raises(InputError, match="no longer the accepted prediction"):
        service.withdraw_acceptance(predicted, case, "m", version.version)
    assert not [one for one in service.check_study(predicted) if case in one.message and one.severity == "error"]
    again = service.accept_reviewed(predicted, case, "m")
    assert int(again.version) == int(version.version) + 1


def test_a_label_whose_history_is_lost_is_not_deleted(predicted: Path) -> None:
    service.accept_reviewed(predicted, OPEN[0], "m")
    shutil.rmtree(predicted / "history" / OPEN[0])
    service.accept_reviewed(predicted, OPEN[1], "m")
    assert (predicted / "labelsTr" / f"{OPEN[0]}.nii.gz").is_file()


def test_what_was_painted_since_keeps_an_acceptance(predicted: Path) -> None:
    case = OPEN[0]
    version = service.accept_reviewed(predicted, case, "m")
    draft = service.open_draft(predicted, case)
    labels = draft.labels.copy()
    labels[0, 0, 0] = 1
    service.save_strokes(predicted, case, draft.revision, labels, draft.judged)
    with pytest.raises(StudyError, match="painted on"):
        service.withdraw_acceptance(predicted, case, "m", version.version)
    assert case not in _names(predicted)


def test_a_change_against_the_previous_model_is_told(predicted: Path) -> None:
    changed = _block()
    changed[changed == 2] = 0
    changed[7, 8, 8] = 2
    _put(predicted, OPEN[1], changed, "newer", at_s=60)
    _put(predicted, OPEN[2], _block(), "newer", at_s=60)
    first, *others = review_queue(predicted)
    assert (first.case, first.model, first.previous_model) == (OPEN[1], "newer", "m")
    assert first.reason.startswith("Spleen has changed since the previous segmentation (Dice 0.01)")
    assert first.score > 0.3 > max(item.score for item in others)


def test_shapes_are_told_in_words(predicted: Path) -> None:
    in_two = _block()
    in_two[2:6, 20:23, 20:23] = 1
    at_border = _block()
    at_border[17:21, :6, 8:14] = 4
    _put(predicted, OPEN[0], in_two)
    _put(predicted, OPEN[1], at_border)
    reasons = {item.case: item.reason for item in review_queue(predicted)}
    assert "Liver is in 2 pieces" in reasons[OPEN[0]]
    assert "Aorta" in reasons[OPEN[1]]
    assert reasons[OPEN[2]] == "Its shapes are usual; how sure its maker was is not known: look at every slice"


def test_an_empty_prediction_comes_first(predicted: Path) -> None:
    _put(predicted, OPEN[2], np.zeros((24, 24, 24), np.uint8))
    first = review_queue(predicted)[0]
    assert (first.case, first.reason) == (OPEN[2], "Nothing is segmented")
    assert first.score > 0.8


def test_what_does_not_fit_the_scan_says_so_and_can_only_be_rejected(predicted: Path) -> None:
    _put(predicted, OPEN[0], np.full((24, 24, 24), 9, np.uint8))
    first = review_queue(predicted)[0]
    assert (first.case, first.usable, first.score) == (OPEN[0], False, 1.0)
    assert "the value 9, which is no class of the study" in first.reason
    with pytest.raises(InputError, match="the value 9"):
        service.accept_reviewed(predicted, OPEN[0], "m")
    assert service.reject_prediction(predicted, OPEN[0], "m", "wrong values").verdict == "rejected"
    assert OPEN[0] not in _names(predicted)


def test_an_accepted_prediction_is_the_label_and_leaves_the_queue(predicted: Path) -> None:
    version = service.accept_reviewed(predicted, OPEN[0], "m", "eve")
    assert (version.source, version.author, version.complete) == ("model accepted", "eve", True)
    np.testing.assert_array_equal(version.read().array, _fitted(_block(), _shape(predicted, OPEN[0])))
    assert OPEN[0] not in _names(predicted)
    (record,) = json.loads((predicted / "predictions" / "m" / f"{OPEN[0]}.review.json").read_text())
    assert (record["verdict"], record["author"]) == ("accepted", "eve")


def test_a_rejected_prediction_comes_back_when_it_is_made_anew(predicted: Path) -> None:
    service.reject_prediction(predicted, OPEN[1], "m", "the  spleen\nis missing", "eve")
    assert sorted(_names(predicted)) == [OPEN[0], OPEN[2]]
    page = {scan.name: scan for scan in browse(predicted).scans}
    assert (page[OPEN[1]].state, page[OPEN[1]].predicted_by) == ("none", ("m",))
    assert service.next_to_label(predicted) == OPEN[1]
    _put(predicted, OPEN[1], _block(size=5), at_s=10)
    assert OPEN[1] in _names(predicted)
    service.reject_prediction(predicted, OPEN[1], "m", "still")
    _put(predicted, OPEN[1], _block(), "newer", at_s=60)
    queue = {item.case: item for item in review_queue(predicted)}
    assert (queue[OPEN[1]].model, queue[OPEN[1]].previous_model) == ("newer", "m")
    told = verdicts_of(Study.at(predicted), OPEN[1])
    assert [(one.verdict, one.reason, one.author) for one in told] == [
        ("rejected", "the spleen is missing", "eve"),
        ("rejected", "still", ""),
    ]


def test_a_copied_study_keeps_what_was_decided(predicted: Path) -> None:
    service.reject_prediction(predicted, OPEN[1], "m", "no")
    os.utime(predicted / "predictions" / "m" / f"{OPEN[1]}.nii.gz")
    assert OPEN[1] not in _names(predicted)


def test_a_damaged_record_hides_no_prediction(predicted: Path) -> None:
    (predicted / "predictions" / "m" / f"{OPEN[1]}.review.json").write_text("[{")
    assert OPEN[1] in _names(predicted)
    with pytest.raises(StudyError, match=r"review\.json is damaged; delete it"):
        service.reject_prediction(predicted, OPEN[1], "m", "no")


def test_a_correction_begins_with_the_prediction_and_becomes_a_label_with_its_source(predicted: Path) -> None:
    service.begin_correction(predicted, OPEN[0], "m", "eve")
    draft = service.open_draft(predicted, OPEN[0])
    np.testing.assert_array_equal(draft.labels, _fitted(_block(), draft.labels.shape))
    assert (draft.judged.any(), draft.model) == (False, "m")
    service.begin_correction(predicted, OPEN[0], "m", "eve")
    assert service.open_draft(predicted, OPEN[0]).revision == draft.revision
    labels, judged = draft.labels.copy(), draft.judged.copy()
    labels[2, 8, 8], judged[2, 8, 8] = 0, True
    revision = service.save_strokes(predicted, OPEN[0], draft.revision, labels, judged, "eve")
    service.complete_scan(predicted, OPEN[0], revision, "eve")
    assert Study.at(predicted).versions(OPEN[0])[-1].source == "model corrected"
    assert OPEN[0] not in _names(predicted)


def test_a_scan_with_a_partial_label_waits_still(predicted: Path) -> None:
    draft = service.open_draft(predicted, OPEN[0])
    judged = np.zeros(draft.labels.shape, bool)
    judged[0] = True
    service.save_strokes(predicted, OPEN[0], draft.revision, draft.labels, judged)
    service.save_label(predicted, OPEN[0])
    assert OPEN[0] in _names(predicted)


def test_a_second_look_reads_no_voxel(predicted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = review_queue(predicted)
    monkeypatch.setattr("maskmatch_med.service.observed.predicted_labels", lambda *given: pytest.fail("read again"))
    assert review_queue(predicted) == first


def test_what_was_not_reached_in_time_comes_last_and_is_reached_later(predicted: Path) -> None:
    queue = review_queue(predicted, seconds=0)
    assert [(item.measured, item.reason) for item in queue] == [(False, "Not measured yet")] * 3
    assert all(item.measured for item in review_queue(predicted))


def test_reviewing_changes_nothing_of_a_study_that_may_only_be_read(predicted: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    predicted.chmod(0o500)
    assert len(review_queue(predicted)) == 3
    predicted.chmod(0o700)


def test_overlays_tell_what_has_changed_and_where_the_model_is_unsure(predicted: Path) -> None:
    newer = _block()
    newer[2, 8, 8], newer[0, 0, 0], newer[7, 8, 8] = 0, 3, 1
    _put(predicted, OPEN[0], newer, "newer", at_s=60)
    path = service.display_difference(predicted, OPEN[0], "newer", "m")
    expected = np.zeros((24, 24, 24))
    expected[2, 8, 8], expected[0, 0, 0], expected[7, 8, 8] = 2, 1, 1
    shape = _shape(predicted, OPEN[0])
    np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), _fitted(expected, shape))
    unsure = np.linspace(0, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    _put(predicted, OPEN[0], unsure, "newer", ending="_uncertainty")
    shown = np.asarray(nib.load(service.display_uncertainty(predicted, OPEN[0], "newer")).dataobj)
    np.testing.assert_array_equal(shown, np.rint(255 * unsure))
    with pytest.raises(InputError, match="has not told where it is unsure"):
        service.display_uncertainty(predicted, OPEN[0], "m")


def test_overlays_are_reduced_like_their_scan(predicted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKMATCH_DISPLAY_VOXELS", "2000")
    _put(predicted, OPEN[0], _block(size=5), "newer", at_s=60)
    _put(predicted, OPEN[0], np.full((24, 24, 24), 0.5, np.float32), "newer", ending="_uncertainty")
    scan = nib.load(service.display_scan(predicted, OPEN[0]))
    for path in (
        service.display_uncertainty(predicted, OPEN[0], "newer"),
        service.display_difference(predicted, OPEN[0], "newer", "m"),
    ):
        shown = nib.load(path)
        assert shown.shape == scan.shape != _shape(predicted, OPEN[0])
        np.testing.assert_allclose(shown.affine, scan.affine)


def _masks(tmp_path: Path, root: Path) -> Path:
    """Files as other programs name them: good ones, and one each that fits no scan or no class."""
    folder = tmp_path / "masks"
    folder.mkdir()
    for name, voxels in (
        (f"{OPEN[0]}", _block()),
        (f"{OPEN[1]}_seg", _block(size=5)),
        ("stranger", _block()),
        (f"{OPEN[2]}", np.full((24, 24, 24), 7, np.uint8)),
        ("phantom_000", _block()),
    ):
        case = name.removesuffix("_seg")
        scan = nib.load(root / "imagesTr" / f"{case if case in OPEN else OPEN[0]}_0000.nii.gz")
        shape = scan.shape if case in OPEN else (16, 24, 24)
        nib.save(nib.Nifti1Image(_fitted(voxels, shape), scan.affine), folder / f"{name}.nii.gz")
    (folder / "letter.txt").write_text("dear all")
    return folder


def test_masks_of_another_program_are_reviewed_like_predictions(tiny_study: Path, tmp_path: Path) -> None:
    folder = _masks(tmp_path, tiny_study)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    found = service.take_in_masks(folder, tiny_study, "nnU-Net")
    assert sorted(found.taken) == OPEN[:2]
    refused = {one.name: one.reason for one in found.refused}
    assert sorted(refused) == ["letter.txt", "phantom_000.nii.gz", f"{OPEN[2]}.nii.gz", "stranger.nii.gz"]
    assert "label 7 is not among 0, 1, 2, 3, 4" in refused[f"{OPEN[2]}.nii.gz"]
    assert "no scan is called stranger" in refused["stranger.nii.gz"]
    assert "has (16, 24, 24) voxels" in refused["phantom_000.nii.gz"]
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(item.case for item in review_queue(tiny_study)) == OPEN[:2]
    assert {item.model for item in review_queue(tiny_study)} == {"nnU-Net"}
    version = service.accept_reviewed(tiny_study, OPEN[1], "nnU-Net", "eve")
    np.testing.assert_array_equal(version.read().array, _fitted(_block(size=5), _shape(tiny_study, OPEN[1])))


def test_a_mask_of_another_name_is_found_by_its_grid(tiny_study: Path, tmp_path: Path) -> None:
    values = np.zeros((10, 11, 12), np.int16)
    nib.save(nib.Nifti1Image(values, np.diag([1, 2, 3, 1])), tmp_path / "odd.nii.gz")
    Study.open(tiny_study).add_case("odd", tmp_path / "odd.nii.gz")
    (tmp_path / "masks").mkdir()
    nib.save(
        nib.Nifti1Image((values + 1).astype(np.uint8), np.diag([1, 2, 3, 1])), tmp_path / "masks" / "result.nii.gz"
    )
    found = service.take_in_masks(tmp_path / "masks", tiny_study, "other")
    assert found.taken == ["odd"]
    assert "result.nii.gz was taken for a mask of odd, on whose grid alone it lies" in found.notes


def test_masks_may_be_pictures(picture_study: Path, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    scan = next(scan for scan in browse(picture_study).scans if scan.state == "none")
    mask = np.zeros((scan.shape[1], scan.shape[0]), np.uint8)
    mask[4:9, 5:20] = 255
    Image.fromarray(mask).save(tmp_path / "masks" / f"{scan.name}.png")
    assert service.take_in_masks(tmp_path / "masks", picture_study, "other").refused == []
    voxels = np.asarray(nib.load(picture_study / "predictions" / "other" / f"{scan.name}.nii.gz").dataobj)
    np.testing.assert_array_equal(voxels[:, :, 0].T, mask > 0)


@pytest.mark.parametrize(
    ("folder", "name", "said"),
    [
        ("missing", "other", "there is no folder"),
        ("empty", "other", "there is no file in"),
        ("masks", "a/b", "model"),
        ("masks", "trained", "trained is a model of this study"),
    ],
)
def test_masks_that_cannot_be_taken_in_are_refused(
    tiny_study: Path, tmp_path: Path, folder: str, name: str, said: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tiny_study / "models" / "trained").mkdir(parents=True)
    _masks(tmp_path, tiny_study)
    with pytest.raises(InputError, match=said):
        service.take_in_masks(tmp_path / folder, tiny_study, name)
