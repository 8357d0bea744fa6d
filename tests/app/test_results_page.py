"""Results, its exports over HTTP, and the history panel, on real studies."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nibabel
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import maskmatch_app
from maskmatch_app.shelf import FOLDER, STUDY
from maskmatch_med import service
from maskmatch_med.io import nifti, write_segmentation
from maskmatch_med.study import Study
from maskmatch_med.training.learnt import LearntFrom, record_learnt

MAIN = Path(maskmatch_app.__file__).with_name("main.py")
NOTICE = "Research use, not a medical device"


@pytest.fixture
def root(tmp_path: Path, planned_study: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study with 5 scans, 2 of them labelled, that the pages show."""
    studies = tmp_path / "studies"
    shutil.copytree(planned_study, studies / "tiny")
    monkeypatch.setenv(FOLDER, str(studies))
    monkeypatch.delenv(STUDY, raising=False)
    return studies / "tiny"


def _predict(root: Path, model: str, learnt: tuple[str, ...], shift: int = 0) -> None:
    """Predictions of every scan, the drawn label moved by some voxels, and what the model learnt from."""
    study = Study.at(root)
    folder = study.model_dir(model)
    folder.mkdir(parents=True)
    shutil.copy(root / "plan.json", folder / "plan.json")
    (folder / "config.json").write_text("{}")
    record_learnt(folder, LearntFrom(labelled=dict.fromkeys(learnt, "0001"), held_out={}), None)
    for case in study.cases():
        own = case.read_label()
        drawn = np.ones(case.shape, np.uint8) if own is None else own.array
        labels = np.roll(drawn, shift, axis=0)
        geometry = nifti.read_geometry(case.image_paths[0])
        write_segmentation(study.predictions_dir / model / f"{case.name}.nii.gz", labels, geometry)


def _open(view: str = "Volumes") -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=60).run()
    app.switch_page("screens/results.py").run()
    assert not app.exception
    if view != "Volumes":
        _choose(app, "View", view)
    return app


def _choose(app: AppTest, label: str, value: str) -> AppTest:
    next(one for one in app.get("button_group") if one.label == label).set_value(value).run()
    assert not app.exception
    return app


def _field(fields: Iterable[Any], label: str) -> Any:
    return next(one for one in fields if one.label == label)


def _text(app: AppTest) -> str:
    parts = [*app.title, *app.subheader, *app.markdown, *app.caption, *app.info, *app.warning, *app.success, *app.error]
    return "\n".join(str(part.value) for part in parts) + "\n".join(str(h.proto.body) for h in app.get("html"))


def _press(app: AppTest, label: str) -> AppTest:
    next(one for one in app.button if one.label == label).click().run()
    assert not app.exception
    return app


def test_a_study_without_labels_says_what_is_missing(root: Path) -> None:
    for part in ("history", "labelsTr"):
        shutil.rmtree(root / part)
        (root / part).mkdir()
    app = _open()
    assert "nothing to measure yet" in _text(app)
    assert NOTICE in _text(app)
    assert "No model has segmented a scan yet" in _text(_choose(app, "View", "Quality"))
    assert "Two models" in _text(_choose(app, "View", "Rounds"))
    assert "Nothing to export yet" in _text(_choose(app, "View", "Export"))


def test_volumes_are_tabled_by_scan_and_structure(root: Path) -> None:
    app = _open()
    table = app.dataframe[0].value
    assert list(table["Scan"]) == [case.name for case in Study.at(root).labelled_cases()]
    found = {(one.case, one.structure): one.amount for one in service.volumes(root)}
    for scan, liver in zip(table["Scan"], table["liver, ml"], strict=True):
        assert liver == pytest.approx(found[scan, "liver"], abs=1e-3)
    charts = [*app.get("vega_lite_chart"), *app.get("arrow_vega_lite_chart")]
    assert charts == [], "two scans are no distribution"
    _predict(root, "m", ())
    app = _open()
    _field(app.selectbox, "Measured on").set_value("m").run()
    assert len(app.dataframe[0].value) == 5
    assert len(app.get("vega_lite_chart") or app.get("arrow_vega_lite_chart")) == 1


def test_quality_is_never_told_on_what_a_model_has_learnt_from(root: Path) -> None:
    one, two = [case.name for case in Study.at(root).labelled_cases()]
    _predict(root, "m", (one,))
    app = _open("Quality")
    assert "1 scan scored" in _text(app)
    assert "1 which the model learnt from" in _text(app)
    assert set(app.dataframe[1].value["Scan"]) == {two}
    assert float(app.dataframe[1].value["Dice"][0]) == 1


def test_a_folder_of_references_is_used_and_a_wrong_one_refused(root: Path, tmp_path: Path) -> None:
    one, two = [case.name for case in Study.at(root).labelled_cases()]
    _predict(root, "m", (one, two))
    other = next(case for case in Study.at(root).cases() if case.label is None)
    geometry = nifti.read_geometry(other.image_paths[0])
    prediction = nibabel.load(root / "predictions" / "m" / f"{other.name}.nii.gz")
    write_segmentation(tmp_path / "refs" / f"{other.name}.nii.gz", np.asarray(prediction.dataobj), geometry)
    app = _open("Quality")
    assert "No label is left to score on" in _text(app)
    _field(app.radio, "Held against").set_value("a folder of labels").run()
    place = "Folder on the computer of the server"
    _field(app.text_input, place).set_value(str(tmp_path / "refs")).run()
    assert set(app.dataframe[1].value["Scan"]) == {other.name}
    _field(app.text_input, place).set_value(str(tmp_path / "absent")).run()
    assert not app.exception
    assert app.error


def test_rounds_are_compared_on_the_same_scans(root: Path) -> None:
    _predict(root, "a", (), shift=3)
    _predict(root, "b", (), shift=0)
    app = _open("Rounds")
    assert "On the 2 scans that every model is scored on" in _text(app)
    changes = app.dataframe[0].value
    assert set(changes["From"]) == {"a"}
    assert all(change.startswith("+") for change in changes["Dice, mean change"])


def test_an_export_is_prepared_linked_and_noted(root: Path) -> None:
    app = _press(_open("Export"), "Prepare the export")
    link = next(str(h.proto.body) for h in app.get("html") if "mm-download" in str(h.proto.body))
    assert "Download phantom-nifti.zip" in link or "-nifti.zip" in link
    scan = Study.at(root).labelled_cases()[0].name
    newest = service.scan_history(root, scan)[0]
    assert (newest.kind, newest.version) == ("export", "0001")
    address = urlsplit(link.split('href="')[1].split('"')[0]).path
    key, name = address.split("/")[-2:]
    with zipfile.ZipFile(service.download_path(root, key, name)) as archive:
        assert any(entry.endswith(f"labels/{scan}.nii.gz") for entry in archive.namelist())


def test_an_export_goes_to_a_folder_and_not_over_anything(root: Path, tmp_path: Path) -> None:
    app = _open("Export")
    _field(app.text_input, "New or empty folder").set_value(str(tmp_path / "out")).run()
    _press(app, "Write the folder")
    assert len(list((tmp_path / "out" / "labels").glob("*.nii.gz"))) == 2
    _press(app, "Write the folder")
    assert any("not an empty folder" in str(error.value) for error in app.error)


def test_a_report_is_written_and_listed(root: Path) -> None:
    app = _open("Reports")
    assert "No report was written yet" in _text(app)
    _press(app, "Write the report of the study")
    assert (root / "report.html").is_file()
    assert "Report of the study" in _text(app)


def _history() -> None:
    from maskmatch_app import state
    from maskmatch_app.parts import history

    history.panel(state.study_page().scans[0].name)


def test_the_panel_tells_the_history_and_restores_a_version(root: Path) -> None:
    study = Study.open(root)
    case = study.labelled_cases()[0]
    assert case.name == study.cases()[0].name
    first = case.read_label().array
    study.add_label(case.name, np.zeros(case.shape, np.uint8), author="Ada")
    app = AppTest.from_function(_history, default_timeout=60).run()
    assert not app.exception
    told = _text(app)
    assert "Label 0002\\: painted" in told
    assert "by Ada" in told
    assert "Taken in from" in told
    _press(app, "Restore this version")
    np.testing.assert_array_equal(Study.at(root).case(case.name).read_label().array, first)
    assert "restored from version 0001" in _text(app)


def test_exports_versions_and_reports_are_handed_out_to_pages_alone(server, token: str) -> None:
    study = server.folder / "tiny"
    made = service.prepare_download(study, service.ExportOrder())
    address = f"/api/tiny/exports/{made.key}/{made.name}"
    answer = server.ask(f"{address}?token={token}", Accept_Encoding="gzip")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/zip"
    assert f'filename="{made.name}"' in answer.headers["content-disposition"]
    content = service.download_path(study, made.key, made.name).read_bytes()
    assert answer.body == content
    part = server.ask(f"{address}?token={token}", Range="bytes=10-19")
    assert (part.status, part.body) == (206, content[10:20])
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
    assert server.ask(address).status == 403
    for wrong in ("exports/..%2F..%2F/dataset.json", f"exports/{made.key}/..%2Fa.zip", "exports/x/y.zip"):
        assert server.ask(f"/api/tiny/{wrong}?token={token}").status in {400, 404}
    picture = server.ask(f"/api/tiny/versions/phantom_000/0001.jpg?token={token}")
    assert (picture.status, picture.body[:3]) == (200, b"\xff\xd8\xff")
    assert server.ask(f"/api/tiny/versions/phantom_000/0009.jpg?token={token}").status == 404
    (study / "report.html").write_text("<script>alert(1)</script>")
    (report,) = service.reports_of(study)
    page = server.ask(f"/api/tiny/reports/study/{report.name}?token={token}")
    assert page.status == 200
    assert page.headers["content-security-policy"].startswith("sandbox;")
    assert server.ask(f"/api/tiny/reports/models/..?token={token}").status in {400, 404}
