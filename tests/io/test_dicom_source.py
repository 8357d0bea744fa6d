"""Archives that must not be trusted, objects that are no scans, damaged files."""

from __future__ import annotations

import os
import re
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import RLELossless

from maskmatch_med.errors import InputError
from maskmatch_med.io import archives
from maskmatch_med.io.dicom import find_series, is_dicom


def pack(paths: list[Path], target: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            archive.write(path, f"{prefix}{path.name}")
    return target


def test_archive_holds_what_the_folder_holds(bench: Any, tmp_path: Path) -> None:
    paths = bench.series(4)
    bench.save(bench.slice(0, SeriesInstanceUID="1.2.3", Modality="MR"), "more")
    archive = pack([*paths, bench.root / "more"], tmp_path / "scans.zip", "a/b/")
    before = sorted(tmp_path.rglob("*"))
    folder, packed = find_series(bench.root), find_series(archive)
    assert [s.name for s in packed.series] == [s.name for s in folder.series]
    for one, other in zip(folder.series, packed.series, strict=True):
        np.testing.assert_array_equal(one.read().array, other.read().array)
        assert one.geometry.same_grid(other.geometry, 0.0)
    assert sorted(tmp_path.rglob("*")) == before
    assert packed.notes == folder.notes == ()


def test_volumes_beside_the_dicom_files_of_an_archive_are_told(bench: Any, tmp_path: Path) -> None:
    archive = pack(bench.series(4), tmp_path / "scans.zip")
    with zipfile.ZipFile(archive, "a") as more:
        for name in ("logo.png", "__MACOSX/a.nii", "b/mask.nii.gz", "b/t1.nii.gz"):
            more.writestr(name, b"")
    found = find_series(archive)
    assert len(found.series) == 1
    assert [note for note in found.notes if "b/mask.nii.gz and 1 more" in note and "unpack it" in note]


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "C:\\evil", "..\\evil"])
def test_names_that_point_outside(bench: Any, tmp_path: Path, name: str) -> None:
    (path,) = bench.series(1)
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(path, "good")
        packed.writestr(zipfile.ZipInfo(name), path.read_bytes())
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="points outside the archive"):
        find_series(archive)
    assert not is_dicom(archive)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_bomb_is_refused_before_it_is_unpacked(bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 1 << 20)
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("zeros", bytes(8 << 20))
    with pytest.raises(InputError, match=r"would grow to 0.0 GiB"):
        find_series(archive)


def test_too_many_members(bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    archive = pack(bench.series(4), tmp_path / "many.zip")
    with pytest.raises(InputError, match="holds 4 files, more than 3"):
        find_series(archive)


def test_a_member_larger_than_it_says(bench: Any, tmp_path: Path) -> None:
    (path,) = bench.series(1)
    archive = pack([path], tmp_path / "lies.zip")
    content = bytearray(archive.read_bytes())
    at = content.rindex(b"PK\x01\x02") + 24  # the size in the central directory
    assert struct.unpack_from("<I", content, at)[0] == path.stat().st_size
    struct.pack_into("<I", content, at, 140)
    archive.write_bytes(content)
    with pytest.raises(InputError):
        find_series(archive).pick(None).read()


@pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 0.95])
def test_archives_cut_off(bench: Any, tmp_path: Path, share: float) -> None:
    archive = pack(bench.series(4), tmp_path / "cut.zip")
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match="is damaged or encrypted"):
        find_series(archive)


def test_encrypted_archive(bench: Any, tmp_path: Path) -> None:
    archive = pack(bench.series(1), tmp_path / "secret.zip")
    content = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    archive.write_bytes(content)
    with pytest.raises(InputError, match="damaged or encrypted"):
        find_series(archive)


def test_archive_without_dicom(tmp_path: Path) -> None:
    archive = tmp_path / "text.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("words", "nothing of the kind " * 50)
        packed.writestr("__MACOSX/._x", b"\0" * 128 + b"DICM")
    assert not is_dicom(archive)
    with pytest.raises(InputError, match="no DICOM scan found"):
        find_series(archive).pick(None)


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizers"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary captures"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.4"}, "secondary captures"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.33"}, "structured reports"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.59"}, "key object selections"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.11.1"}, "presentation states"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.3"}, "radiotherapy structure sets"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.2"}, "radiotherapy doses"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"}, "documents"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.6"}, "whole slides"),
        ({"Modality": "SEG", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, "segmentations"),
        ({"Modality": "RTSTRUCT", "SOPClassUID": ""}, "radiotherapy structure sets"),
        ({"Modality": "MR", "ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "mosaics"),
        ({"Rows": None, "PixelData": b""}, "files without an image"),
    ],
)
def test_what_is_no_scan_is_skipped_with_a_line(bench: Any, tags: dict[str, Any], kind: str) -> None:
    bench.series(3)
    for n in range(2):
        other = {"SeriesInstanceUID": "1.2.3", "SOPInstanceUID": f"1.2.{n + 1}", **tags}
        bench.save(bench.slice(n, **other), f"zz{n}")
    found = find_series(bench.root)
    assert len(found.series) == 1
    (note,) = found.notes
    done = "taken as labels, not as scans" if kind == "segmentations" else "skipped"
    assert note.startswith(f"{bench.root / 'zz0'} and 1 more {done}: {kind}")
    expected = [bench.root / "zz0", bench.root / "zz1"] if kind == "segmentations" else []
    assert [file.path for file in found.segmentations] == expected


def test_a_damaged_header_in_a_series(bench: Any) -> None:
    paths = bench.series(5)
    paths[-1].write_bytes(paths[-1].read_bytes()[:300])
    found = find_series(bench.root)
    assert [series.geometry.shape for series in found.series] == [(8, 6, 4)]
    assert found.notes == (f"{paths[-1]} skipped: files without an image, cut off or no scans",)


def test_hidden_files_and_links_to_folders_are_passed_over(bench: Any) -> None:
    (path,) = bench.series(1)
    (bench.root / ".hidden").write_bytes(path.read_bytes())
    (bench.root / "loop").symlink_to(bench.root)
    (bench.root / "itself").symlink_to(bench.root / "itself")
    assert len(find_series(bench.root).series) == 1
    assert find_series(bench.root).notes == ()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs to become another user")
def test_slices_that_may_not_be_read_are_told(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = Path(bench.series(4)[-1].name)
    bench.root.chmod(0o755)
    monkeypatch.chdir(bench.root)  # other users may not pass through the folders above
    here = Path()
    secret.chmod(0)
    Path("closed").mkdir(mode=0)
    os.seteuid(65534)
    try:
        with pytest.raises(InputError, match=r"cannot list the folder \./closed"):
            find_series(here)
        with pytest.raises(InputError, match="may not be read by this account"):
            find_series(secret)
        os.seteuid(0)
        Path("closed").rmdir()
        os.seteuid(65534)
        found = find_series(here)
    finally:
        os.seteuid(0)
    assert [series.geometry.shape for series in found.series] == [(8, 6, 3)]
    assert found.notes[0].startswith(f"{secret} skipped: files that this account may not read; ask for")


def test_flipped_bytes_never_end_in_a_traceback(bench: Any) -> None:
    content = bench.save(bench.slice(0)).read_bytes()
    path = bench.root / "flipped"
    random = np.random.default_rng(0)
    refusals: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(200):
            damaged = bytearray(content)
            for place in random.integers(0, len(content), 3):
                damaged[place] = random.integers(256)
            path.write_bytes(damaged)
            try:
                find_series(path).pick(None).read()
            except InputError as error:
                refusals.append(str(error))
    assert 10 < len(refusals) < 190
    assert not any("\n" in refusal or "Muster" in refusal or "4711" in refusal for refusal in refusals)


@pytest.mark.parametrize("share", np.linspace(0, 0.99, 10).tolist())
def test_truncation_never_ends_in_a_traceback(bench: Any, share: float) -> None:
    path = bench.save(bench.slice(0))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError):
        find_series(path).pick(None).read()


def test_a_series_with_pixels_cut_off_is_refused_and_the_others_are_found(bench: Any) -> None:
    paths = bench.series(4)
    bench.save(bench.slice(0, SeriesInstanceUID="1.2.3", Modality="MR"), "more")
    content = paths[-1].read_bytes()
    paths[-1].write_bytes(content[:-20])
    found = find_series(bench.root)
    assert [one.name[:2] for one in found.series] == ["MR"]
    assert f"the pixels of {paths[-1]} are cut off or missing" in found.notes[0]
    paths[-1].write_bytes(content)
    assert len(find_series(bench.root).series) == 2


def test_compressed_pixels_cut_off(bench: Any) -> None:
    slices = [bench.slice(number) for number in range(3)]
    for one in slices:
        one.compress(RLELossless, generate_instance_uid=False)
    paths = [bench.save(one, f"s{number}") for number, one in enumerate(slices)]
    find_series(bench.root).pick(None).read()
    paths[1].write_bytes(paths[1].read_bytes()[:-24])
    with pytest.raises(InputError, match=rf"the pixels of {re.escape(str(paths[1]))} are cut off"):
        find_series(bench.root).pick(None)


def test_a_missing_slice_that_could_not_be_read_is_named(bench: Any) -> None:
    bad = bench.series(5)[2]
    bad.write_bytes(bad.read_bytes()[:300])
    with pytest.raises(InputError, match=rf"1 slice is missing.*{re.escape(str(bad))} beside them may be slices"):
        find_series(bench.root).pick(None)
