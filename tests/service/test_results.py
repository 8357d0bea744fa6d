"""Volumes, and scores of models on labels that they have not learnt from."""

from __future__ import annotations

import csv
import io
import math
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from maskmatch_med import service
from maskmatch_med.errors import InputError
from maskmatch_med.io import nifti, write_segmentation
from maskmatch_med.service.tallies import Tallies
from maskmatch_med.study import Study
from maskmatch_med.study.versions import Authorship, add_version
from maskmatch_med.training.learnt import LearntFrom, record_learnt
from maskmatch_med.volume import Geometry, Volume

SHAPE = (12, 12, 12)
AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])


def _box(start: int, value: int = 1) -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[start : start + 4, 2:6, 2:6] = value
    return labels


def _study(root: Path, labelled: int = 3, scans: int = 4) -> Study:
    study = Study.create(root, channel_names=["CT"], label_names={"background": 0, "liver": 1, "spleen": 2})
    for number in range(scans):
        scan = Volume(np.zeros((1, *SHAPE), np.float32), Geometry(SHAPE, AFFINE))
        study.add_case(f"s{number}", scan)
        if number < labelled:
            study.add_label(f"s{number}", _box(3))
    return study


def _predict(study: Study, model: str, case: str, labels: np.ndarray) -> None:
    geometry = nifti.read_geometry(study.case(case).image_paths[0])
    write_segmentation(study.predictions_dir / model / f"{case}.nii.gz", labels, geometry)


def _trained(study: Study, model: str, **learnt: dict[str, str]) -> None:
    """A model's folder as a training leaves it, with what it learnt from."""
    folder = study.model_dir(model)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    record_learnt(folder, LearntFrom(labelled=learnt.get("labelled", {}), held_out=learnt.get("held_out", {})), None)


def _of(found: list[service.ScanVolume], case: str, structure: str) -> service.ScanVolume:
    return next(one for one in found if (one.case, one.structure) == (case, structure))


def test_volumes_are_in_millilitres_by_scan_and_structure(tmp_path: Path) -> None:
    study = _study(tmp_path / "s")
    partial = _box(3, 2)
    partial[0] = 255
    study.add_label("s2", partial)
    found = service.volumes(study)
    assert len(found) == 6
    one = _of(found, "s0", "liver")
    assert (one.amount, one.unit, one.complete) == (pytest.approx(64 * 6 / 1000), "ml", True)
    assert _of(found, "s0", "spleen").amount == 0
    part = _of(found, "s2", "spleen")
    assert (part.amount, part.complete, part.version) == (pytest.approx(64 * 6 / 1000), False, "0002")
    _predict(study, "m", "s3", _box(2))
    (liver, _) = service.volumes(study, "m")
    assert (liver.case, liver.model, liver.version) == ("s3", "m", "")


def test_distances_of_pictures_are_in_pixels_and_sizes_areas(picture_study: Path) -> None:
    study = Study.at(picture_study)
    for case in study.labelled_cases():
        geometry = nifti.read_geometry(case.image_paths[0])
        labels = np.roll(case.read_label().array, 1, axis=0)
        write_segmentation(study.predictions_dir / "elsewhere" / f"{case.name}.nii.gz", labels, geometry)
    (scores,) = service.score_models(picture_study)
    assert tuple(scores.heads().values()) == ("Dice", "NSD 1 px", "HD95 px", "ASSD px")
    assert service.evaluate(study.predictions_dir / "elsewhere", picture_study).units.length == "px"
    text = service.report(picture_study, None, service.ReportRequest()).read_text(encoding="utf-8")
    assert [part for part in ("HD95, px", "Label area, 1000 px", "Agreement of areas") if part not in text] == []
    assert [part for part in (" ml", "NSD at 1 mm") if part in text] == []


def test_pictures_have_areas_in_pixels(picture_study: Path) -> None:
    found = service.volumes(picture_study)
    study = Study.at(picture_study)
    for one in found:
        assert one.unit == "px"
        assert one.amount == float((study.case(one.case).read_label().array == 1).sum())


def test_what_was_counted_is_not_read_again(tmp_path: Path) -> None:
    study = _study(tmp_path / "s")
    first = service.volumes(study)
    path = study.case("s0").label.path
    content = path.read_bytes()
    path.write_bytes(b"no longer a label")
    assert service.volumes(study) == first
    path.write_bytes(content)
    study.add_label("s0", _box(3, 2))
    assert _of(service.volumes(study), "s0", "spleen").amount == _of(first, "s0", "liver").amount
    (study.cache_dir / "results" / "volumes.json").write_text("{ damaged")
    assert _of(service.volumes(study), "s1", "liver") == _of(first, "s1", "liver")


def test_a_volume_far_from_the_others_is_marked(tmp_path: Path) -> None:
    study = _study(tmp_path / "s", labelled=0, scans=10)
    for number in range(10):
        labels = _box(3)
        labels[3, 3, 2 : 2 + number % 3] = 0
        study.add_label(f"s{number}", np.ones(SHAPE, np.uint8) if number == 7 else labels)
    assert [one.case for one in service.volumes(study) if one.outlier] == ["s7"]


def test_a_model_is_scored_only_on_labels_that_it_has_not_learnt_from(tmp_path: Path) -> None:
    study = _study(tmp_path / "s", labelled=4)
    study.set_group("s0", "patient")
    study.set_group("s1", "patient")
    for case in ("s0", "s1", "s2", "s3"):
        _predict(study, "m", case, _box(4))
    _trained(study, "m", labelled={"s0": "0001"}, held_out={"s2": "0001"})
    (scores,) = service.score_models(study)
    assert scores.cases == ("s2", "s3")
    assert scores.spent == 2
    assert scores.left_out == {
        "which the model learnt from": 1,
        "of patients whose other scans the model learnt from": 1,
    }
    assert scores.dice("liver") == pytest.approx(0.75)
    assert math.isnan(scores.dice("spleen"))
    row = scores.rows[0]
    assert (row.case, row.class_name, row.hd95_mm) == ("s2", "liver", pytest.approx(1.0))
    assert service.scores_pending(study) == 0
    assert repr(service.score_models(study)) == repr([scores])


def test_labels_that_came_from_predictions_are_no_reference(tmp_path: Path) -> None:
    study = _study(tmp_path / "s", labelled=0)
    for case in ("s0", "s1", "s2"):
        _predict(study, "m", case, _box(3))
        _predict(study, "other", case, _box(3))
    service.accept_prediction(study.root, "s0", "m", "Ada")
    geometry = nifti.read_geometry(study.case("s1").image_paths[0])
    corrected = Authorship("model corrected", "Ada", None, ("started from the prediction of m",))
    with study.editing():
        add_version(study.root, "s1", nifti_label(_box(4), geometry), study.label_names, corrected)
    _trained(study, "m")
    scores = {one.model: one for one in service.score_models(study)}
    assert scores["m"].cases == ()
    assert scores["m"].left_out == {
        "with a label that is an accepted prediction": 1,
        "with a label begun from its own prediction": 1,
        "without a label": 1,
    }
    assert scores["other"].cases == ("s1",)


def nifti_label(labels: np.ndarray, geometry: Geometry):
    from maskmatch_med.io import LabelMap

    return LabelMap(labels, geometry)


def test_a_model_whose_lessons_are_not_recorded_is_not_scored(tmp_path: Path) -> None:
    study = _study(tmp_path / "s")
    _predict(study, "old", "s0", _box(3))
    study.model_dir("old").mkdir(parents=True)
    (study.model_dir("old") / "config.json").write_text("{}")
    (scores,) = service.score_models(study)
    assert (scores.rows, scores.spent) == ((), None)
    assert scores.left_out == {"as it is not recorded what the model learnt from": 1}


def test_references_of_a_folder_are_used_and_refused_where_they_do_not_fit(tmp_path: Path) -> None:
    study = _study(tmp_path / "s", labelled=1)
    for case in ("s0", "s1", "s3"):
        _predict(study, "m", case, _box(3))
    _trained(study, "m", labelled={"s0": "0001"})
    geometry = nifti.read_geometry(study.case("s3").image_paths[0])
    for case in ("s0", "s3"):
        write_segmentation(tmp_path / "refs" / f"{case}.nii.gz", _box(3), geometry)
    (scores,) = service.score_models(study, tmp_path / "refs")
    assert scores.cases == ("s3",)
    assert scores.dice("liver") == 1
    assert scores.left_out == {"which the model learnt from": 1}
    write_segmentation(tmp_path / "none" / "x.nii.gz", _box(3), geometry)
    with pytest.raises(InputError, match="no reference for"):
        service.score_models(study, tmp_path / "none")


def test_rounds_are_compared_on_the_scans_that_both_have_scored(tmp_path: Path) -> None:
    study = _study(tmp_path / "s", labelled=4)
    for model, start, cases in (("a", 5, ("s1", "s2", "s3")), ("b", 4, ("s0", "s2", "s3"))):
        _trained(study, model)
        for case in cases:
            _predict(study, model, case, _box(start))
    scores = service.score_models(study)
    assert [one.model for one in scores] == ["a", "b"]
    assert service.common_cases(scores) == ("s2", "s3")
    (change,) = service.differences(scores)
    assert (change.structure, change.before, change.after, change.scans) == ("liver", "a", "b", 2)
    assert (change.mean, change.better, change.worse) == (pytest.approx(0.25), 2, 0)


def test_tables_hold_volumes_and_scores(tmp_path: Path) -> None:
    study = _study(tmp_path / "s", labelled=2)
    for case in ("s1", "s3"):
        _predict(study, "m", case, _box(4))
    _trained(study, "m", labelled={"s0": "0001"})
    out = tmp_path / "out"
    service.export_study(study, out, service.ExportOrder(format="tables", model="m"))
    volumes = list(csv.DictReader(io.StringIO((out / "volumes.csv").read_text())))
    assert [(row["case"], row["from"]) for row in volumes if row["structure"] == "liver"] == [
        ("s0", "label"),
        ("s1", "label"),
        ("s3", "m"),
    ]
    (row, empty) = csv.DictReader(io.StringIO((out / "metrics.csv").read_text()))
    assert (row["model"], row["case"], row["structure"], row["dice"], row["unit"]) == ("m", "s1", "liver", "0.75", "mm")
    assert (empty["both_empty"], empty["dice"]) == ("1", "")


def test_reports_are_found_and_nothing_else_is(tmp_path: Path) -> None:
    study = _study(tmp_path / "s")
    _trained(study, "m")
    assert service.reports_of(study) == []
    (study.model_dir("m") / "report.html").write_text("<p>m</p>")
    (study.root / "report.html").write_text("<p>study</p>")
    assert {(one.place, one.name) for one in service.reports_of(study)} == {("models", "m"), ("study", "s")}
    assert service.report_path(study, "models", "m") == study.model_dir("m") / "report.html"
    for place, name in (("models", ".."), ("models", "absent"), ("..", "s"), ("study", "m")):
        with pytest.raises(InputError, match="no report"):
            service.report_path(study, place, name)


def test_five_hundred_scans_are_tabled_in_seconds_once_counted(tmp_path: Path) -> None:
    study = _study(tmp_path / "s", labelled=1, scans=1)
    for number in range(1, 500):
        shutil.copy(study.case("s0").image_paths[0], study.root / "imagesTr" / f"s{number}_0000.nii.gz")
        shutil.copy(study.root / "sources" / "s0.json", study.root / "sources" / f"s{number}.json")
        shutil.copytree(study.root / "history" / "s0", study.root / "history" / f"s{number}")
        sidecar = study.root / "history" / f"s{number}" / "0001.json"
        sidecar.write_text(sidecar.read_text().replace('"s0"', f'"s{number}"'))
    assert len(service.volumes(study)) == 1000
    began = time.monotonic()
    assert len(service.volumes(study)) == 1000
    assert time.monotonic() - began < 3


def test_tallies_that_cannot_be_kept_are_counted_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    tallies = Tallies(tmp_path / "file" / "x.json")
    assert tallies.of("a", lambda: 3) == 3
    tallies.save()
    assert Tallies(tmp_path / "file" / "x.json").has("a") is False
