"""Drops of good and wrong files: the good come in, the wrong are refused by their names."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from maskmatch_med.errors import StudyError
from maskmatch_med.service import ImportOptions, browse, check_study, import_scans, remove_scan, repair_study, take_in

LIVER = ImportOptions(label_names=("liver",))


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "uploads" / "mine"
    folder.mkdir(parents=True)
    return folder


def test_sound_scans_make_a_study_of_that_name(drop: Path, tmp_path: Path) -> None:
    _scan(drop / "a.nii.gz", 1)
    _scan(drop / "b.nii", 2)
    intake = take_in(drop, tmp_path / "mine", LIVER)
    assert (intake.added, intake.refused) == (["a", "b"], [])
    page = browse(tmp_path / "mine")
    assert (page.name, page.structures, len(page.scans)) == ("mine", ("liver",), 2)


def test_wrong_files_are_refused_by_name_and_the_good_ones_kept(drop: Path, tmp_path: Path) -> None:
    for seed, name in enumerate(("a", "b", "c")):
        _scan(drop / f"{name}.nii.gz", seed)
    (drop / "broken.nii.gz").write_bytes(b"\x1f\x8b nothing")
    (drop / "letter.docx").write_bytes(b"dear all")
    (drop / "empty.nii").touch()
    shutil.copy(drop / "a.nii.gz", drop / "z_again.nii.gz")
    before = sorted(path.name for path in drop.iterdir())
    intake = take_in(drop, tmp_path / "mine", LIVER)
    assert sorted(intake.added) == ["a", "b", "c"]
    refused = {refusal.name: refusal.reason for refusal in intake.refused}
    assert set(refused) == {"broken.nii.gz", "letter.docx", "empty.nii", "z_again.nii.gz"}
    assert "same scan as a" in refused["z_again.nii.gz"]
    assert not any(str(tmp_path) in reason for reason in refused.values())
    assert browse(tmp_path / "mine").name == "mine"
    assert sorted(path.name for path in drop.iterdir()) == before
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".intake")] == []


def _pack(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"{folder.name}/{path.name}")
            path.unlink()
    folder.rmdir()


def test_an_archive_of_images_and_one_of_labels_belong_together(drop: Path, tmp_path: Path) -> None:
    for part in ("images", "labels"):
        (drop / part).mkdir()
        for seed, name in enumerate("ab"):
            _scan(drop / part / f"{name}.nii.gz", seed, label=part == "labels")
        _pack(drop / part, drop / f"{part}.zip")
    intake = take_in(drop, tmp_path / "mine", LIVER)
    assert (intake.added, intake.labelled, intake.refused) == (["a", "b"], ["a", "b"], [])
    assert browse(tmp_path / "mine").structures == ("liver",)
    assert sorted(path.name for path in drop.iterdir()) == ["images.zip", "labels.zip"]
    assert not list(tmp_path.glob(".unpacked-*"))


def test_scans_beside_an_archive_of_their_masks(drop: Path, tmp_path: Path) -> None:
    (drop / "masks").mkdir()
    for seed, name in enumerate("ab"):
        _scan(drop / f"{name}.nii.gz", seed)
        _scan(drop / f"masks/{name}_seg.nii.gz", seed, label=True)
    _pack(drop / "masks", drop / "masks.zip")
    intake = take_in(drop, tmp_path / "mine", LIVER)
    assert (intake.added, intake.labelled, intake.refused) == (["a", "b"], ["a", "b"], [])
    assert browse(tmp_path / "mine").name == "mine"
    assert not (drop / "a.nii.gz").is_symlink()
    assert not any(path.is_symlink() for path in (tmp_path / "mine").rglob("*"))


def test_two_archives_that_are_data_sets_and_one_scan_in_a_third(drop: Path, tmp_path: Path) -> None:
    for site in ("north", "south"):
        for part in ("images", "labels"):
            (drop / site / part).mkdir(parents=True)
            _scan(drop / site / part / f"{site}.nii.gz", len(site) + (site == "north"), label=part == "labels")
        with zipfile.ZipFile(drop / f"{site}.zip", "w") as archive:
            for path in sorted((drop / site).rglob("*.nii.gz")):
                archive.write(path, path.relative_to(drop / site))
        shutil.rmtree(drop / site)
    (drop / "one").mkdir()
    _scan(drop / "one/c.nii.gz", 7)
    _pack(drop / "one", drop / "one.zip")
    intake = take_in(drop, tmp_path / "mine", LIVER)
    assert (sorted(intake.added), sorted(intake.labelled)) == (["c", "north", "south"], ["north", "south"])
    assert intake.refused == []
    assert browse(tmp_path / "mine").name == "mine"


def test_an_archive_called_as_a_folder_beside_it_changes_nothing_there(drop: Path, tmp_path: Path) -> None:
    for part in ("images", "labels"):
        (drop / part).mkdir()
        _scan(drop / part / "a.nii.gz", 1, label=part == "labels")
    (tmp_path / "more").mkdir()
    _scan(tmp_path / "more/b.nii.gz", 2)
    _pack(tmp_path / "more", drop / "images.zip")
    before = {path: path.stat().st_mtime_ns for path in drop.rglob("*")}
    intake = take_in(drop, tmp_path / "mine", LIVER)
    assert (sorted(intake.added), intake.labelled) == (["a", "b"], ["a"])
    assert {path: path.stat().st_mtime_ns for path in drop.rglob("*")} == before


def test_an_archive_of_images_beside_loose_scans_or_labels(drop: Path, tmp_path: Path) -> None:
    (drop / "images").mkdir()
    _scan(drop / "images/own.nii.gz", 1)
    _pack(drop / "images", drop / "images.zip")
    assert take_in(drop, tmp_path / "alone", LIVER).added == ["own"]
    (drop / "labels").mkdir()
    _scan(drop / "labels/own.nii.gz", 1, label=True)
    assert take_in(drop, tmp_path / "labelled", LIVER).labelled == ["own"]
    shutil.rmtree(drop / "labels")
    _scan(drop / "b.nii.gz", 2)
    assert sorted(take_in(drop, tmp_path / "mine", LIVER).added) == ["b", "own"]


def test_archives_of_one_patient_each_are_named_apart(drop: Path, tmp_path: Path) -> None:
    for seed, name in enumerate(("p1", "p2")):
        (drop / name).mkdir()
        _scan(drop / name / "ct.nii.gz", seed)
        _pack(drop / name, drop / f"{name}.zip")
    assert take_in(drop, tmp_path / "mine", LIVER).added == ["p1", "p2"]


def test_an_archive_within_an_archive_is_named(drop: Path, tmp_path: Path) -> None:
    (drop / "in").mkdir()
    (drop / "out").mkdir()
    _scan(drop / "in/a.nii.gz", 1)
    _pack(drop / "in", drop / "out/in.zip")
    _scan(drop / "out/b.nii.gz", 2)
    _pack(drop / "out", drop / "out.zip")
    intake = take_in(drop, tmp_path / "mine", LIVER)
    assert intake.added == ["b"]
    assert [(one.name, "archive within another" in one.reason) for one in intake.refused] == [("in.zip", True)]


def test_archives_among_scans_and_broken_ones(drop: Path, tmp_path: Path) -> None:
    _scan(drop / "a.nii.gz", 1)
    (drop / "more").mkdir()
    _scan(drop / "more/b.nii.gz", 2)
    (drop / "more/c.nii.gz").write_bytes(b"torn")
    _pack(drop / "more", drop / "more.zip")
    (drop / "broken.zip").write_bytes(b"PK\x03\x04torn")
    intake = take_in(drop, tmp_path / "mine", LIVER)
    assert intake.added == ["a", "b"]
    refused = {one.name: one.reason for one in intake.refused}
    assert set(refused) == {"c.nii.gz", "broken.zip"}
    assert not any(".unpacked" in reason or str(tmp_path) in reason for reason in refused.values())


def test_an_archive_of_nothing_that_can_be_read(drop: Path, tmp_path: Path) -> None:
    (drop / "bad").mkdir()
    (drop / "bad/c.nii.gz").write_bytes(b"torn")
    _pack(drop / "bad", drop / "bad.zip")
    intake = take_in(drop / "bad.zip", tmp_path / "mine", LIVER)
    assert (intake.added, [one.name for one in intake.refused]) == ([], ["c.nii.gz"])
    assert not (tmp_path / "mine").exists()


def test_a_scan_that_the_study_has_is_found_by_its_content(drop: Path, tmp_path: Path) -> None:
    _scan(drop / "a.nii.gz", 1)
    take_in(drop, tmp_path / "mine", LIVER)
    (drop / "a.nii.gz").rename(drop / "other.nii.gz")
    _scan(drop / "b.nii.gz", 2)
    intake = take_in(drop, tmp_path / "mine")
    assert intake.added == ["b"]
    assert [(refusal.name, "same scan as a" in refusal.reason) for refusal in intake.refused] == [
        ("other.nii.gz", True)
    ]


def test_the_same_drop_twice_changes_nothing(drop: Path, tmp_path: Path) -> None:
    _scan(drop / "a.nii.gz", 1)
    take_in(drop, tmp_path / "mine", LIVER)
    intake = take_in(drop, tmp_path / "mine")
    assert (intake.added, intake.unchanged, intake.refused) == ([], ["a"], [])


def test_channels_stay_together_when_another_scan_is_broken(drop: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        for channel, seed in enumerate((1, 2) if name == "a" else (3, 4)):
            _scan(drop / f"{name}_{channel:04d}.nii.gz", seed)
    (drop / "b_0001.nii.gz").write_bytes(b"torn")
    intake = take_in(drop, tmp_path / "mine", LIVER)
    assert intake.added == ["a"]
    assert len(browse(tmp_path / "mine").channels) == 2
    assert len(intake.refused) == 1
    assert intake.refused[0].name.startswith("b_")


def test_a_drop_of_nothing_readable_says_so(drop: Path, tmp_path: Path) -> None:
    (drop / "notes.txt").write_text("hello")
    intake = take_in(drop, tmp_path / "mine", LIVER)
    assert [refusal.name for refusal in intake.refused] == ["notes.txt"]
    assert not (tmp_path / "mine").exists()
    absent = take_in(tmp_path / "absent", tmp_path / "mine", LIVER)
    assert "no file or folder" in absent.refused[0].reason


def test_one_wrong_name_keeps_no_other_scan_out(drop: Path, tmp_path: Path) -> None:
    for seed, name in enumerate(("a_0000", "a_0001", "b_0000", "p1/scan", "p2/scan")):
        (drop / name).parent.mkdir(exist_ok=True)
        _scan(drop / f"{name}.nii.gz", seed)
    (drop / "Thumbs.db").write_bytes(b"x")
    intake = take_in(drop, tmp_path / "mine", LIVER)
    assert intake.added == ["a"]
    assert {refusal.name for refusal in intake.refused} == {"Thumbs.db", "b_0000.nii.gz"}
    assert any("was not searched" in note for note in intake.notes)
    shutil.rmtree(drop)
    for seed, name in enumerate(("p1/scan", "p2/scan", "p3/torn")):
        (drop / name).parent.mkdir(parents=True)
        _scan(drop / f"{name}.nii.gz", 10 + seed)
    (drop / "p3" / "torn.nii.gz").write_bytes(b"torn")
    intake = take_in(drop, tmp_path / "patients", LIVER)
    assert intake.added == ["p1", "p2"]
    assert [refusal.name for refusal in intake.refused] == ["torn.nii.gz"]


def test_a_wrong_label_or_dataset_json_keeps_no_scan_out(drop: Path, tmp_path: Path) -> None:
    (drop / "labels").mkdir()
    for seed, name in enumerate(("a", "b")):
        _scan(drop / f"{name}.nii.gz", seed)
        grid = np.diag([1.0, 1.5, 2.0, 1.0])
        labels = np.full((8, 9, 10), 1 + seed, np.uint8)
        labels[0] = 0
        nibabel.save(nibabel.Nifti1Image(labels, grid), drop / "labels" / f"{name}.nii.gz")
    (drop / "dataset.json").write_text("{")
    intake = take_in(drop, tmp_path / "mine", LIVER)
    assert (intake.added, intake.labelled) == (["a", "b"], ["a"])
    refused = {refusal.name: refusal.reason for refusal in intake.refused}
    assert "not valid JSON" in refused["dataset.json"]
    assert (
        "its scan b came in without it, as label 2 is not among 0, 1, the values of the classes" in refused["b.nii.gz"]
    )


def test_options_of_the_command_line_are_called_so(drop: Path, tmp_path: Path) -> None:
    _scan(drop / "a.nii.gz", 1)
    moving = np.zeros((8, 9, 10, 3), np.int16)
    nibabel.save(nibabel.Nifti1Image(moving, np.eye(4)), drop / "moving.nii.gz")
    intake = take_in(drop, tmp_path / "mine", LIVER)
    assert intake.added == ["a"]
    assert "--frames" in intake.refused[0].reason
    assert intake.refused[0].reason.endswith("(on the page Scans: Files with several volumes)")
    (drop / "a_seg.nii.gz").write_bytes((drop / "a.nii.gz").read_bytes())
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4) * 3), drop / "a_seg.nii.gz")
    refused = take_in(drop, tmp_path / "other", LIVER).refused
    label = next(one.reason for one in refused if one.name == "a_seg.nii.gz")
    assert label.endswith("(an option of `maskmatch import` on the command line)")


def test_every_volume_of_a_file_becomes_a_channel_where_that_is_asked(drop: Path, tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        values = np.random.default_rng(seed).integers(0, 99, (8, 9, 10, 3)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), drop / f"{name}.nii.gz")
    options = replace(LIVER, frames="all")
    assert take_in(drop, tmp_path / "mine", options).added == ["a", "b"]
    assert browse(tmp_path / "mine").channels == ("channel_0", "channel_1", "channel_2")
    stored = nibabel.load(tmp_path / "mine/imagesTr/b_0002.nii.gz")
    assert np.array_equal(stored.get_fdata(), values[..., 2])
    assert take_in(drop, tmp_path / "mine", options).unchanged == ["a", "b"]
    with pytest.raises(StudyError, match="holds the frames 0, 1, 2"):
        import_scans(drop, tmp_path / "mine", replace(options, frames=(0, 1)))
    import_scans(drop, tmp_path / "two", replace(options, frames=(0, 2)))
    with pytest.raises(StudyError, match="holds the frames 0, 2"):
        import_scans(drop, tmp_path / "two", options)
    nibabel.save(nibabel.Nifti1Image(values[..., :2] + 1, np.eye(4)), drop / "c.nii.gz")
    (refused,) = take_in(drop, tmp_path / "mine", options).refused
    assert (refused.name, "has 2 channels, expected 3" in refused.reason) == ("c.nii.gz", True)


def test_a_header_keeps_its_voxels_when_another_scan_is_broken(drop: Path, tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    values = np.random.default_rng(0).integers(0, 99, (5, 6, 7), dtype=np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(drop / "apart.mhd"))
    (drop / "broken.nii.gz").write_bytes(b"torn")
    intake = take_in(drop, tmp_path / "mine", LIVER)
    assert intake.added == ["apart"]
    stored = nibabel.load(tmp_path / "mine" / "imagesTr" / "apart_0000.nii.gz")
    np.testing.assert_array_equal(stored.get_fdata(), values.transpose())


def _scan(path: Path, seed: int, *, label: bool = False) -> None:
    values = np.random.default_rng(seed).integers(0, 2 if label else 200, (8, 9, 10)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 1.5, 2.0, 1.0])), path)


def test_a_scan_taken_out_is_kept_aside_with_all_that_was_known_of_it(tiny_study: Path) -> None:
    name = "phantom_000"
    files = {
        path.relative_to(tiny_study): path.read_bytes()
        for path in tiny_study.rglob(f"*{name}*")
        if path.is_file() and ".cache" not in path.parts
    }
    files |= {
        path.relative_to(tiny_study): path.read_bytes()
        for path in (tiny_study / "history" / name).rglob("*")
        if path.is_file()
    }
    aside = remove_scan(tiny_study, name, "Zoë")
    assert name not in [scan.name for scan in browse(tiny_study).scans]
    kept = {path.relative_to(aside): path.read_bytes() for path in aside.rglob("*") if path.is_file()}
    assert {k: v for k, v in kept.items() if k in files} == files
    assert json.loads((aside / "removed.json").read_text())["author"] == "Zoë"
    assert name not in json.loads((tiny_study / "dataset.json").read_text())["dataset"]
    assert [finding for finding in check_study(tiny_study) if "phantom" in str(finding)] == []
    shutil.copytree(aside, tiny_study, dirs_exist_ok=True)
    repair_study(tiny_study)
    assert next(scan.state for scan in browse(tiny_study).scans if scan.name == name) == "labelled"
    with pytest.raises(StudyError, match="no case"):
        remove_scan(tiny_study, "nobody")


def test_a_drop_cannot_name_files_that_lie_elsewhere(drop: Path, tmp_path: Path) -> None:
    """A data set may be brought by anybody; what its dataset.json lists is copied into the study."""
    _scan(tmp_path / "secret.nii.gz", 3)
    (drop / "imagesTr").mkdir()
    _scan(drop / "imagesTr" / "good.nii.gz", 1)
    for place in (str(tmp_path / "secret.nii.gz"), "../../secret.nii.gz"):
        listed = [{"image": "imagesTr/good.nii.gz"}, {"image": place}]
        content = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver"}, "training": listed}
        (drop / "dataset.json").write_text(json.dumps(content))
        shutil.rmtree(tmp_path / "mine", ignore_errors=True)
        intake = take_in(drop, tmp_path / "mine")
        assert intake.added == ["good"]
        assert [(one.name, "lie elsewhere" in one.reason) for one in intake.refused] == [("secret", True)]
        assert not list((tmp_path / "mine").rglob("secret*"))
