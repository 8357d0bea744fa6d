"""Files gathered into scans of several channels: by modality endings, and by a table of patterns."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskmatch_med.errors import InputError
from maskmatch_med.io.cases import find_scans
from maskmatch_med.io.channels import by_table


def _touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def _shown(folder: Path, **options) -> list[tuple[str, list[str]]]:
    return [(case.name, [path.name for path in case.channels]) for case in find_scans([folder], **options).cases]


def test_brats_folders_one_a_scan_with_labels_beside(tmp_path):
    for name in ("B_001", "B_002"):
        _touch(tmp_path, *(f"{name}/{name}_{end}.nii.gz" for end in ("flair", "t1", "t1ce", "t2", "seg")))
    assert _shown(tmp_path)[0] == ("B_001", [f"B_001_{end}.nii.gz" for end in ("t1", "t1ce", "t2", "flair")])
    found = find_scans([tmp_path])
    assert found.channel_names == ("t1", "t1ce", "t2", "flair")
    assert [path.name for path in found.labels] == ["B_001_seg.nii.gz", "B_002_seg.nii.gz"]
    assert "t1, t1ce, t2, flair were taken as the channels" in found.notes[0]


@pytest.mark.parametrize(
    ("endings", "modalities"),
    [
        (("_t1n", "_t1c", "_t2w", "_t2f"), ("t1", "t1ce", "t2", "flair")),
        (("-ADC", "-DWI"), ("dwi", "adc")),
        (("_T1gd", "-t1"), ("t1", "t1ce")),
    ],
)
def test_endings_of_other_years_and_capitals(tmp_path, endings, modalities):
    _touch(tmp_path, *(f"a{end}.nrrd" for end in endings))
    found = find_scans([tmp_path])
    assert found.channel_names == modalities
    assert [case.name for case in found.cases] == ["a"]


def test_names_of_the_channels_say_which_files_and_in_which_order(tmp_path):
    _touch(tmp_path, *(f"{name}_{end}.nii.gz" for name in "ab" for end in ("t1", "t2", "flair")))
    chosen = _shown(tmp_path, channels=("FLAIR", "T1"))
    assert chosen == [(name, [f"{name}_flair.nii.gz", f"{name}_t1.nii.gz"]) for name in "ab"]
    for channels in (1, 3, ("image",), ("x", "y", "z")):
        assert len(_shown(tmp_path, channels=channels)) == 6


def test_a_single_modality_is_no_group(tmp_path):
    _touch(tmp_path, "a_t1.nii.gz", "b_t1.nii.gz", "c.nii.gz")
    assert [name for name, _ in _shown(tmp_path)] == ["a_t1", "b_t1", "c"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a_t1.nii.gz", "a_t2.nii.gz", "b_t1.nii.gz"), "the scan b has no channel t2"),
        (("a_t1.nii.gz", "a_t1w.nii.gz", "a_t2.nii.gz"), "are the same channel t1"),
    ],
)
def test_modalities_that_do_not_fit_are_refused(tmp_path, names, message):
    with pytest.raises(InputError, match=message):
        find_scans([_touch(tmp_path, *names)])


def test_tables_name_the_scan_by_their_last_star(tmp_path):
    _touch(tmp_path, "a_1.nii.gz", "a_2.nii.gz", "b_1.nii.gz", "b_2.nii.gz", "pre/a.nrrd", "post/a.nrrd", "c/x.mha")
    groups = by_table(tmp_path, {"one": "*_1.nii.gz", "two": "*_2.nii.gz"})
    assert groups.names == ("one", "two")
    assert [(name, [p.name for p in files]) for (_, name), files in groups.cases.items()] == [
        ("a", ["a_1.nii.gz", "a_2.nii.gz"]),
        ("b", ["b_1.nii.gz", "b_2.nii.gz"]),
    ]
    assert list(by_table(tmp_path, {"pre": "pre/*.nrrd", "post": "post/*.nrrd"}).cases) == [(tmp_path, "a")]
    assert list(by_table(tmp_path, {"x": "*/x.mha"}).cases) == [(tmp_path, "c")]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a": "a_1.nii.gz"}, "with \\* for the name"),
        ({"a": "../*.nii.gz"}, "cannot be used"),
        ({"a": "/etc/*.nii.gz"}, "cannot be used"),
        ({"a": "**/*.nii.gz"}, "cannot be used"),
        ({"a": "*_9.nii.gz"}, r"a=\*_9\.nii\.gz fits no scan"),
        ({"one": "*_1.nii.gz", "two": "*_2.nii.gz"}, "the scan b has no channel two"),
        ({"one": "*/*_3.nii.gz"}, "are the same channel one"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, table, message):
    _touch(tmp_path, "a_1.nii.gz", "a_2.nii.gz", "b_1.nii.gz", "x/a_3.nii.gz", "y/a_3.nii.gz")
    with pytest.raises(InputError, match=message):
        by_table(tmp_path, table)
    with pytest.raises(InputError, match="needs a folder"):
        by_table(tmp_path / "a_1.nii.gz", table)


def test_the_advice_for_a_missing_channel_works_for_one_folder_a_scan(tmp_path):
    _touch(tmp_path / "s", *(f"p1/p1_{channel}.nii.gz" for channel in ("t1", "t2", "flair")))
    _touch(tmp_path / "s", *(f"p2/p2_{channel}.nii.gz" for channel in ("t1", "flair")))
    with pytest.raises(InputError, match=r"p2 has no channel t2 .*such as --channels t1,flair$"):
        find_scans([tmp_path / "s"])
    found = find_scans([tmp_path / "s"], channels=("t1", "flair"))
    assert [[path.name for path in case.channels] for case in found.cases] == [
        ["p1_t1.nii.gz", "p1_flair.nii.gz"],
        ["p2_t1.nii.gz", "p2_flair.nii.gz"],
    ]
    table = by_table(tmp_path / "s", {"a": "*_flair.nii.gz", "b": "*_t1.nii.gz"})
    assert {name: [p.name for p in paths] for (_, name), paths in table.cases.items()} == {
        "p1": ["p1_flair.nii.gz", "p1_t1.nii.gz"],
        "p2": ["p2_flair.nii.gz", "p2_t1.nii.gz"],
    }
