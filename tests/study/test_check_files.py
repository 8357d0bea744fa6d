"""What a check tells of files that lie elsewhere in the study, and of what was noted at the import."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from maskmatch_med.study import Finding, Study, check_study, import_scans
from maskmatch_med.volume import Geometry, Volume

SHAPE = (16, 14, 3)
NAMES = ("case_00", "case_01")


def volume(seed: int) -> Volume:
    values = np.random.default_rng(seed).normal(size=(1, *SHAPE)).astype(np.float32)
    return Volume(values, Geometry(SHAPE, np.diag([1.0, 1.0, 1.5, 1.0])))


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Two labelled scans, too flat to ask for their sides."""
    made = Study.create(tmp_path / "s", channel_names=["MRI"], label_names={"background": 0, "organ": 1})
    for seed, name in enumerate(NAMES):
        made.add_case(name, volume(seed))
        labels = np.zeros(SHAPE, np.uint8)
        labels[2 + seed : 9, 3:9] = 1
        made.add_label(name, labels)
    assert check_study(made.root) == []
    return made


def found(study: Study, kind: str) -> list[Finding]:
    return [finding for finding in check_study(study.root) if finding.kind == kind]


def test_labels_that_lie_elsewhere(study: Study):
    name = NAMES[1]
    for path in (study.root / "history" / name).glob("*"):
        path.unlink()
    label = study.root / "labelsTr" / f"{name}.nii.gz"
    (study.root / "segmentations").mkdir()
    label.rename(study.root / "segmentations" / f"{name}_seg.nii.gz")
    told = [f for f in check_study(study.root) if f.case == name]
    assert [f.severity for f in told if f.kind == "labels"] == ["warning"]
    assert f"segmentations/{name}_seg.nii.gz" in told[0].message.replace("\\", "/")
    shutil.copy(study.root / "segmentations" / f"{name}_seg.nii.gz", study.root / "labelsTr" / f"{name}_mask.nii.gz")
    told = [f for f in check_study(study.root) if f.case == f"{name}_mask"]
    assert told[0].severity == "error"
    assert f"rename it to labelsTr/{name}.nii.gz" in told[0].todo


@pytest.mark.parametrize(
    "place",
    [
        "{}.nii.gz",
        "imagesTr/masks/{}.nii.gz",
        "imagesTr/{}_0000.seg.nrrd",
        "sub/deep/{}.nii.gz",
        "labelsTr/sub/{}.nii.gz",
        "labelsTr/{}.nii",
        "labelsTr/{}.mha",
        "labelsTr/{}.seg.nrrd",
        "made/predictions/{}_mask.nrrd",
    ],
)
def test_labels_are_found_at_any_depth_and_in_any_format(study: Study, place: str):
    name = "unlabelled-1"
    study.add_case(name, volume(40))
    path = study.root / place.format(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(study.root / "labelsTr" / f"{NAMES[0]}.nii.gz", path)
    (finding,) = found(study, "labels")
    assert (finding.severity, finding.case) == ("warning", name)
    assert finding.message.endswith(str(path))
    assert str(study.root / "labelsTr" / f"{name}.nii.gz") in finding.todo


@pytest.mark.parametrize("place", ["predictions/m/{}.nii.gz", "models/{}.nii.gz", ".cache/{}.nii.gz", "notes/{}.txt"])
def test_what_the_study_makes_itself_is_no_label_elsewhere(study: Study, place: str):
    study.add_case("other", volume(40))
    path = study.root / place.format("other")
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(study.root / "labelsTr" / f"{NAMES[0]}.nii.gz", path)
    assert found(study, "labels") == []


def test_names_that_end_in_numbers_are_not_mixed_up(study: Study):
    for number in (1, 2):
        study.add_case(f"x_000{number}", volume(20 + number))
    (study.root / "elsewhere").mkdir()
    shutil.copy(study.root / "labelsTr" / f"{NAMES[0]}.nii.gz", study.root / "elsewhere" / "x_0002.nii.gz")
    assert [f.case for f in found(study, "labels")] == ["x_0002"]


@pytest.mark.parametrize(
    ("note", "repeated"),
    [
        ("it has no pixel spacing, so a pixel is taken as 1 mm: lengths and volumes mean nothing", True),
        ("it is one slice of unknown thickness, taken as 5 mm", True),
        ("its spacing is that of the detector, so lengths in the body are smaller than shown", True),
        ("a.nrrd states no position in the world", True),
        ("a.mha states no orientation and is taken as LPS+", True),
        ("b.nii was resampled to the grid of a.nii", False),
        ("its series holds every position 2 times, taken as repeats by the numbers of the images", False),
        ("distances between slices vary from 1 to 1.1 mm and are taken as even", False),
        ("a.nii was stored with 4 axes and written with 3", False),
    ],
)
def test_what_the_source_left_open_is_repeated(study: Study, note: str, repeated: bool):
    sidecar = study.folder.sidecar(NAMES[0])
    content = json.loads(sidecar.read_text(encoding="utf-8"))
    sidecar.write_text(json.dumps({**content, "notes": [note]}), encoding="utf-8")
    told = [(f.severity, f.case, note in f.message) for f in check_study(study.root)]
    assert told == ([("note", NAMES[0], True)] if repeated else [])


def test_dicom_without_pixel_spacing_is_remembered(tmp_path: Path):
    source = Path(get_testdata_file("CT_small.dcm"))
    plain = pydicom.dcmread(source)
    del plain.PixelSpacing
    (tmp_path / "scans").mkdir()
    plain.save_as(tmp_path / "scans" / "a.dcm")
    import_scans(tmp_path / "scans", tmp_path / "study")
    (finding,) = [f for f in check_study(tmp_path / "study") if "pixel spacing" in f.message]
    assert (finding.severity, finding.kind) == ("note", "geometry")
