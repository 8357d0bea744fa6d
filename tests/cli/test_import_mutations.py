"""What people and crashes do to files before they are imported: exit code 2, one sentence, the study as it was."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from maskmatch_med.io import write_map, write_segmentation
from maskmatch_med.volume import Geometry

GEOMETRY = Geometry((5, 4, 3), np.diag([1.0, 2.0, 3.0, 1.0]))
NOBODY = 65534


def _write(folder: Path, names: str) -> Path:
    for seed, name in enumerate(names):
        draw = np.random.default_rng(seed)
        write_map(folder / f"images/{name}.nii.gz", draw.normal(size=GEOMETRY.shape), GEOMETRY)
        labels = draw.integers(0, 2, GEOMETRY.shape, dtype=np.uint8)
        write_segmentation(folder / f"labels/{name}.nii.gz", labels, GEOMETRY)
    return folder


def _climbing_zip(source: Path) -> Path:
    with zipfile.ZipFile(source / "scans.zip", "w") as archive:
        archive.writestr("../../evil.dcm", b"\0" * 128 + b"DICM" + b"\0" * 200)
    return source / "scans.zip"


def _empty_zip(source: Path) -> Path:
    with zipfile.ZipFile(source / "scans.zip", "w") as archive:
        archive.writestr("readme.txt", "no scan")
    return source / "scans.zip"


def _no_zip(source: Path) -> Path:
    (source / "scans.zip").write_bytes(b"PK\x03\x04 and nothing more")
    return source / "scans.zip"


def _looping_link(source: Path) -> Path:
    (source / "loop").symlink_to(source / "loop")
    return source / "loop"


def _looping_scan(source: Path) -> Path:
    path = source / "images/b.nii.gz"
    path.unlink()
    path.symlink_to(path)
    for rest in (source / "images").glob("[ac].nii.gz"):
        rest.unlink()
    return source


def _folder_for_a_scan(source: Path) -> Path:
    path = source / "images/d.nii.gz"
    path.mkdir()
    return path


def _folder_for_a_label(source: Path) -> Path:
    path = source / "labels/b.nii.gz"
    path.unlink()
    path.mkdir()
    (source / "dataset.json").write_text(
        '{"channel_names": {"0": "CT"}, "file_ending": ".nii.gz", "labels": {"background": 0, "organ": 1}, "dataset": '
        '{"b": {"images": ["images/b.nii.gz"], "label": "labels/b.nii.gz"}, '
        '"c": {"images": ["images/c.nii.gz/inner"], "label": "labels/c.nii.gz"}}}'
    )
    return source


def _folder_within_itself(source: Path) -> Path:
    inner = source / "tree"
    inner.mkdir()
    (inner / "again").symlink_to(inner, target_is_directory=True)
    return inner


def _renamed(name: str) -> Callable[[Path], Path]:
    def spoil(source: Path) -> Path:
        shutil.copy(source / "images/a.nii.gz", source / name)
        return source / name

    return spoil


def _cut(part: str, share: float) -> Callable[[Path], Path]:
    def spoil(source: Path) -> Path:
        path = source / part / "b.nii.gz"
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])
        return source

    return spoil


MUTATIONS: dict[str, Callable[[Path], Path]] = {
    "zip that climbs": _climbing_zip,
    "zip without a scan": _empty_zip,
    "zip that is none": _no_zip,
    "link to itself": _looping_link,
    "scan that links to itself": _looping_scan,
    "folder for a scan": _folder_for_a_scan,
    "folder for a label": _folder_for_a_label,
    "folder within itself": _folder_within_itself,
    **{f"renamed to {name}": _renamed(name) for name in ("a.nrrd", "a.mgz", "a.mha", "a.dcm", "a.png", "a.seg.nrrd")},
    **{f"scan cut at {n}0 %": _cut("images", n / 10) for n in range(10)},
    **{f"label cut at {n}0 %": _cut("labels", n / 10) for n in range(10)},
}


@pytest.mark.parametrize("kind", MUTATIONS)
def test_a_spoilt_source_changes_nothing(run, tmp_path, digest, kind):
    assert run("import", _write(tmp_path / "good", "x"), tmp_path / "study").code == 0
    before = digest(tmp_path / "study")
    source = MUTATIONS[kind](_write(tmp_path / "source", "abc"))
    for study in (tmp_path / "study", tmp_path / "new"):
        outcome = run("import", source, study)
        assert outcome.code == 2, outcome
        assert "Traceback" not in outcome.out + outcome.err
        assert len(outcome.err.strip().splitlines()) == 1
    assert digest(tmp_path / "study") == before
    assert not (tmp_path / "new").exists()
    assert not (tmp_path.parent / "evil.dcm").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of Linux and macOS")
@pytest.mark.parametrize("what", ["images/b.nii.gz", "labels/b.nii.gz", "images", "labels"])
def test_without_permission(run, digest, what, as_nobody):
    assert run("import", _write(as_nobody / "good", "x"), as_nobody / "study").code == 0
    before = digest(as_nobody / "study")
    source = _write(as_nobody / "source", "abc")
    (source / what).chmod(0)
    outcome = run("import", source, as_nobody / "study")
    (source / what).chmod(0o700)
    assert outcome.code == 2, outcome
    assert what in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert digest(as_nobody / "study") == before


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A folder, and an account that permissions hold for: they do not for root."""
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    if root:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(folder)
