"""The pages as Streamlit runs them, on real studies."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import maskmatch_app
from maskmatch_app.shelf import FOLDER, STUDY, arrived
from maskmatch_med import Study
from maskmatch_med.service import browse, job_states, remove_scan

MAIN = Path(maskmatch_app.__file__).with_name("main.py")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of studies that the pages show."""
    studies = tmp_path / "studies"
    studies.mkdir()
    monkeypatch.setenv(FOLDER, str(studies))
    monkeypatch.delenv(STUDY, raising=False)
    return studies


@pytest.fixture
def with_study(folder: Path, planned_study: Path) -> Path:
    """That folder with one study in it."""
    shutil.copytree(planned_study, folder / "tiny")
    return folder


def _run(page: str = "") -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=60).run()
    assert not app.exception
    if page:
        app.switch_page(f"screens/{page}.py").run()
        assert not app.exception
    return app


def _text(app: AppTest) -> str:
    parts = [*app.title, *app.subheader, *app.markdown, *app.caption, *app.info, *app.warning, *app.success, *app.error]
    return "\n".join(str(part.value) for part in parts) + "\n".join(str(h.proto.body) for h in app.get("html"))


def test_the_first_screen_offers_the_demo_and_a_new_study(folder: Path) -> None:
    app = _run()
    assert {button.label for button in app.button} == {"Open the demo study", "Continue to the scans"}
    assert "Research use, not a medical device" in _text(app)


@pytest.mark.parametrize(
    ("name", "structures", "said"),
    [
        ("../x", "liver", "Give the study a name"),
        ("mine", " , ", "at least one structure"),
        ("mine", "liver, Liver", "at least one structure"),
        ("mine", "background", "at least one structure"),
    ],
)
def test_a_study_that_cannot_be_is_refused(folder: Path, name: str, structures: str, said: str) -> None:
    app = _run()
    app.text_input[0].set_value(name)
    app.text_input[1].set_value(structures)
    app.button[1].click().run()
    assert any(said in str(error.value) for error in app.error)


def test_a_new_study_is_made_with_its_first_scans(folder: Path) -> None:
    app = _run()
    app.text_input[0].set_value("Liver 2026")
    app.text_input[1].set_value("liver, tumour")
    app.button[1].click().run()
    assert not app.exception
    assert "Drop the first ones above" in _text(app)
    drop = arrived(folder / "Liver 2026")
    drop.mkdir(parents=True)
    values = np.arange(720, dtype=np.int16).reshape(8, 9, 10)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), drop / "first.nii.gz")
    (drop / "letter.docx").write_bytes(b"dear all")
    app.run()
    assert "not taken in" not in _text(app)  # it may still arrive
    for path in drop.iterdir():
        os.utime(path, (time.time() - 90, time.time() - 90))
    app.run()
    assert "An upload was not taken in.** 2 of its files are here whole" in _text(app)
    _press(app, "Take these in")
    page = browse(folder / "Liver 2026")
    assert ([scan.name for scan in page.scans], page.structures) == (["first"], ("liver", "tumour"))
    assert "1 scan added" in _text(app)
    assert "letter.docx" in _text(app)
    assert not drop.exists()


def test_a_file_with_several_volumes_is_read_as_the_page_was_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    values = np.arange(2160, dtype=np.int16).reshape(8, 9, 10, 3)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "in/moving.nii.gz")
    app = _run()
    app.text_input[0].set_value("Perfusion")
    app.text_input[1].set_value("liver")
    app.button[1].click().run()

    def add() -> None:
        next(one for one in app.text_input if "folder" in one.label).set_value(str(tmp_path / "in"))
        _press(app, "Add the folder")

    add()
    assert "the page Scans\\: Files with several volumes" in _text(app)
    app.radio[0].set_value("some volumes are channels").run()
    app.text_input(key="frames").set_value("two").run()
    add()
    assert "'two' names no frames" in _text(app)
    app.text_input(key="frames").set_value("0, 2").run()
    add()
    assert len(browse(folder / "Perfusion").channels) == 2


def test_a_removed_scan_is_brought_back(with_study: Path) -> None:
    root = with_study / "tiny"
    names = [scan.name for scan in browse(root).scans]
    remove_scan(root, names[0], "Zoë")
    app = _run("scans")
    assert "by Zoë" in _text(app)
    assert names[0] not in [scan.name for scan in browse(root).scans]
    _press(app, "Bring back")
    assert [scan.name for scan in browse(root).scans] == names
    assert not [button for button in app.button if button.label == "Bring back"]


def test_a_data_set_dropped_as_a_folder_comes_with_its_labels(folder: Path, phantom_source: Path) -> None:
    app = _run()
    app.text_input[0].set_value("Phantoms")
    app.text_input[1].set_value("liver, spleen, kidney, aorta")
    app.button[1].click().run()
    shutil.copytree(phantom_source, arrived(folder / "Phantoms", "d" * 24) / "Task 1" / "phantoms")
    for path in arrived(folder / "Phantoms", "d" * 24).rglob("*"):
        os.utime(path, (time.time() - 90, time.time() - 90))
    _press(app.run(), "Take these in")
    assert browse(folder / "Phantoms").states["labelled"] > 0
    assert app.title[0].value == "Scans"


def test_home_counts_the_scans_and_names_the_next_step(with_study: Path) -> None:
    app = _run()
    assert app.title[0].value == "tiny"
    assert "2 of 5 scans have a label" in _text(app)
    assert "Train a model" in [button.label for button in app.button]
    html = _text(app)
    assert "<b>5</b><span>Scans</span>" in html
    assert html.count('loading="lazy"') == 5


def _listed(app: AppTest) -> dict[str, Any]:
    tables = [json.loads(one.proto.json) for one in app.get("bidi_component")]
    return next(dict(table) for table in tables if "rows" in table)


def test_scans_are_found_by_name_and_state(with_study: Path) -> None:
    app = _run("scans")
    assert [row["name"] for row in _listed(app)["rows"]] == [f"phantom_00{i}" for i in range(5)]
    find = next(one for one in app.text_input if one.label == "Find")
    find.set_value("PHANTOM_003").run()
    assert [row["name"] for row in _listed(app)["rows"]] == ["phantom_003"]
    next(one for one in app.text_input if one.label == "Find").set_value("").run()
    app.get("button_group")[0].set_value(["Labelled"]).run()
    assert [row["state"] for row in _listed(app)["rows"]] == ["Labelled", "Labelled"]
    next(one for one in app.text_input if one.label == "Find").set_value("nobody").run()
    assert "No scan fits this search" in _text(app)


def test_many_scans_come_page_by_page(with_study: Path) -> None:
    root = with_study / "tiny"
    study, image = Study.open(root), next((root / "imagesTr").iterdir())
    with study.editing():
        for number in range(60):
            study.add_case(f"more_{number:02d}", image, link=True)
    app = _run("scans")
    shown = _listed(app)
    assert (len(shown["rows"]), shown["first"], shown["found"], shown["total"]) == (25, 1, 65, 65)
    app.session_state["table"] = (app.session_state["table"][0], 2)
    shown = _listed(app.run())
    assert (len(shown["rows"]), shown["first"], shown["rows"][-1]["name"]) == (15, 51, "phantom_004")
    next(one for one in app.text_input if one.label == "Find").set_value("more").run()
    assert (_listed(app)["first"], _listed(app)["found"]) == (1, 60)


def test_a_folder_on_this_computer_is_added(with_study: Path, held_out_scans: tuple[Path, Path]) -> None:
    app = _run("scans")
    field = next(one for one in app.text_input if "folder" in one.label)
    field.set_value(str(held_out_scans[0]))
    next(button for button in app.button if button.label == "Add the folder").click().run()
    assert not app.exception
    assert len(browse(with_study / "tiny").scans) == 7
    assert "2 scans added" in _text(app)


def test_a_damaged_study_says_what_is_wrong(with_study: Path) -> None:
    (with_study / "tiny" / "dataset.json").write_text("{")
    app = _run()
    assert any("not valid JSON" in str(error.value) for error in app.error)


def test_a_named_study_is_the_only_one(with_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(with_study / "tiny", with_study / "other")
    monkeypatch.setenv(STUDY, str(with_study / "tiny"))
    app = _run()
    assert app.sidebar.selectbox[0].options == ["tiny"]
    assert app.title[0].value == "tiny"


def test_what_a_file_is_called_is_never_taken_as_markup(with_study: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    source = next((with_study / "tiny" / "imagesTr").iterdir())
    shutil.copy(source, tmp_path / "in" / "<img src=x onerror=alert(1)>.nii.gz")
    app = _run("scans")
    next(one for one in app.text_input if "folder" in one.label).set_value(str(tmp_path / "in"))
    next(button for button in app.button if button.label == "Add the folder").click().run()
    assert not app.exception
    assert "<img src=x" not in _text(app).replace("\\<img src=x", "")


def _press(app: AppTest, label: str) -> AppTest:
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception
    return app


def test_training_is_started_and_stopped_from_the_page(with_study: Path) -> None:
    app = _run("train")
    assert "2 with a complete label, 0 in part, 3 without" in _text(app)
    _press(app, "Start training")
    (job,) = job_states(with_study / "tiny")
    assert (job.kind, job.model) == ("train", "maskmatch")
    assert job.status in {"waiting", "running"}
    _press(app, "Stop and keep")
    end = time.monotonic() + 120
    while (stopped := job_states(with_study / "tiny")[0]).status != "stopped":
        assert time.monotonic() < end, stopped
        time.sleep(0.3)
    app.run()
    assert "Stopped and kept" in _text(app)


def test_nothing_can_be_trained_without_a_label(folder: Path, planned_study: Path) -> None:
    study = Study.create(folder / "bare", channel_names=("image",), label_names={"background": 0, "a": 1})
    study.add_case("one", next((planned_study / "imagesTr").iterdir()))
    app = _run("train")
    assert any("No scan has a label yet" in str(one.value) for one in app.info)
    assert "Start training" not in [button.label for button in app.button]


def test_another_study_can_be_begun_beside_the_first(with_study: Path) -> None:
    app = _press(_run("scans"), "New study")
    assert "Open the demo study" in [button.label for button in app.button]
    app.sidebar.selectbox[0].set_value("tiny").run()
    assert not app.exception
    assert app.sidebar.selectbox[0].value == "tiny"
    assert "Open the demo study" not in [button.label for button in app.button]


def test_structures_are_renamed_moved_and_added(with_study: Path) -> None:
    app = _run("scans")
    next(one for one in app.text_input if one.value == "liver").set_value("hepar")
    next(one for one in app.number_input if one.key.startswith("place aorta")).set_value(1)
    next(one for one in app.text_input if one.label.startswith("Add structures")).set_value("tumour")
    _press(app, "Save structures")
    assert browse(with_study / "tiny").structures == ("aorta", "hepar", "spleen", "kidney", "tumour")
    assert next(one for one in app.text_input if one.label.startswith("Add structures")).value == ""
    _press(app, "Save structures")
    assert browse(with_study / "tiny").structures == ("aorta", "hepar", "spleen", "kidney", "tumour")


def test_a_painted_structure_is_removed_only_after_a_question(with_study: Path) -> None:
    app = _run("scans")
    next(one for one in app.checkbox if one.key.startswith("remove liver")).check()
    _press(app, "Save structures")
    assert "liver" in browse(with_study / "tiny").structures
    _press(app, "Keep it")
    assert "liver" in browse(with_study / "tiny").structures
    assert not any(one.value for one in app.checkbox)
    next(one for one in app.checkbox if one.key.startswith("remove liver")).check()
    _press(_press(app, "Save structures"), "Remove it all the same")
    assert browse(with_study / "tiny").structures == ("spleen", "kidney", "aorta")
