"""Check finds what is wrong, and repair mends what the files allow."""

from __future__ import annotations

import os

import numpy as np
import pytest

from maskmatch_med.data.preprocess import normalise_channel
from maskmatch_med.errors import StudyError
from maskmatch_med.io import write_map, write_segmentation
from maskmatch_med.planning.plan import ChannelNormalisation
from maskmatch_med.study import Study, check_study, repair_study
from maskmatch_med.volume import Geometry, Volume

SHAPE = (4, 4, 3)
GEOMETRY = Geometry(SHAPE, np.diag([1.0, 1.0, 2.0, 1.0]))


@pytest.fixture
def study(tmp_path):
    made = Study.create(tmp_path / "s", channel_names=["MRI"], label_names={"background": 0, "a": 1})
    for seed, name in enumerate("xy"):
        array = np.random.default_rng(seed).normal(size=(1, *SHAPE)).astype(np.float32)
        made.add_case(name, Volume(array, GEOMETRY))
    labels = np.zeros(SHAPE, np.uint8)
    labels[1] = 1
    made.add_label("x", labels)
    return made


def _found(study):
    return [(f.severity, f.case, f.message) for f in check_study(study.root)]


def test_a_sound_study_has_no_findings_and_needs_no_repair(study):
    assert check_study(study.root) == []
    assert repair_study(study.root) == []


def test_a_copy_with_other_times_is_as_sound_as_its_source(study):
    label = study.root / "labelsTr/x.nii.gz"
    os.utime(label, (1, 1))
    assert check_study(study.root) == []
    raw = bytearray(label.read_bytes())
    raw[-1] ^= 1
    label.write_bytes(bytes(raw))
    assert any("labelsTr does not show the current label versions" in m for _, _, m in _found(study))
    label.unlink()
    assert any("labelsTr does not show the current label versions" in m for _, _, m in _found(study))


@pytest.mark.parametrize(
    ("values", "severity", "message"),
    [
        (np.full(SHAPE, 7.0), "error", "empty: every voxel is 7"),
        (np.full(SHAPE, np.nan), "error", "empty: every voxel is NaN"),
        (np.where(np.arange(48).reshape(SHAPE) == 5, np.inf, np.arange(48.0).reshape(SHAPE)), "warning", "holds 1 NaN"),
    ],
)
def test_scans_without_content(study, values, severity, message):
    write_map(study.root / "imagesTr/y_0000.nii.gz", values, GEOMETRY)
    assert any(s == severity and c == "y" and message in m for s, c, m in _found(study))


def test_what_training_makes_of_voxels_without_a_value_is_said_as_it_is(study):
    values = np.arange(48.0).reshape(SHAPE)
    values[0, 0, 0] = np.nan
    write_map(study.root / "imagesTr/y_0000.nii.gz", values, GEOMETRY)
    (finding,) = [f for f in check_study(study.root) if f.case == "y" and f.severity == "warning"]
    taken = normalise_channel(values.astype(np.float32), ChannelNormalisation(scheme="zscore"))
    filled = np.where(np.isnan(values), np.nanmedian(values), values).astype(np.float32)
    np.testing.assert_array_equal(taken, normalise_channel(filled, ChannelNormalisation(scheme="zscore")))
    assert "median" in finding.todo


def test_damaged_and_missing_files(study):
    (study.root / "imagesTr/y_0000.nii.gz").write_bytes(b"nothing")
    write_segmentation(study.root / "labelsTr/z.nii.gz", np.zeros(SHAPE, np.uint8), GEOMETRY)
    write_segmentation(study.root / "history/x/0001.nii.gz", np.ones(SHAPE, np.uint8), GEOMETRY)
    found = _found(study)
    assert any(c == "y" and "y_0000.nii.gz" in m for _, c, m in found)
    assert any(c == "z" and "without a scan" in m for _, c, m in found)
    assert any(c == "x" and "not as it was written" in m for _, c, m in found)
    assert [s for s, _, _ in found] == sorted((s for s, _, _ in found), key=["error", "warning", "note"].index)


def test_labels_off_their_scan_and_foreign_values(study):
    write_map(study.root / "imagesTr/x_0000.nii.gz", np.arange(48.0).reshape(SHAPE), Geometry(SHAPE, np.eye(4)))
    assert any(c == "x" and "not lie on the scan's grid" in m for _, c, m in _found(study))
    write_segmentation(study.root / "labelsTr/y.nii.gz", np.full(SHAPE, 5, np.uint8), GEOMETRY)
    assert any(c == "y" and "label 5 is not among 0, 1" in m for _, c, m in _found(study))


def test_labels_that_say_little(study):
    study.add_label("x", np.full(SHAPE, 255, np.uint8))
    study.add_label("y", np.zeros(SHAPE, np.uint8))
    assert {(c, m.split(" has ")[-1].split(" holds ")[-1]) for _, c, m in _found(study)} == {
        ("x", "no judged voxel"),
        ("y", "background only"),
    }


def test_repair_mends_what_is_an_index_or_a_leftover(study):
    (study.root / "study.sqlite").write_bytes(b"not a database at all, but long enough to be taken for one")
    (study.root / "sources/y.json").write_text("{")
    (study.root / "history/x/0001.json").write_text("{")
    (study.root / "imagesTr/.y_0000.nii.gz.1234.part").write_bytes(b"half")
    (study.root / ".lock").write_text('{"pid": 4194305, "host": "", "create_time": 0}')
    (study.root / ".lock").write_text((study.root / ".lock").read_text().replace('""', f'"{_host()}"'))
    assert {s for s, _, _ in _found(study)} == {"error", "note"}
    before = (study.root / "history/x/0001.nii.gz").read_bytes()
    done = repair_study(study.root)
    assert len(done) == 5
    assert check_study(study.root) == []
    assert (study.root / "history/x/0001.nii.gz").read_bytes() == before
    assert Study.open(study.root).case("x").label.source == "recovered"


def test_only_studies_are_checked(tmp_path):
    with pytest.raises(StudyError, match="not a study"):
        check_study(tmp_path)


def _host() -> str:
    import platform

    return platform.node()
