"""Zip archives of scans: what is unpacked, what is refused, and that nothing stays behind."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest

from maskmatch_med.errors import DiskFullError, InputError
from maskmatch_med.io import archives
from maskmatch_med.io.archives import holds_scans, unpacked


def pack(target: Path, **members: str) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target


def files(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_folders_that_all_files_share_and_hidden_files_are_left_out(tmp_path: Path) -> None:
    members = {"top/data/a.nii": "1", "top/data/more/b.nii": "2", "__MACOSX/top/._a.nii": "x", "top/.DS_Store": "x"}
    archive = pack(tmp_path / "mine.zip", **members)
    with unpacked([archive], tmp_path / "not/there") as places:
        assert places[archive].name == "mine"
        assert files(places[archive]) == {"a.nii": "1", "more/b.nii": "2"}
    assert list(tmp_path.iterdir()) == [archive]


def test_a_folder_of_images_or_labels_keeps_its_name(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", **{"./Task/labelsTr/a.nii": "1", "./Task/labelsTr/b.nii": "2"})
    with unpacked([archive], tmp_path) as places:
        assert files(places[archive]) == {"labelsTr/a.nii": "1", "labelsTr/b.nii": "2"}


def test_signs_that_a_system_forbids_are_replaced(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", **{"x/scan 10:30.nii": "1", "x/Smith J./ü.nii": "2"})
    with unpacked([archive], tmp_path) as places:
        assert files(places[archive]) == {"scan 10_30.nii": "1", "Smith J/ü.nii": "2"}


def test_several_archives_lie_beside_each_other(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    packed = [
        pack(tmp_path / "images.zip", **{"x/a.nii": "1"}),
        pack(tmp_path / "labels.zip", **{"a.nii": "2"}),
        pack(tmp_path / "other/images.zip", **{"b.nii": "3"}),
    ]
    with unpacked(packed, tmp_path) as places:
        assert [files(places[path]) for path in packed] == [{"a.nii": "1"}, {"a.nii": "2"}, {"b.nii": "3"}]
        assert [places[path].name for path in packed] == ["images", "labels", "images"]


def test_what_holds_scans(tmp_path: Path) -> None:
    assert holds_scans(pack(tmp_path / "a.zip", **{"x/a.NII.GZ": "1"}))
    assert holds_scans(pack(tmp_path / "b.zip", **{"a.png": "1"}))
    assert not holds_scans(pack(tmp_path / "c.zip", **{"__MACOSX/a.nii": "1", "a.txt": "1"}))
    assert not holds_scans(pack(tmp_path / "d.nii", **{"a.nii": "1"}))
    dicom = bytes(128) + b"DICM" + bytes(64)
    assert not holds_scans(pack(tmp_path / "e.zip", **{"a.nii": "1", "IM1": dicom.decode("latin-1")}))
    (tmp_path / "f.zip").write_bytes(b"PK\x03\x04torn")
    assert not holds_scans(tmp_path / "f.zip")
    assert not holds_scans(tmp_path)


@pytest.mark.parametrize("name", ["../a.nii", "x/../../a.nii", "/a.nii", "C:\\a.nii", "..\\a.nii"])
def test_names_that_point_outside(tmp_path: Path, name: str) -> None:
    archive = pack(tmp_path / "evil.zip", **{"good.nii": "1", name: "2"})
    with pytest.raises(InputError, match="points outside the archive"), unpacked([archive], tmp_path):
        pass
    assert list(tmp_path.rglob("*")) == [archive]


@pytest.mark.parametrize("name", ["A.nii", "a.nii."])
def test_names_that_are_one_on_some_system(tmp_path: Path, name: str) -> None:
    archive = pack(tmp_path / "odd.zip", **{"a.nii": "1", name: "2", "x/b.nii": "3", "x/B.nii": "4"})
    with pytest.raises(InputError, match=r"which are one name; rename one"), unpacked([archive], tmp_path):
        pass
    assert list(tmp_path.iterdir()) == [archive]


@pytest.mark.parametrize("members", [{"a": "1", "a/s0.nii": "2"}, {"x" * 300 + ".nii": "1"}])
def test_what_no_folder_can_hold_is_refused_and_the_others_unpacked(tmp_path: Path, members: dict[str, str]) -> None:
    good, bad = pack(tmp_path / "good.zip", **{"a.nii": "1"}), pack(tmp_path / "bad.zip", **members)
    refused: list[tuple[str, str]] = []
    with unpacked([bad, good], tmp_path, refused=refused) as places:
        assert list(places) == [good]
    assert [(name, "cannot be unpacked here" in told) for name, told in refused] == [("bad.zip", True)]


def test_a_bomb_and_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(tmp_path / "a.zip", **{"a.nii": "0" * (8 << 20)})
    monkeypatch.setattr(archives, "SPARE_BYTES", 1 << 60)
    with pytest.raises(DiskFullError, match="free some space"), unpacked([archive], tmp_path):
        pass
    monkeypatch.setattr(archives, "FREE_BYTES", 1 << 20)
    with pytest.raises(InputError, match=r"would grow to 0.0 GiB"), unpacked([archive], tmp_path):
        pass


def test_a_damaged_archive_is_refused_and_the_others_unpacked(tmp_path: Path) -> None:
    good = pack(tmp_path / "good.zip", **{"a.nii": "1"})
    bad = pack(tmp_path / "bad.zip", **{"b.nii": "23456789" * 100})
    content = bytearray(bad.read_bytes())
    at = 30 + struct.unpack_from("<H", content, 26)[0]
    content[at : at + 4] = b"\xff\xff\xff\xff"
    bad.write_bytes(content)
    refused: list[tuple[str, str]] = []
    with unpacked([bad, good], tmp_path, refused=refused) as places:
        assert {path: files(place) for path, place in places.items()} == {good: {"a.nii": "1"}}
    assert [name for name, _ in refused] == ["bad.zip"]
    assert "damaged or encrypted" in refused[0][1]
