"""The verbs of labelling, on a study with predictions."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import nibabel as nib
import numpy as np
import pytest

from maskmatch_med import service
from maskmatch_med.config import TrainConfig
from maskmatch_med.errors import ConflictError, InputError
from maskmatch_med.study import Drafts, Study


@pytest.fixture
def unlabelled(tiny_study):
    return next(case for case in Study.at(tiny_study).cases() if case.label is None)


@pytest.fixture
def prediction(tiny_study, unlabelled):
    """A mask from elsewhere that lies in predictions/other, and its voxels."""
    image = nib.load(unlabelled.image_paths[0])
    classes = len(Study.at(tiny_study).label_names)
    voxels = np.random.default_rng(1).integers(0, classes, image.shape, dtype=np.uint8)
    folder = tiny_study / "predictions" / "other"
    folder.mkdir(parents=True)
    nib.save(nib.Nifti1Image(voxels, image.affine), folder / f"{unlabelled.name}.nii.gz")
    return voxels


def test_paint_a_part_save_and_find_it_in_the_study(tiny_study, unlabelled):
    name = unlabelled.name
    draft = service.open_draft(tiny_study, name)
    labels, judged = draft.labels.copy(), draft.judged.copy()
    labels[3:6, 4:8, 2], judged[3:6, 4:9, 2] = 1, True
    revision = service.save_strokes(tiny_study, name, draft.revision, labels, judged, "eve")
    assert Study.at(tiny_study).case(name).judged == "none"
    with pytest.raises(ConflictError):
        service.save_strokes(tiny_study, name, draft.revision, labels * 0, judged)
    version = service.save_label(tiny_study, name)
    written = np.asarray(nib.load(version.path).dataobj)
    np.testing.assert_array_equal(written, np.where(judged, labels, 255))
    assert service.save_label(tiny_study, name) is None
    assert service.complete_slice(tiny_study, name, revision, 2, 2).complete_slices(2) == [2]
    kept = Drafts(Study.open(tiny_study)).save_over(
        service.open_draft(tiny_study, name).case, labels * 0, judged, "eve"
    )
    assert service.complete_scan(tiny_study, name, kept.revision, "eve").complete
    assert not (np.asarray(nib.load(tiny_study / "labelsTr" / f"{name}.nii.gz").dataobj)).any()


def test_drafts_become_versions_after_idle_minutes(tiny_study, unlabelled):
    draft = service.open_draft(tiny_study, unlabelled.name)
    judged = np.zeros(draft.labels.shape, bool)
    judged[0] = True
    service.save_strokes(tiny_study, unlabelled.name, draft.revision, draft.labels, judged, "eve")
    assert service.save_idle_labels(tiny_study) == []
    (made,) = service.save_idle_labels(tiny_study, minutes=0)
    assert (made.case, made.author) == (unlabelled.name, "eve")
    assert datetime.now(UTC) - datetime.fromisoformat(made.created) < timedelta(minutes=1)


def test_accept_a_prediction(tiny_study, unlabelled, prediction):
    version = service.accept_prediction(tiny_study, unlabelled.name, "other", "eve")
    shown = np.asarray(nib.load(tiny_study / "labelsTr" / f"{unlabelled.name}.nii.gz").dataobj)
    np.testing.assert_array_equal(shown, prediction)
    assert (version.source, version.author, version.complete) == ("model accepted", "eve", True)


def test_correct_a_prediction(tiny_study, unlabelled, prediction):
    name = unlabelled.name
    draft = service.open_draft(tiny_study, name)
    draft = service.start_from_prediction(tiny_study, name, draft.revision, "other")
    assert not draft.judged.any()
    labels, judged = draft.labels.copy(), draft.judged.copy()
    labels[5, 5, 5], judged[5, 5, 5] = (labels[5, 5, 5] + 1) % 2, True
    revision = service.save_strokes(tiny_study, name, draft.revision, labels, judged)
    service.complete_scan(tiny_study, name, revision)
    version = Study.at(tiny_study).versions(name)[-1]
    np.testing.assert_array_equal(version.read().array, labels)
    assert version.source == "model corrected"


def test_predictions_that_do_not_fit_are_refused(tiny_study, unlabelled, prediction):
    name, path = unlabelled.name, tiny_study / "predictions" / "other" / f"{unlabelled.name}.nii.gz"
    with pytest.raises(InputError, match=r"there is no prediction .*never"):
        service.accept_prediction(tiny_study, name, "never")
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.full(image.shape, 77, np.uint8), image.affine), path)
    with pytest.raises(InputError, match="the value 77, which is no class of the study"):
        service.accept_prediction(tiny_study, name, "other")
    shutil.copy(next((tiny_study / "imagesTr").glob("*.nii.gz")), path)
    nib.save(nib.Nifti1Image(prediction[1:], image.affine), path)
    with pytest.raises(InputError, match="export the label on the scan's own grid"):
        service.accept_prediction(tiny_study, name, "other")


def test_the_classes_of_a_model_are_found_by_name(tiny_study, unlabelled, prediction):
    """A model that numbers its classes otherwise, as its plan says."""
    names = Study.at(tiny_study).label_names
    turned = {name: (len(names) - value) % len(names) for name, value in names.items()}
    plan = (tiny_study / "plan.json").read_text()
    model = tiny_study / "models" / "other"
    model.mkdir(parents=True)
    made = service.plan_study(tiny_study, "quick", "cpu")[0].model_copy(update={"label_names": turned})
    (tiny_study / "plan.json").write_text(plan)
    made.save(model / "plan.json")
    found = service.predicted_labels(tiny_study, unlabelled.name, "other")
    expected = np.zeros_like(prediction)
    for name, value in turned.items():
        expected[prediction == value] = names[name]
    np.testing.assert_array_equal(found, expected)


def test_a_training_begun_with_other_classes_is_not_resumed(tiny_study):
    """Renamed classes are the same; a new one is not, and the study's plan follows it."""
    config = TrainConfig(method="supervised", iterations=2, device="cpu")
    service.train(tiny_study, config, service.TrainRequest(name="m"))
    wanted = service.label_definitions(tiny_study)
    wanted[0] = replace(wanted[0], name="renamed")
    service.define_labels(tiny_study, wanted)
    service.train(tiny_study, config, service.TrainRequest(name="m", resume=True))
    wanted = [*service.label_definitions(tiny_study), service.LabelDefinition("new")]
    service.define_labels(tiny_study, wanted)
    with pytest.raises(InputError, match="the classes of the study have changed since"):
        service.train(tiny_study, config, service.TrainRequest(name="m", resume=True))
    model = service.train(tiny_study, config, service.TrainRequest(name="n"))
    assert list(model.load()[0].label_names) == ["background", *(definition.name for definition in wanted)]
