"""The page Review as Streamlit runs it, on a real study."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import maskmatch_app
from maskmatch_app.shelf import FOLDER, STUDY
from maskmatch_med import Study
from maskmatch_med.service import browse, open_draft, review_queue
from maskmatch_med.study.verdicts import verdicts_of

MAIN = Path(maskmatch_app.__file__).with_name("main.py")
OPEN = ["phantom_002", "phantom_003", "phantom_004"]
"""The scans of the study that have no label."""


@pytest.fixture
def root(tmp_path: Path, planned_study: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study that the pages show, without any prediction."""
    monkeypatch.setenv(FOLDER, str(tmp_path / "studies"))
    monkeypatch.delenv(STUDY, raising=False)
    return Path(shutil.copytree(planned_study, tmp_path / "studies" / "tiny"))


@pytest.fixture
def predicted(root: Path) -> Path:
    """That study with predictions of the model ``m``, of which that of the second scan has changed since ``old``."""
    for case in OPEN:
        _put(root, case, "m", 8)
    _put(root, OPEN[1], "old", 10, at_s=-100)
    return root


def _put(root: Path, case: str, model: str, corner: int, at_s: int = 0) -> None:
    image = nib.load(root / "imagesTr" / f"{case}_0000.nii.gz")
    voxels = np.zeros(image.shape, np.uint8)
    voxels[corner : corner + 5, 8:13, 8:13] = 1
    path = root / "predictions" / model / f"{case}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, image.affine), path)
    os.utime(path, (1_700_000_000 + at_s, 1_700_000_000 + at_s))


def _open() -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=60).run()
    app.switch_page("screens/review.py").run()
    assert not app.exception
    return app


def _press(app: AppTest, key: str) -> AppTest:
    next(button for button in app.button if key in {button.key, button.label}).click().run()
    assert not app.exception
    return app


def _text(app: AppTest) -> str:
    parts = [*app.title, *app.markdown, *app.caption, *app.info, *app.warning, *app.success, *app.error]
    return "\n".join(str(part.value) for part in parts)


def _component(app: AppTest, name: str) -> dict[str, Any]:
    found = [one.proto for one in app.get("bidi_component") if name in one.proto.component_name]
    return dict(json.loads(found[0].json))


def _in_view(app: AppTest) -> str:
    return str(_component(app, "viewer")["scan"]).split("/scans/")[1].split("/")[0]


def test_without_scans_there_is_a_door_to_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    assert "No study is open" in _text(_open())


def test_without_a_model_one_may_train_or_bring_masks(root: Path) -> None:
    app = _open()
    assert "No model has segmented a scan yet" in _text(app)
    assert {"Train a model", "Take the masks in"} <= {button.label for button in app.button}


def test_a_model_that_has_segmented_nothing_is_sent_to_do_so(root: Path) -> None:
    folder = root / "models" / "m"
    folder.mkdir(parents=True)
    shutil.copy(root / "plan.json", folder / "plan.json")
    (folder / "config.json").write_text("{}")
    told = {"finished": True, "data": {"labelled": 2, "validation": 0}, "validation": None}
    (folder / "metrics.json").write_text(json.dumps(told))
    app = _open()
    assert "not yet segmented by the model m" in _text(app)
    assert "To the next step" in {button.label for button in app.button}
    assert "Train a model" not in {button.label for button in app.button}


def test_an_acceptance_can_be_undone(predicted: Path) -> None:
    app = _open()
    assert "undo acceptance" not in {button.key for button in app.button}
    _press(app, "do Accept")
    assert "**phantom\\_003** was accepted" in _text(app)
    assert browse(predicted).states["accepted"] == 1
    assert _in_view(app) == OPEN[0]
    _press(app, "undo acceptance")
    assert _in_view(app) == OPEN[1]
    assert browse(predicted).states["accepted"] == 0
    assert "undo acceptance" not in {button.key for button in app.button}
    for _ in OPEN:
        _press(app, "do Accept")
    assert "Everything is reviewed" in _text(app)
    _press(app, "undo acceptance")
    assert "Everything is reviewed" not in _text(app)


def test_the_most_doubtful_comes_first_with_its_reason_and_overlays(predicted: Path) -> None:
    app = _open()
    rows = _component(app, "queue")["rows"]
    assert [row["name"] for row in rows] == [OPEN[1], OPEN[0], OPEN[2]]
    assert rows[0]["reason"].startswith("Liver has changed since the previous segmentation (Dice 0.60)")
    assert rows[0]["score"] > rows[1]["score"]
    shown = _component(app, "viewer")
    assert _in_view(app) == OPEN[1]
    assert [(one["name"], one["kind"]) for one in shown["overlays"]] == [
        ("Prediction of m", "labels"),
        ("Difference to old", "difference"),
        ("Prediction of old", "labels"),
    ]
    assert shown["keys"] == {
        "a": f"Accept {OPEN[1]}",
        "c": f"Correct {OPEN[1]}",
        "r": f"Reject {OPEN[1]}",
        "s": f"Skip {OPEN[1]}",
    }
    assert "1 of 3" in _text(app)


def test_a_rerun_sends_the_same_addresses(predicted: Path) -> None:
    app = _open()
    first = _component(app, "viewer")
    assert _component(app.run(), "viewer") == first


def test_accepting_makes_the_label_and_opens_the_next(predicted: Path) -> None:
    app = _press(_open(), "do Accept")
    version = Study.at(predicted).versions(OPEN[1])[-1]
    assert (version.source, version.complete) == ("model accepted", True)
    assert _in_view(app) == OPEN[0]
    assert [row["name"] for row in _component(app, "queue")["rows"]] == [OPEN[0], OPEN[2]]


def test_rejecting_asks_why_and_opens_the_next(predicted: Path) -> None:
    app = _press(_open(), "do Reject")
    assert review_queue(predicted)[0].case == OPEN[1]
    app.get("button_group")[0].set_value(["Parts missing"])
    next(one for one in app.text_input if one.label == "In your own words").set_value("the tip")
    _press(app, "Reject it")
    (verdict,) = verdicts_of(Study.at(predicted), OPEN[1])
    assert (verdict.verdict, verdict.reason) == ("rejected", "Parts missing; the tip")
    assert _in_view(app) == OPEN[0]
    assert next(scan.state for scan in browse(predicted).scans if scan.name == OPEN[1]) == "none"


def test_a_rejection_may_be_thought_better_of(predicted: Path) -> None:
    app = _press(_press(_open(), "do Reject"), "Keep it in the queue")
    assert "Reject it" not in [button.label for button in app.button]
    assert verdicts_of(Study.at(predicted), OPEN[1]) == []


def test_what_is_skipped_comes_last(predicted: Path) -> None:
    app = _press(_open(), "do Skip")
    assert _in_view(app) == OPEN[0]
    assert [row["name"] for row in _component(app, "queue")["rows"]] == [OPEN[0], OPEN[2], OPEN[1]]
    _press(_press(app, "do Skip"), "do Skip")
    assert _in_view(app) == OPEN[1]


def test_correcting_begins_a_draft_and_opens_the_painter(predicted: Path) -> None:
    app = _press(_open(), "do Correct")
    draft = open_draft(predicted, OPEN[1])
    assert (draft.model, int(draft.labels.sum())) == ("m", 125)
    assert dict(app.query_params) == {"study": "tiny", "scan": OPEN[1], "from": "review"}


def test_everything_decided_names_the_next_step(predicted: Path) -> None:
    app = _open()
    for _ in OPEN:
        _press(app, "do Accept")
    assert "Everything is reviewed" in _text(app)
    assert "To the next step" in [button.label for button in app.button]


def test_a_mask_that_does_not_fit_can_only_be_rejected(predicted: Path) -> None:
    (predicted / "predictions" / "m" / f"{OPEN[2]}.nii.gz").write_bytes(b"no image")
    app = _open()
    assert "It cannot be used" in _text(app)
    barred = {button.key: button.disabled for button in app.button if str(button.key).startswith("do ")}
    assert barred == {"do Accept": True, "do Correct": True, "do Reject": False, "do Skip": False}


def test_masks_of_a_folder_come_into_the_queue(root: Path, tmp_path: Path) -> None:
    _put(root, OPEN[0], "elsewhere", 8)
    shutil.move(root / "predictions" / "elsewhere", tmp_path / "masks")
    (tmp_path / "masks" / "note.txt").write_text("dear all")
    app = _open()
    next(one for one in app.text_input if one.label == "Where do they come from?").set_value("nnU-Net")
    next(one for one in app.text_input if one.label.startswith("Or a folder")).set_value(str(tmp_path / "masks"))
    _press(app, "Take the masks in")
    assert [(item.case, item.model) for item in review_queue(root)] == [(OPEN[0], "nnU-Net")]
    assert "1 mask taken in" in _text(app)
    assert "note.txt" in _text(app)
    assert _in_view(app) == OPEN[0]
