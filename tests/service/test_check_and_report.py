"""Check and report as verbs: what they write, what they refuse, and that they leave their sources alone."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from maskmatch_med import service
from maskmatch_med.errors import InputError, StudyError
from maskmatch_med.io import read_labels, read_volume, write_map, write_segmentation
from maskmatch_med.service import EvaluateOptions, ReportRequest, check_study, evaluate, report
from maskmatch_med.study import Study


def predictions(references: Path, folder: Path, shift: int = 1) -> Path:
    """The references moved by some voxels, with a summary as predict writes it."""
    folder.mkdir(parents=True)
    for path in sorted(references.glob("*.nii.gz")):
        label = read_labels(path)
        write_segmentation(folder / path.name, np.roll(label.array, shift, 0), label.geometry)
    names = [path.name.removesuffix(".nii.gz") for path in sorted(references.glob("*.nii.gz"))]
    rows = "".join(f"{name},{number + 1.0}\n" for number, name in enumerate(names))
    (folder / "summary.csv").write_text(f"case,seconds\n{rows}", encoding="utf-8")
    return folder


def add_model(study: Path, name: str) -> Path:
    """The files a finished training leaves, of a known content."""
    model = study / "models" / name
    model.mkdir(parents=True)
    shutil.copy(study / "plan.json", model / "plan.json")
    (model / "config.json").write_text(json.dumps({"method": "maskmatch"}), encoding="utf-8")
    lines = [
        {"iteration": i, "seconds": 3.0 * i, "loss": 1 / i, "loss_supervised": 0.8 / i, "confident": 0.5}
        for i in range(1, 60)
    ]
    lines.append({"iteration": 60, "seconds": 180.0, "val_dice": 0.5})
    (model / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    metrics = {"finished": True, "iterations": 60, "seconds": 180.0, "device": "cpu", "memory_mib": 1234.0}
    metrics |= {"data": {"labelled": 2, "unlabelled": 3, "validation": 0}, "validation": None}
    (model / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    return model


def words(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r"<script|<link|https?://(?!www\.w3\.org)", text)
    return re.sub(r"\s+", " ", re.sub(r"<svg.*?</svg>|<style.*?</style>|<[^>]+>", " ", text, flags=re.S))


def test_check_writes_a_page_and_nothing_else(tiny_study: Path, tmp_path: Path):
    before = {path: path.stat().st_mtime_ns for path in tiny_study.rglob("*") if path.is_file()}
    (note,) = check_study(tiny_study, page=tmp_path / "new" / "check.html")
    assert note.message == "left and right were not judged: fewer than 8 scans (5)"
    assert "Check of a study study" in words(tmp_path / "new" / "check.html")
    assert {path: path.stat().st_mtime_ns for path in tiny_study.rglob("*") if path.is_file()} == before
    with pytest.raises(StudyError):
        check_study(tmp_path / "absent", page=tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_no_page_says_where_the_study_lies(tiny_study: Path, tmp_path: Path):
    shutil.copy(tiny_study / "labelsTr" / "phantom_000.nii.gz", tiny_study / "labelsTr" / "nobody.nii.gz")
    (tiny_study / "imagesTr" / ".phantom_001_0000.nii.gz.12345678.part").write_bytes(b"cut off")
    add_model(tiny_study, "mine")
    predictions(tiny_study / "labelsTr", tiny_study / "predictions" / "mine")
    pages = [tmp_path / "check.html", tmp_path / "study.html", tmp_path / "model.html"]
    assert any(str(tiny_study) in found.message for found in check_study(tiny_study, page=pages[0]))
    assert "labelsTr has a label nobody" in words(pages[0])
    report(tiny_study, pages[1])
    report(tiny_study / "models" / "mine", pages[2])
    assert [page.name for page in pages if str(tmp_path) in page.read_text(encoding="utf-8")] == []


def test_predictions_are_scored_as_evaluate_scores_them(held_out_scans: tuple[Path, Path], tmp_path: Path):
    images, references = held_out_scans
    folder = predictions(references, tmp_path / "out")
    page = report(folder, None, ReportRequest(references, images, 2.0))
    assert page == folder / "report.html"
    scores = evaluate(folder, references, EvaluateOptions(nsd_mm=2.0))
    text = words(page)
    assert f"out {scores.mean_dice:.3f} mean Dice, 2 cases" in text
    assert "NSD at 2 mm" in text
    assert "Bland–Altman" in text
    assert "2 scored cases are few" in text
    assert "--probabilities" in text
    assert "Worst: " in text
    assert "1.5" in text  # the median of 1 and 2 seconds a scan
    assert page.read_text(encoding="utf-8").count("data:image/png;base64,") == 2


def test_probabilities_are_calibrated(held_out_scans: tuple[Path, Path], tmp_path: Path):
    _, references = held_out_scans
    folder = predictions(references, tmp_path / "out", shift=0)
    for path in sorted(references.glob("*.nii.gz")):
        label = read_labels(path)
        name = path.name.removesuffix(".nii.gz")
        for value in range(5):
            share = np.where(label.array == value, 0.8, 0.05)
            write_map(folder / f"{name}_probabilities_{value:02d}.nii.gz", share, label.geometry)
    text = words(report(folder, tmp_path / "page.html", ReportRequest(references)))
    assert "out, called a structure 2" in text
    assert "0.200 −0.200" in text  # always right, 80 % sure
    assert "--probabilities" not in text


def test_predictions_without_references_show_volumes(held_out_scans: tuple[Path, Path], tmp_path: Path):
    images, references = held_out_scans
    folder = predictions(references, tmp_path / "out")
    text = words(report(folder, tmp_path / "page.html", ReportRequest(images=images)))
    assert "Nothing is scored: name the references with --reference DIR." in text
    assert "Predicted volumes" in text
    assert "Smallest volume: " in text
    assert "Scores by structure" not in text


def test_a_study_with_a_model_and_its_predictions(tiny_study: Path):
    add_model(tiny_study, "mine")
    predictions(tiny_study / "labelsTr", tiny_study / "predictions" / "mine")
    text = words(report(tiny_study))
    assert "5 scans" in text
    assert "2 labelled" in text
    assert "3 without a label" in text
    assert "2 of the 2 scored scans have a label in this study" in text
    assert "mine maskmatch 3.0 min 60 of 3.00 s cpu 1,234 MiB 1.5" in text
    assert "Learning curves" in text
    volumes = [read_labels(p) for p in sorted((tiny_study / "labelsTr").glob("*.nii.gz"))]
    liver = [float((v.array == 1).sum() * v.geometry.voxel_mm3 / 1000) for v in volumes]
    assert f"{max(liver):.3g}" in text
    assert Study.open(tiny_study).folder.names()


def test_models_that_a_page_leaves_out_are_named(tiny_study: Path):
    for number in range(8):
        model = add_model(tiny_study, f"m{7 - number}")
        os.utime(model / "config.json", (1e9 + number, 1e9 + number))
    text = words(report(tiny_study))
    assert "shown of the 6 newest of 8 models, not of m7, m6: `maskmatch report study/models/m6` shows" in text
    shown = [name for name in (f"m{i}" for i in range(8)) if f"{name} maskmatch 3.0 min" in text]
    assert shown == [f"m{i}" for i in range(6)]
    shutil.rmtree(tiny_study / "models/m7")
    shutil.rmtree(tiny_study / "models/m6")
    assert "newest of" not in words(report(tiny_study))


def test_a_model_and_its_folder_of_predictions(tiny_study: Path, tmp_path: Path):
    model = add_model(tiny_study, "mine")
    text = words(report(model, tmp_path / "model.html"))
    assert "Report of a model mine" in text
    assert "Learnt from 2 labelled, 3 without a label, 0 held out" in text
    assert "Scores by structure" not in text
    folder = predictions(tiny_study / "labelsTr", tiny_study / "predictions" / "mine")
    text = words(report(folder, tmp_path / "predictions.html"))
    assert "Learning curves" in text
    assert "Scores by structure" in text
    assert (tmp_path / "model.html").is_file()


def test_what_is_neither_is_refused(tmp_path: Path, tiny_study: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no prediction"):
        report(tmp_path / "empty")
    with pytest.raises(InputError, match="is no folder"):
        report(tmp_path / "absent")
    with pytest.raises(InputError, match="is a folder; name the page"):
        report(tiny_study, tmp_path / "empty")
    assert read_volume(next((tiny_study / "imagesTr").glob("*.nii.gz"))).channels == 1


@pytest.mark.parametrize(
    ("page", "words_"),
    [
        ("imagesTr/{scan}", "is not the name of a page"),
        ("page.txt", "is not the name of a page"),
        ("imagesTr/deep/page.html", "lies among the data of a study"),
        ("models/../labelsTr/page.HTM", "lies among the data of a study"),
        ("models", "is a folder; name the page"),
    ],
)
def test_a_page_never_takes_the_place_of_a_scan(tiny_study: Path, page: str, words_: str):
    scan = next((tiny_study / "imagesTr").glob("*.nii.gz")).name
    place = tiny_study / page.format(scan=scan)
    (tiny_study / "models").mkdir(exist_ok=True)
    before = {path: path.read_bytes() for path in tiny_study.rglob("*") if path.is_file()}
    for write in (lambda: report(tiny_study, place), lambda: check_study(tiny_study, page=place)):
        with pytest.raises(InputError, match=words_):
            write()
    assert {path: path.read_bytes() for path in tiny_study.rglob("*") if path.is_file()} == before
    assert report(tiny_study, tiny_study / "check.htm").is_file()


def test_a_folder_of_scans_that_is_not_there_is_refused(tiny_study: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"there is no folder .*absent with scans"):
        report(tiny_study, tmp_path / "page.html", ReportRequest(images=tmp_path / "absent"))
    assert not (tmp_path / "page.html").exists()


def test_the_progress_of_a_report_ends_at_its_end(tiny_study: Path, tmp_path: Path):
    steps: list[tuple[int, int]] = []
    request = ReportRequest(progress=lambda done, total, what: steps.append((done, total)))
    report(add_model(tiny_study, "mine"), tmp_path / "page.html", request)
    assert steps[-1][0] == steps[-1][1]


def test_predictions_are_scored_by_the_names_of_classes_that_were_reordered(tiny_study: Path, tmp_path: Path):
    """The files of a prediction keep the values of their model; the study's labels have others since."""
    add_model(tiny_study, "m")
    folder = predictions(tiny_study / "labelsTr", tiny_study / "predictions" / "m", shift=0)
    before = service.evaluate(folder, tiny_study)
    assert before.mean_dice == 1
    service.define_labels(tiny_study, service.label_definitions(tiny_study)[::-1])
    after = service.evaluate(folder, tiny_study)
    assert after.mean_dice == 1
    assert {row.class_name: row.volume_pred_ml for row in after.rows if row.case == after.cases[0]} == {
        row.class_name: row.volume_pred_ml for row in before.rows if row.case == before.cases[0]
    }
    page = words(report(folder, tmp_path / "page.html"))
    assert "1.000 mean Dice" in page


def test_models_that_numbered_their_classes_apart_share_a_page(tiny_study: Path, tmp_path: Path):
    add_model(tiny_study, "before")
    predictions(tiny_study / "labelsTr", tiny_study / "predictions" / "before", shift=0)
    service.define_labels(tiny_study, service.label_definitions(tiny_study)[::-1])
    add_model(tiny_study, "after")
    predictions(tiny_study / "labelsTr", tiny_study / "predictions" / "after", shift=0)
    page = words(report(tiny_study, tmp_path / "page.html"))
    assert page.count("1.000 mean Dice") == 2
