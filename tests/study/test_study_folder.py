"""The study folder: versions, the view that nnU-Net reads, and what a kill leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from maskmatch_med.errors import InputError, StudyError
from maskmatch_med.io import write_map, write_segmentation
from maskmatch_med.study import SourceInfo, Study
from maskmatch_med.volume import Geometry, Volume

SHAPE = (6, 5, 4)
GEOMETRY = Geometry(SHAPE, np.array([[0, -2.0, 0, 7], [1.5, 0, 0, -3], [0, 0, 3.0, 1], [0, 0, 0, 1]]))


def _scan(seed: int = 0) -> Volume:
    return Volume(np.random.default_rng(seed).normal(size=(1, *SHAPE)).astype(np.float32), GEOMETRY)


def _labels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, SHAPE, dtype=np.uint8)


@pytest.fixture
def study(tmp_path):
    made = Study.create(
        tmp_path / "study", channel_names=["MRI"], label_names={"background": 0, "a": 1, "b": 2}, name="demo"
    )
    made.add_case("x", _scan())
    return made


def _dataset(study: Study) -> dict:
    return json.loads((study.root / "dataset.json").read_text())


def test_a_new_study_is_an_nnunet_data_set(study):
    assert _dataset(study) == {
        "name": "demo",
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "a": 1, "b": 2},
        "file_ending": ".nii.gz",
        "numTraining": 0,
        "dataset": {},
    }
    case = Study.open(study.root).case("x")
    np.testing.assert_array_equal(case.read_image().array, _scan().array)
    assert case.read_image().geometry.same_grid(GEOMETRY)
    assert (case.judged, case.label, case.read_label()) == ("none", None, None)
    assert study.spatial_dims == 3


def test_complete_labels_go_to_labelstr_as_they_are(study):
    version = study.add_label("x", _labels(), author="me", complete=True)
    shown = nib.load(study.root / "labelsTr" / "x.nii.gz")
    np.testing.assert_array_equal(np.asarray(shown.dataobj), _labels())
    np.testing.assert_allclose(shown.affine, GEOMETRY.affine)
    assert (version.version, version.parent, version.complete, version.author) == ("0001", None, True, "me")
    assert _dataset(study)["dataset"] == {"x": {"images": ["imagesTr/x_0000.nii.gz"], "label": "labelsTr/x.nii.gz"}}
    assert _dataset(study)["numTraining"] == 1
    assert "ignore" not in _dataset(study)["labels"]


def test_unjudged_voxels_become_nnunets_ignore_label(study):
    labels = _labels()
    labels[2:] = 255
    study.add_label("x", labels)
    assert study.case("x").judged == "partial"
    assert _dataset(study)["labels"]["ignore"] == 3
    shown = np.asarray(nib.load(study.root / "labelsTr" / "x.nii.gz").dataobj)
    assert (shown[2:] == 3).all()
    np.testing.assert_array_equal(Study.open(study.root).case("x").read_label().array, labels)
    assert Study.open(study.root).label_names == {"background": 0, "a": 1, "b": 2}
    study.set_label_names({"background": 0, "a": 1, "b": 2, "c": 3})
    assert _dataset(study)["labels"]["ignore"] == 4
    assert (np.asarray(nib.load(study.root / "labelsTr" / "x.nii.gz").dataobj)[2:] == 4).all()
    study.add_label("x", _labels())
    assert "ignore" not in _dataset(study)["labels"]


def test_no_version_is_ever_overwritten(study):
    study.add_label("x", _labels(1))
    first = (study.root / "history/x/0001.nii.gz").read_bytes()
    study.add_label("x", _labels(2))
    (study.root / "history/x/0003.nii.gz").write_bytes(b"left by a kill")
    study.add_label("x", _labels(3))
    assert [v.version for v in study.versions("x")] == ["0001", "0002", "0004"]
    assert [v.parent for v in study.versions("x")] == [None, "0001", "0002"]
    assert (study.root / "history/x/0001.nii.gz").read_bytes() == first
    np.testing.assert_array_equal(study.versions("x")[0].read().array, _labels(1))


def test_a_label_edited_by_another_program_becomes_a_version(study):
    labels = _labels()
    labels[0, 0, 0] = 255
    study.add_label("x", labels)
    path = study.root / "labelsTr" / "x.nii.gz"
    edited = np.asarray(nib.load(path).dataobj).copy()
    edited[1, 1, 1] = (edited[1, 1, 1] + 1) % 3
    nib.save(nib.Nifti1Image(edited, GEOMETRY.affine), path)
    reopened = Study.open(study.root)
    label = reopened.case("x").label
    assert (label.version, label.source, label.parent) == ("0002", "edited elsewhere", "0001")
    expected = np.where(edited == 3, 255, edited)
    np.testing.assert_array_equal(reopened.case("x").read_label().array, expected)
    assert [v.version for v in Study.open(study.root).versions("x")] == ["0001", "0002"]


def test_a_touched_or_deleted_label_is_no_edit(study):
    study.add_label("x", _labels())
    path = study.root / "labelsTr" / "x.nii.gz"
    os.utime(path)
    assert len(Study.open(study.root).versions("x")) == 1
    path.unlink()
    assert len(Study.open(study.root).versions("x")) == 1
    assert path.is_file()


def test_an_edit_that_cannot_be_used_leaves_the_history_alone(study):
    study.add_label("x", _labels())
    write_segmentation(study.root / "labelsTr" / "x.nii.gz", np.full(SHAPE, 9, np.uint8), GEOMETRY)
    reopened = Study.open(study.root)
    assert len(reopened.versions("x")) == 1
    assert "label 9 is not among 0, 1, 2" in reopened.view().edit_problem("x")
    reopened.add_label("x", _labels(5))
    np.testing.assert_array_equal(reopened.case("x").read_label().array, _labels(5))


def test_a_plain_nnunet_data_set_can_be_opened(study, tmp_path):
    study.add_label("x", _labels())
    for path in [*(study.root / "history").rglob("*.*"), *(study.root / "sources").iterdir()]:
        path.unlink()
    (study.root / "study.sqlite").unlink()
    opened = Study.open(study.root)
    assert opened.case("x").label.source == "import"
    np.testing.assert_array_equal(opened.case("x").read_label().array, _labels())


def test_foreign_keys_of_dataset_json_are_kept(study):
    content = _dataset(study) | {"licence": "CC-BY"}
    (study.root / "dataset.json").write_text(json.dumps(content))
    study.add_label("x", _labels())
    assert _dataset(study)["licence"] == "CC-BY"


def test_single_slices_make_a_2d_study(tmp_path):
    study = Study.create(tmp_path / "s", channel_names=["grey"], label_names={"background": 0, "a": 1})
    geometry = Geometry((4, 3, 1), np.diag([-1.0, -1.0, 1.0, 1.0]))
    info = SourceInfo("p.png", "png", is_raster=True)
    study.add_case("p", Volume(np.zeros((1, 4, 3, 1), np.float32), geometry), source=info, group="patient 1")
    case = study.case("p")
    assert study.spatial_dims == 2
    assert (case.is_raster, case.source_name, case.group, case.shape) == (True, "p.png", "patient 1", (4, 3, 1))


def test_files_keep_their_bytes_or_are_linked(study, tmp_path):
    write_map(tmp_path / "y.nii.gz", _scan(1).array[0], GEOMETRY)
    write_map(tmp_path / "z.nii", _scan(2).array[0], GEOMETRY)
    study.add_case("y", tmp_path / "y.nii.gz")
    study.add_case("linked", tmp_path / "y.nii.gz", link=True)
    study.add_case("z", tmp_path / "z.nii")
    images = study.root / "imagesTr"
    assert (images / "y_0000.nii.gz").read_bytes() == (tmp_path / "y.nii.gz").read_bytes()
    assert (images / "linked_0000.nii.gz").samefile(tmp_path / "y.nii.gz")
    np.testing.assert_array_equal(study.case("z").read_image().array, _scan(2).array)
    assert study.source("y").sha256 != study.source("z").sha256


@pytest.mark.parametrize(
    ("labels", "complete", "message"),
    [
        (np.zeros((2, 2, 2), np.uint8), None, "shape"),
        (np.full(SHAPE, 3, np.uint8), None, "label 3 is not among 0, 1, 2"),
        (np.full(SHAPE, 255, np.uint8), True, "called complete"),
        (np.full(SHAPE, 0.5), None, "whole numbers"),
    ],
)
def test_labels_that_do_not_fit_are_refused(study, labels, complete, message):
    with pytest.raises(InputError, match=message):
        study.add_label("x", labels, complete=complete)
    assert study.versions("x") == []


def test_what_does_not_fit_is_refused(study, tmp_path):
    with pytest.raises(StudyError, match="has a case 'x' already"):
        study.add_case("x", _scan())
    with pytest.raises(InputError, match="cannot be used as a file name"):
        study.add_case("a/b", _scan())
    with pytest.raises(InputError, match="2 channels, the study 1"):
        study.add_case("two", Volume(np.zeros((2, *SHAPE), np.float32), GEOMETRY))
    with pytest.raises(StudyError, match="no case 'none'"):
        study.case("none")
    with pytest.raises(StudyError, match="not an empty folder"):
        Study.create(study.root, channel_names=["a"], label_names={"background": 0, "a": 1})
    with pytest.raises(InputError, match="without gaps"):
        Study.create(tmp_path / "new", channel_names=["a"], label_names={"background": 0, "a": 2})
    with pytest.raises(StudyError, match="there is no study"):
        Study.open(tmp_path / "none")
    study.add_label("x", _labels())
    with pytest.raises(InputError, match="label 2 is not among 0, 1"):
        study.set_label_names({"background": 0, "a": 1})


KILLED = """
import os, sys
from pathlib import Path
import numpy as np
from maskmatch_med.study import Study
study = Study.open(Path(sys.argv[1]))
left = int(sys.argv[2])
replace = Path.replace
def dying(self, target):
    global left
    if left == 0:
        os._exit(9)
    left -= 1
    return replace(self, target)
Path.replace = dying
labels = np.zeros((6, 5, 4), np.uint8)
labels[0] = 255
study.add_label("x", labels, author="killed")
"""


def test_a_kill_at_any_moment_of_saving_a_label_damages_nothing(study):
    study.add_label("x", _labels(1))
    outcomes = []
    for step in range(10):
        before = len(study.versions("x"))
        command = [sys.executable, "-c", KILLED, str(study.root), str(step)]
        code = subprocess.run(command, check=False, env=os.environ | {"PYTHONPATH": _package_root()}).returncode
        assert code in {0, 9}
        opened = Study.open(study.root)
        versions = opened.versions("x")
        assert len(versions) - before in {0, 1}
        outcomes.append(len(versions) - before)
        shown = np.asarray(nib.load(study.root / "labelsTr" / "x.nii.gz").dataobj)
        current = opened.case("x").read_label().array
        np.testing.assert_array_equal(shown, np.where(current == 255, 3, current))
        assert ("ignore" in _dataset(study)["labels"]) == bool((current == 255).any())
        assert all(version.source == "human" for version in versions)
        assert not opened.view().is_stale()
        np.testing.assert_array_equal(opened.add_label("x", _labels(1)).read().array, _labels(1))
        if code == 0:
            break
    assert code == 0
    assert outcomes[0] == 0
    assert outcomes[-1] == 1
    assert len(outcomes) >= 5


def _package_root() -> str:
    return str(Path(__file__).resolve().parents[2])


@pytest.mark.parametrize("name", ["con", "NUL", "aux.1", "Com1", "lpt9.x.y", "prn "])
def test_names_that_windows_keeps_for_devices_are_refused(tmp_path, name):
    study = Study.create(tmp_path / "s", channel_names=["CT"], label_names={"background": 0, "organ": 1})
    volume = Volume(np.zeros((1, 2, 2, 2), np.float32), Geometry((2, 2, 2), np.eye(4)))
    with pytest.raises(InputError, match=r"the case name .* on every system; rename the scan"):
        study.add_case(name, volume)
    with pytest.raises(InputError, match=r"the model name .* on every system; choose another"):
        study.model_dir(name)
    for fine in ("contrast", "com10", "nullus", "a.con"):
        assert study.model_dir(fine).name == fine
