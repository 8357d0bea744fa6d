"""The next step in each state that a study can be in, on real small studies."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest

from maskmatch_med import Study
from maskmatch_med.service import (
    NextStep,
    TrainingOrder,
    browse,
    job_states,
    next_step,
    open_draft,
    pause_job,
    queue_training,
    reject_prediction,
    save_strokes,
)
from maskmatch_med.service.guidance import minutes_in_words


def _step(root: Path) -> NextStep:
    return next_step(root, browse(root))


def _told(root: Path) -> tuple[str, str]:
    step = _step(root)
    return step.kind, step.title


@pytest.fixture
def bare(tmp_path: Path) -> Study:
    return Study.create(tmp_path / "bare", channel_names=("image",), label_names={"background": 0, "a": 1})


def _add(study: Study, tiny_study: Path, *names: str) -> None:
    for name in names:
        study.add_case(name, next((tiny_study / "imagesTr").iterdir()))


def _label(study: Study, name: str, *, complete: bool = True, source: str = "human") -> None:
    values = np.zeros(study.case(name).shape, np.uint8)
    if not complete:
        values[1:] = 255
    study.add_label(name, values, source=source)


def _predict(root: Path, model: str, *names: str) -> None:
    folder = root / "predictions" / model
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        image = nibabel.load(root / "imagesTr" / f"{name}_0000.nii.gz")
        nibabel.save(nibabel.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), folder / f"{name}.nii.gz")


def _model(root: Path, tiny_study: Path, name: str, *, labelled: int, validation: int = 0, steps: int = 900) -> None:
    folder = root / "models" / name
    folder.mkdir(parents=True)
    shutil.copy(tiny_study / "plan.json", folder / "plan.json")
    (folder / "config.json").write_text("{}")
    counts = {"labelled": labelled, "validation": validation}
    scores = {"a": 0.4, "b": 0.6} if validation else None
    metrics = {"finished": True, "iterations": steps, "data": counts, "validation": scores}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    time.sleep(0.01)


def test_from_nothing_to_the_first_training(bare: Study, tiny_study: Path) -> None:
    assert _told(bare.root) == ("add", "Add scans")
    _add(bare, tiny_study, "one")
    assert _told(bare.root) == ("label", "Label the scan")
    _add(bare, tiny_study, "two", "three", "four")
    draft = open_draft(bare.root, "two")
    labels, judged = draft.labels.copy(), np.zeros(draft.labels.shape, np.bool_)
    labels[2, 2, 2], judged[2, 2, 2] = 1, True
    save_strokes(bare.root, "two", draft.revision, labels, judged)
    assert (_step(bare.root).kind, _step(bare.root).scan) == ("label", "two")
    _label(bare, "two", complete=False)
    assert _told(bare.root) == ("label", "Label a second scan")
    _label(bare, "one")
    assert _told(bare.root) == ("train", "Train a model")
    assert _step(bare.root).text == "2 of 4 scans have a label; training learns from the other 2 as well."


def test_the_only_scan_is_finished_and_then_joined_by_others(bare: Study, tiny_study: Path) -> None:
    _add(bare, tiny_study, "one")
    _label(bare, "one", complete=False)
    assert _told(bare.root) == ("label", "Go on labelling one")
    _label(bare, "one")
    assert _told(bare.root) == ("add", "Add more scans")


def test_round_the_loop_to_the_export(bare: Study, tiny_study: Path) -> None:
    _add(bare, tiny_study, *(names := [f"s{n}" for n in range(8)]))
    for name in names[:2]:
        _label(bare, name)
    time.sleep(0.01)
    _model(bare.root, tiny_study, "m", labelled=2)
    step = _step(bare.root)
    assert (step.kind, step.model, step.text) == ("predict", "m", "6 scans are not yet segmented by the model m.")
    _predict(bare.root, "m", *names[2:])
    assert _told(bare.root) == ("review", "Review the segmentations")
    _label(bare, "s2", source="model accepted")
    _label(bare, "s3", source="model corrected")
    assert _told(bare.root) == ("review", "Review the segmentations")
    _label(bare, "s4", source="model accepted")
    assert _told(bare.root) == ("train", "Train again")
    assert _step(bare.root).text == "3 labels are new since m was trained."
    _model(bare.root, tiny_study, "n", labelled=5)
    assert (_step(bare.root).kind, _step(bare.root).model) == ("predict", "n")
    _predict(bare.root, "n", *names[5:])
    for name in names[5:7]:
        _label(bare, name, source="model accepted")
    assert _told(bare.root) == ("review", "Review the segmentations")
    _label(bare, "s7", complete=False)
    assert _told(bare.root) == ("review", "Review the segmentations")
    reject_prediction(bare.root, "s7", "n", "parts missing")
    assert _told(bare.root) == ("train", "Train again")
    time.sleep(0.01)
    _model(bare.root, tiny_study, "o", labelled=8)
    _predict(bare.root, "o", "s7")
    reject_prediction(bare.root, "s7", "o", "parts missing")
    assert _told(bare.root) == ("label", "Label the rest")
    _label(bare, "s7")
    assert _told(bare.root) == ("export", "Export the results")


def test_a_training_that_was_too_short_is_made_anew(bare: Study, tiny_study: Path) -> None:
    _add(bare, tiny_study, "a", "b", "c")
    _label(bare, "a")
    _label(bare, "b")
    time.sleep(0.01)
    _model(bare.root, tiny_study, "m", labelled=2, steps=4)
    assert _told(bare.root) == ("train", "Train longer")
    _model(bare.root, tiny_study, "m2", labelled=2)
    assert _told(bare.root) == ("predict", "Segment the rest")
    (bare.root / "models" / "m2" / "config.json").write_text("{")
    assert _told(bare.root) == ("predict", "Segment the rest"), "a round without a readable configuration stays one"


def test_with_every_scan_labelled_a_short_training_does_not_bar_the_export(bare: Study, tiny_study: Path) -> None:
    _add(bare, tiny_study, "a", "b")
    _label(bare, "a")
    _label(bare, "b")
    time.sleep(0.01)
    _model(bare.root, tiny_study, "m", labelled=2, steps=4)
    assert _told(bare.root)[0] == "export"


def test_labels_held_out_count_as_spent(bare: Study, tiny_study: Path) -> None:
    _add(bare, tiny_study, *(names := [f"s{n}" for n in range(4)]))
    for name in names[:3]:
        _label(bare, name)
    time.sleep(0.01)
    _model(bare.root, tiny_study, "m", labelled=2, validation=1)
    _predict(bare.root, "m", "s3")
    (spent,) = browse(bare.root).rounds
    assert (spent.labelled, spent.dice) == (3, pytest.approx(0.5))
    assert _step(bare.root).kind == "review"


def test_masks_from_elsewhere_are_reviewed_with_no_model(bare: Study, tiny_study: Path) -> None:
    _add(bare, tiny_study, "one", "two")
    _predict(bare.root, "elsewhere", "one", "two")
    assert _told(bare.root) == ("review", "Review the segmentations")
    _label(bare, "one", source="model accepted")
    assert _step(bare.root).text == "1 segmentation waits for your eyes, the most doubtful first."


def test_all_labelled_before_any_training_is_trained_on(bare: Study, tiny_study: Path) -> None:
    _add(bare, tiny_study, "one", "two")
    for name in ("one", "two"):
        _label(bare, name)
    assert _told(bare.root) == ("train", "Train a model")
    assert _step(bare.root).text == "All 2 scans have a label."


def test_work_that_runs_is_paused_or_has_failed(tiny_study: Path) -> None:
    job = queue_training(tiny_study, TrainingOrder(minutes=5, predict=False, device="cpu"))
    step = _step(tiny_study)
    assert step.kind == "wait"
    _until(lambda: job_states(tiny_study)[0].minutes_left is not None)
    assert _step(tiny_study).title.startswith("Training runs: ")
    assert _step(tiny_study).title.endswith(("minutes left", "minute left"))
    pause_job(tiny_study, job.id)
    _until(lambda: job_states(tiny_study)[0].status == "paused")
    assert _told(tiny_study) == ("paused", "Resume the training")


def test_a_failed_training_is_looked_at_until_something_is_labelled(tiny_study: Path) -> None:
    scan = next((tiny_study / "imagesTr").iterdir())
    os.truncate(scan, 2000)
    queue_training(tiny_study, TrainingOrder(minutes=1, device="cpu"))
    _until(lambda: job_states(tiny_study)[0].status == "failed")
    step = _step(tiny_study)
    assert (step.kind, step.title) == ("failed", "Look at the failed training")
    assert step.text.casefold() == job_states(tiny_study)[0].message.casefold() != ""
    study = Study.open(tiny_study)
    other = next(case for case in study.cases() if case.label is None)
    _label(study, other.name)
    assert _step(tiny_study).kind == "train"


@pytest.mark.parametrize(
    ("minutes", "words"),
    [(0.4, "less than a minute"), (1.2, "1 minute"), (12.4, "12 minutes"), (89, "89 minutes"), (100, "1.7 hours")],
)
def test_minutes_are_told_in_words(minutes: float, words: str) -> None:
    assert minutes_in_words(minutes) == words


def _until(condition: object, seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.2)
