"""The page Label as Streamlit runs it; the painter itself is tested in the browser."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import maskmatch_app
from maskmatch_app.shelf import FOLDER, STUDY
from maskmatch_med.service import browse

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
def study(folder: Path, planned_study: Path) -> Path:
    """A study in that folder."""
    return Path(shutil.copytree(planned_study, folder / "tiny"))


def _label(scan: str = "") -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    if scan:
        app.query_params["scan"] = scan
    app.run().switch_page("screens/label.py")
    if scan:
        app.query_params["scan"] = scan
    app.run()
    assert not app.exception
    return app


def _painted(app: AppTest) -> dict[str, Any]:
    tables = [json.loads(one.proto.json) for one in app.get("bidi_component")]
    return next(dict(table) for table in tables if table.get("desk") == "Painter")


def test_the_painter_gets_names_and_no_voxels(study: Path) -> None:
    name = browse(study).scans[2].name
    image = nibabel.load(study / "imagesTr" / f"{name}_0000.nii.gz")
    (study / "predictions" / "m").mkdir(parents=True)
    values = np.zeros(image.shape, np.uint8)
    nibabel.save(nibabel.Nifti1Image(values, image.affine), study / "predictions" / "m" / f"{name}.nii.gz")
    given = _painted(_label(name))
    assert (given["study"], given["scan"], given["models"]) == ("tiny", name, ["m"])
    assert (given["names"], len(given["colours"])) == (["liver", "spleen", "kidney", "aorta"], 4)
    assert len(json.dumps(given)) < 2000


def test_a_rerun_gives_the_painter_the_same(study: Path) -> None:
    app = _label()
    first = _painted(app)
    assert _painted(app.run()) == first


def test_next_and_previous_turn_to_other_scans(study: Path) -> None:
    app = _label()
    for label, scan in (("Next", "phantom_001"), ("Next", "phantom_002"), ("Previous", "phantom_001")):
        next(button for button in app.button if button.label == label).click().run()
        assert not app.exception
        assert _painted(app)["scan"] == scan


def test_without_scans_there_is_a_door_to_them(folder: Path) -> None:
    app = _label()
    assert any("No study is open" in str(one.value) for one in app.info)
    assert "To the scans" in [button.label for button in app.button]
