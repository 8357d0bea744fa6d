"""Finding scans among files and folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskmatch_med.errors import InputError
from maskmatch_med.io import find_cases


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


def test_missing_and_unknown_paths_are_refused(tmp_path):
    _touch(tmp_path, "x.mat")
    with pytest.raises(InputError, match="no file or folder"):
        find_cases([tmp_path / "none"])
    with pytest.raises(InputError, match=r"cannot read .*x\.mat"):
        find_cases([tmp_path / "x.mat"])
    with pytest.raises(InputError, match="no scan was given"):
        find_cases([])
