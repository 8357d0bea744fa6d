"""Finding scans among files and folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskmatch_med.errors import InputError
from maskmatch_med.io import find_cases, find_scans


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_channels_are_grouped_and_what_is_no_scan_is_passed_over(tmp_path):
    _touch(tmp_path, "b_0000.nii.gz", "b_0001.nii.gz", "a_0000.nii.gz", "a_0001.nii.gz")
    _touch(tmp_path, "._a_0000.nii.gz", "a_seg.nii.gz", "a_uncertainty.nii.gz", "notes.txt", "masks/a.png")
    cases = find_cases([tmp_path])
    assert [case.name for case in cases] == ["a", "b"]
    assert [path.name for path in cases[1].channels] == ["b_0000.nii.gz", "b_0001.nii.gz"]
    assert not cases[0].is_raster


def test_numbers_that_are_no_channels_stay_in_the_name(tmp_path):
    _touch(tmp_path, "scan_0001.nii.gz", "scan_0002.nii.gz")
    _touch(tmp_path / "pictures", "frame_0000.png", "frame_0001.png")
    assert [case.name for case in find_cases([tmp_path])] == ["scan_0001", "scan_0002"]
    assert [case.name for case in find_cases([tmp_path / "pictures"])] == ["frame_0000", "frame_0001"]


def test_pictures_with_one_file_a_channel_are_grouped(tmp_path):
    _touch(tmp_path / "set", *(f"{name}_000{channel}.png" for name in "ab" for channel in range(2)))
    cases = find_cases([tmp_path / "set"])
    assert [(case.name, [p.name for p in case.channels]) for case in cases] == [
        ("a", ["a_0000.png", "a_0001.png"]),
        ("b", ["b_0000.png", "b_0001.png"]),
    ]
    assert cases[0].is_raster
    _touch(tmp_path / "set", "note.png")
    assert len(find_cases([tmp_path / "set"])) == 5


def test_numbered_slices_are_no_channels_unless_their_number_is_known(tmp_path):
    _touch(tmp_path / "slices", *(f"{name}_{number:04d}.png" for name in "ab" for number in range(9)))
    _touch(tmp_path / "films", "a_0000.png", "a_0001.png", "b_0000.png", "b_0001.png", "b_0002.png")
    _touch(tmp_path / "one", "frame_0000.png", "frame_0001.png")
    assert [len(find_cases([tmp_path / folder])) for folder in ("slices", "films", "one")] == [18, 5, 2]
    assert [case.name for case in find_cases([tmp_path / "one"], channels=2)] == ["frame"]
    with pytest.raises(InputError, match="no channel a_0002"):
        find_cases([tmp_path / "films"], channels=3)


def test_folders_of_data_sets_and_single_files(tmp_path):
    _touch(tmp_path, "set/imagesTr/x_0000.nii.gz", "set/labelsTr/x.nii.gz", "pics/images/y.png", "pics/masks/y.png")
    assert [case.name for case in find_cases([tmp_path / "set", tmp_path / "pics"])] == ["x", "y"]
    assert find_cases([tmp_path / "pics/images/y.png"])[0].is_raster


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz"), "no channel b_0001"),
        (("a.nii.gz", "a.png"), "share the name a"),
        (("a.nii.gz", "A.nii"), "share the name"),
        (("readme.txt",), "no scan found"),
    ],
)
def test_what_cannot_be_grouped_is_refused(tmp_path, names, message):
    _touch(tmp_path, *names)
    with pytest.raises(InputError, match=message):
        find_cases([tmp_path])


def test_scans_of_one_name_are_told_apart_by_their_folders(tmp_path):
    _touch(tmp_path, "p1/scan.nii.gz", "p2/scan.nii.gz", "p3/other.nii", "p4/scan.nii", "p4/late.nii")
    assert [case.name for case in find_cases([tmp_path])] == ["p1", "p2", "p3", "p4_late", "p4_scan"]
    _touch(tmp_path, "two/q1/t1.nii", "two/q1/flair.nii", "two/q2/flair.nii", "two/q2/t1.nii")
    found = find_scans([tmp_path / "two"])
    assert [(case.name, [f.name for f in case.channels]) for case in found.cases] == [
        (name, ["t1.nii", "flair.nii"]) for name in ("q1", "q2")
    ]
    assert found.channel_names == ("t1", "flair")


def test_a_bare_label_is_that_of_the_only_scan_beside_it(tmp_path):
    _touch(
        tmp_path, "p1/imaging.nii.gz", "p1/segmentation.nii.gz", "p2/imaging.nii.gz", "p2/mask.nii.gz", "p3/mask.nii"
    )
    found = find_scans([tmp_path])
    assert [case.name for case in found.cases] == ["p1", "p2", "p3"]
    assert [label.parent.name for label in found.labels] == ["p1", "p2"]
    _touch(tmp_path, "p1/second.nii.gz")
    with pytest.raises(InputError, match="may be the label of imaging or of second"):
        find_scans([tmp_path])


def test_what_does_not_fit_can_be_listed_instead(tmp_path):
    _touch(
        tmp_path, "a_0000.nii", "a_0001.nii", "b_0000.nii", "c_0000.nii", "c_0001.nii", "c_0001.nii.gz", "A_0002.nii"
    )
    refused: list[tuple[str, str]] = []
    found = find_scans([tmp_path], refused=refused)
    assert [case.name for case in found.cases] == ["a", "c"]
    assert sorted(name for name, _ in refused) == ["A_0002.nii", "b_0000.nii", "c_0001.nii.gz"]


def test_missing_and_unknown_paths_are_refused(tmp_path):
    _touch(tmp_path, "x.mat")
    with pytest.raises(InputError, match="no file or folder"):
        find_cases([tmp_path / "none"])
    with pytest.raises(InputError, match=r"cannot read .*x\.mat"):
        find_cases([tmp_path / "x.mat"])
    with pytest.raises(InputError, match="no scan was given"):
        find_cases([])
