"""Damaged files of every format: read, or refused in one sentence; no traceback, crash, hang or flood of memory."""

from __future__ import annotations

import gzip
import shutil
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image

from maskmatch_med.errors import InputError
from maskmatch_med.io import read_labels
from maskmatch_med.io.volumes import read_header, read_volume

VALUES = np.random.default_rng(0).integers(0, 200, (7, 6, 5))
PIXELS = np.random.default_rng(1).integers(0, 256, (64, 64), dtype=np.uint8)
MOST_SECONDS = 30
MOST_BYTES = 200 << 20
MINC = Path(nib.__file__).parent / "tests" / "data"


@dataclass(frozen=True)
class Victim:
    """A format to damage: how to write it, which file takes the damage, and how long its header is."""

    name: str
    write: Callable[[Path], object]
    header_bytes: int
    damaged: str = ""
    kept_when_cut: bool = False
    """Whether some cuts leave all that is needed."""


def _itk(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(VALUES.astype(np.int16)), str(path), useCompression=True)


def _afni(path: Path) -> None:
    shutil.copy(MINC / "scaled+tlrc.HEAD", path)
    shutil.copy(MINC / "scaled+tlrc.BRIK", path.with_suffix(".BRIK"))


def _minc(name: str) -> Callable[[Path], object]:
    return lambda path: shutil.copy(MINC / name, path)


def _nifti(kind: type, dtype: type = np.int16) -> Callable[[Path], object]:
    return lambda path: kind(VALUES.astype(dtype), np.diag([1.0, 2, 3, 1])).to_filename(path)


VICTIMS = [
    Victim("x.nii", _nifti(nib.Nifti1Image), 352),
    Victim("n2.nii", _nifti(nib.Nifti2Image), 544),
    Victim("x.nii.gz", _nifti(nib.Nifti1Image), 352),
    Victim("x.hdr", _nifti(nib.Nifti1Pair), 348),
    Victim("pair.hdr", _nifti(nib.Nifti1Pair), 0, damaged="pair.img"),
    Victim("analyze.hdr", _nifti(nib.Spm2AnalyzeImage), 348),
    Victim("x.nrrd", _itk, 400),
    Victim("x.nhdr", _itk, 400, kept_when_cut=True),
    Victim("detached.nhdr", _itk, 0, damaged="detached.raw.gz"),
    Victim("x.mha", _itk, 350),
    Victim("x.mhd", _itk, 400, kept_when_cut=True),
    Victim("x.mgh", lambda path: nib.MGHImage(VALUES.astype(np.int16), np.eye(4)).to_filename(path), 284),
    Victim("x.mgz", lambda path: nib.MGHImage(VALUES.astype(np.int16), np.eye(4)).to_filename(path), 284),
    Victim("x+tlrc.HEAD", _afni, 5000, kept_when_cut=True),
    Victim("y+tlrc.HEAD", _afni, 0, damaged="y+tlrc.BRIK"),
    Victim("m1.mnc", _minc("tiny.mnc"), 4000),
    Victim("m2.mnc", _minc("small.mnc"), 4000),
    Victim("x.png", lambda path: Image.fromarray(PIXELS).save(path), 60),
    Victim("x.tif", lambda path: Image.fromarray(PIXELS).save(path), 200),
]


@pytest.fixture(autouse=True)
def _counted_memory() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.fixture(params=VICTIMS, ids=lambda victim: victim.damaged or victim.name)
def victim(request, tmp_path) -> Victim:
    found = request.param
    if not MINC.is_dir() and found.name.endswith((".mnc", ".HEAD")):
        pytest.skip("nibabel was installed without its sample files")
    if found.name == "m2.mnc":
        pytest.importorskip("h5py")
    found.write(tmp_path / found.name)
    read_volume(tmp_path / found.name)
    return found


def _refused(path: Path, read: Callable[[Path], object] = read_volume) -> bool:
    """Whether reading refuses the file; it may also succeed, but nothing else."""
    tracemalloc.reset_peak()
    started = time.monotonic()
    try:
        read(path)
    except InputError as error:
        message = str(error)
        if "\n" in message or not any(part.name in message for part in path.parent.iterdir()):
            raise AssertionError(f"not one sentence that names the file: {message!r}") from error
        return True
    finally:
        assert time.monotonic() - started < MOST_SECONDS
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    return False


def _flip(content: bytes, header_bytes: int, rng: np.random.Generator) -> bytes:
    """One byte of the header changed: a bit flipped, or another value altogether."""
    damaged = bytearray(content)
    place = int(rng.integers(0, min(header_bytes, len(content))))
    damaged[place] ^= int(1 << rng.integers(0, 8)) if rng.random() < 0.5 else int(rng.integers(1, 256))
    return bytes(damaged)


def _flip_headers(victim: Victim, folder: Path, times: int, seed: int) -> int:
    """Flip bytes in the header, below gzip where the file is gzipped; how many of these files were refused."""
    path = folder / (victim.damaged or victim.name)
    whole, rng, refused = path.read_bytes(), np.random.default_rng(seed), 0
    zipped = whole[:2] == b"\x1f\x8b"
    content = gzip.decompress(whole) if zipped else whole
    for _ in range(times):
        damaged = _flip(content, victim.header_bytes or len(content), rng)
        path.write_bytes(gzip.compress(damaged, 1) if zipped else damaged)
        refused += _refused(folder / victim.name)
        _refused(folder / victim.name, read_header)
        _refused(folder / victim.name, read_labels)
    return refused


def test_cut_at_ten_places(victim, tmp_path):
    path = tmp_path / (victim.damaged or victim.name)
    whole = path.read_bytes()
    for tenth in range(10):
        path.write_bytes(whole[: len(whole) * tenth // 10])
        assert _refused(tmp_path / victim.name) or (victim.kept_when_cut and tenth > 0), f"cut at {tenth} tenths"


def test_flipped_header_bytes(victim, tmp_path):
    """210 files over all formats; the long run is below."""
    _flip_headers(victim, tmp_path, 11, seed=1)


@pytest.mark.proof
def test_two_hundred_flipped_header_bytes_of_each_format(victim, tmp_path):
    refused = _flip_headers(victim, tmp_path, 200, seed=2)
    assert refused >= 3 or victim.damaged


@pytest.mark.proof
def test_random_bytes_anywhere(victim, tmp_path):
    path = tmp_path / (victim.damaged or victim.name)
    whole, rng = path.read_bytes(), np.random.default_rng(3)
    for _ in range(100):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 6):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        _refused(tmp_path / victim.name)


def test_wrong_names_and_other_things_under_the_name(victim, tmp_path):
    """A format under the name of each other, nothing, a folder: read by chance, or refused."""
    whole = (tmp_path / victim.name).read_bytes()
    other = tmp_path / "other"
    other.mkdir()
    for twin in VICTIMS:
        path = other / twin.name
        path.write_bytes(whole)
        _refused(path)
        path.write_bytes(b"")
        assert _refused(path)
        path.write_bytes(bytes(1000))
        assert _refused(path)
        path.unlink()


def test_a_folder_under_the_name_of_a_file(victim, tmp_path):
    (tmp_path / "folder").mkdir()
    inside = tmp_path / "folder" / victim.name
    inside.mkdir()
    assert _refused(inside)
