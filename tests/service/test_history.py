"""The history of a scan tells all that was done to it, and gives every label version back."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from maskmatch_med import service
from maskmatch_med.config import TrainConfig
from maskmatch_med.errors import InputError, StudyError
from maskmatch_med.io import write_segmentation
from maskmatch_med.service.learn import TrainRequest
from maskmatch_med.study import Study
from maskmatch_med.study.exported import ExportRecord, exports_of, record_export
from maskmatch_med.study.verdicts import add_verdict
from maskmatch_med.training.learnt import labels_seen, read_learnt


def _predict(study: Study, model: str, name: str, values: np.ndarray) -> Path:
    case = study.case(name)
    path = study.predictions_dir / model / f"{name}.nii.gz"
    write_segmentation(path, values, case.read_image().geometry)
    return path


def _kinds(root: Path, name: str) -> list[str]:
    return [event.kind for event in service.scan_history(root, name)]


def test_a_scan_that_was_only_taken_in_says_when_and_from_where(tiny_study: Path) -> None:
    name = next(case.name for case in Study.at(tiny_study).cases() if case.label is None)
    (event,) = service.scan_history(tiny_study, name)
    assert (event.kind, event.version, event.author) == ("taken in", None, "")
    assert f"{name}_0000.nii.gz" in event.title
    assert event.when == Study.at(tiny_study).source(name).added


def test_a_study_without_dates_tells_that_of_its_files(tiny_study: Path) -> None:
    name = Study.at(tiny_study).cases()[0].name
    sidecar = tiny_study / "sources" / f"{name}.json"
    content = json.loads(sidecar.read_text())
    del content["added"]
    sidecar.write_text(json.dumps(content))
    told = datetime.fromisoformat(service.scan_history(tiny_study, name)[-1].when)
    assert abs(told.timestamp() - sidecar.stat().st_mtime) < 0.01


def test_each_label_says_who_made_it_from_what_and_how_much_is_judged(tiny_study: Path) -> None:
    study = Study.open(tiny_study)
    name = next(case.name for case in study.cases() if case.label is None)
    shape = study.case(name).shape
    partial = np.full(shape, 255, np.uint8)
    partial[2:6, 2:6, 2:6] = 1
    study.add_label(name, partial, author="Ada")
    predicted = np.zeros(shape, np.uint8)
    predicted[10:14, 10:14, 10:14] = 2
    _predict(study, "m", name, predicted)
    service.accept_prediction(tiny_study, name, "m", "Bo")
    add_verdict(study, name, "m", "accepted", "sharp", "Bo")
    events = service.scan_history(tiny_study, name)
    assert [event.when for event in events] == sorted((event.when for event in events), reverse=True)
    verdict, second, predicted_by, first, taken = events
    assert (first.version, first.author, first.complete, first.current) == ("0001", "Ada", False, False)
    assert (second.version, second.author, second.complete, second.current) == ("0002", "Bo", True, True)
    assert (second.parent, second.model) == ("0001", "m")
    assert "m" in second.notes[0]
    assert (predicted_by.kind, predicted_by.model) == ("prediction", "m")
    assert (verdict.kind, verdict.author, verdict.notes) == ("verdict", "Bo", ("sharp",))
    assert taken.kind == "taken in"


def test_a_version_is_restored_and_what_was_on_the_draft_is_kept(tiny_study: Path) -> None:
    study = Study.open(tiny_study)
    case = next(case for case in study.cases() if case.label is not None)
    first = case.read_label().array
    draft = service.open_draft(tiny_study, case.name)
    painted = draft.labels.copy()
    painted[0, 0, 0:5] = 2
    service.save_strokes(tiny_study, case.name, draft.revision, painted, draft.judged, "Ada")
    made = service.restore_version(tiny_study, case.name, "0001", "Bo")
    np.testing.assert_array_equal(made.read().array, first)
    kept, restored = study.versions(case.name)[-2:]
    assert (kept.version, kept.author, restored.version) == ("0002", "Ada", "0003")
    np.testing.assert_array_equal(kept.read().array[0, 0, 0:5], 2)
    newest = service.scan_history(tiny_study, case.name)[0]
    assert (newest.version, newest.parent, newest.author, newest.current) == ("0003", "0001", "Bo", True)
    assert newest.notes[-1] == "restored from version 0001"
    np.testing.assert_array_equal(service.open_draft(tiny_study, case.name).labels, np.where(first == 255, 0, first))
    again = service.restore_version(tiny_study, case.name, "0002", "Bo")
    np.testing.assert_array_equal(again.read().array, kept.read().array)


def test_a_picture_shows_the_version_asked_for(tiny_study: Path) -> None:
    study = Study.open(tiny_study)
    case = next(case for case in study.cases() if case.label is not None)
    before = service.thumbnail_of(tiny_study, case.name).read_bytes()
    study.add_label(case.name, np.zeros(case.shape, np.uint8))
    assert service.thumbnail_of(tiny_study, case.name).read_bytes() != before
    assert service.thumbnail_of(tiny_study, case.name, "0001").read_bytes() == before
    with pytest.raises(InputError, match="no label version '0009'"):
        service.thumbnail_of(tiny_study, case.name, "0009")


def test_a_training_writes_down_which_labels_it_learnt_from(tiny_study: Path) -> None:
    config = TrainConfig(method="supervised", iterations=2, device="cpu")
    model = service.train(tiny_study, config, TrainRequest(name="a"))
    study = Study.at(tiny_study)
    labelled = {case.name: case.label.version for case in study.labelled_cases()}
    (entry,) = read_learnt(model.root)
    assert entry.labelled == labelled
    assert labels_seen(model.root) == set(labelled)
    name = next(iter(labelled))
    newest = service.scan_history(tiny_study, name)[0]
    assert (newest.kind, newest.model, newest.version) == ("training", "a", "0001")
    after = service.train(tiny_study, config, TrainRequest(name="b", start_from=model.root))
    assert labels_seen(after.root) == set(labelled)
    (model.root / "labels.json").unlink()
    shutil.rmtree(after.root)
    again = service.train(tiny_study, config, TrainRequest(name="b", start_from=model.root))
    assert labels_seen(again.root) is None


def test_exports_are_told_by_the_scans_they_hold(tiny_study: Path) -> None:
    one, two = [case.name for case in Study.at(tiny_study).cases()][:2]
    record_export(tiny_study, ExportRecord(name="a.zip", format="nifti", author="Ada", labels={one: "0001"}))
    record_export(tiny_study, ExportRecord(name="b.zip", format="nifti", predictions={two: "m"}))
    with (tiny_study / "exports.jsonl").open("ab") as stream:
        stream.write(b'{"name": "cut sh')
    assert [record.name for record in exports_of(tiny_study)] == ["a.zip", "b.zip"]
    newest = service.scan_history(tiny_study, one)[0]
    assert (newest.kind, newest.author, newest.version) == ("export", "Ada", "0001")
    assert "a.zip" in newest.title
    assert "Prediction of m" in service.scan_history(tiny_study, two)[0].title


def test_a_scan_that_is_none_and_a_damaged_verdict_are_told_in_sentences(tiny_study: Path) -> None:
    with pytest.raises(StudyError, match="no case"):
        service.scan_history(tiny_study, "absent")
    study = Study.at(tiny_study)
    case = study.cases()[0]
    path = _predict(study, "m", case.name, np.zeros(case.shape, np.uint8))
    path.with_name(f"{case.name}.review.json").write_text("{")
    with pytest.raises(StudyError, match="record of decisions"):
        service.scan_history(tiny_study, case.name)
