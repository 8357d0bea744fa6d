"""Archives that would write elsewhere, or anything but plain files, are refused before a byte is written."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from maskmatch_med.datasets.unpack import unpack
from maskmatch_med.errors import DiskFullError, InputError

Usage = namedtuple("Usage", "total used free")


def tar_of(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 1, mode: int = 0o644
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    info.size = size if kind == tarfile.REGTYPE else 0
    return info


@pytest.fixture
def unpacked(tmp_path: Path) -> Callable[..., Path]:
    def call(*members: tarfile.TarInfo) -> Path:
        (tmp_path / "place" / "target").mkdir(parents=True)
        unpack(tar_of(tmp_path / "a.tar", *members), tmp_path / "place" / "target", "top")
        return tmp_path / "place" / "target"

    return call


GOOD = member("top/good.nii.gz")


@pytest.mark.parametrize(
    "bad",
    [
        member("top/../../escaped"),
        member("../top/escaped"),
        member("/top/escaped"),
        member("/etc/escaped"),
        member("other/file"),
        member("bare"),
        member("top/a\\..\\b"),
        member("top/C:file"),
        member("top/ends."),
        member("top/a\nb"),
        member("top/link", tarfile.SYMTYPE, "/etc/passwd"),
        member("top/link", tarfile.SYMTYPE, "good.nii.gz"),
        member("top/hard", tarfile.LNKTYPE, "top/good.nii.gz"),
        member("top/fifo", tarfile.FIFOTYPE),
        member("top/device", tarfile.CHRTYPE),
        member("top/../..", tarfile.DIRTYPE),
        member("top/GOOD.nii.gz"),
    ],
    ids=lambda info: f"{info.name!r}-{info.type.decode()}",
)
def test_it_is_refused_and_nothing_is_written(unpacked, tmp_path, bad):
    with pytest.raises(InputError, match="such an archive is not unpacked"):
        unpacked(GOOD, bad)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "a.tar"]


def test_a_link_cannot_lead_a_later_file_out(unpacked, tmp_path):
    (tmp_path / "outside").mkdir()
    with pytest.raises(InputError, match="a link or a device"):
        unpacked(member("top/way", tarfile.SYMTYPE, str(tmp_path / "outside")), member("top/way/file"))
    assert list((tmp_path / "outside").iterdir()) == []


def test_rights_are_not_taken_over_and_hidden_files_stay_out(unpacked):
    folder = unpacked(
        member("./top", tarfile.DIRTYPE),
        member("./._top"),
        member("./top/a/file", mode=0o4777),
        member("top/._file"),
        member("top/.hidden/file"),
    )
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*")] == ["a", "a/file"]
    assert not (folder / "a" / "file").stat().st_mode & 0o7111


def test_more_than_the_disk_holds_is_refused(unpacked, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(1, 1, 1 << 26))
    with pytest.raises(DiskFullError, match="free some space"):
        unpacked(GOOD)
    assert list((tmp_path / "place" / "target").iterdir()) == []


@pytest.mark.parametrize("content", [b"no tar file at all", b""])
def test_what_is_no_archive_is_told(tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(InputError, match="cannot be unpacked"):
        unpack(tmp_path / "a.tar", tmp_path / "target", "top")


def test_a_cut_archive_is_told(tmp_path):
    whole = tar_of(tmp_path / "a.tar", member("top/file", size=5000)).read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[:2000])
    (tmp_path / "target").mkdir()
    with pytest.raises(InputError, match="cannot be unpacked"):
        unpack(tmp_path / "a.tar", tmp_path / "target", "top")
