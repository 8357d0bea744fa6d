"""``maskmatch info`` on whatever a path may be: exit code 0 or 2, and what the file is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from maskmatch_med.cli.app import main
from maskmatch_med.errors import InputError
from maskmatch_med.service import info

NOBODY = 65534


def _exit_code(path: Path, capfd: pytest.CaptureFixture[str]) -> int:
    """The exit code of the command; anything but a table or one sentence fails."""
    code = main(["info", str(path)])
    printed = capfd.readouterr()
    assert "Traceback" not in printed.out + printed.err
    assert "internal error" not in printed.err
    assert (code == 0) == (printed.err == "")
    assert len(printed.err.splitlines()) == (0 if code == 0 else 1)
    return code


def test_every_real_path_gives_0_or_2(shared_data, capfd):
    roots = [shared_data / "formats", shared_data / "ct"]
    paths = [path for root in roots for path in [root, *root.rglob("*")]]
    slices = [path for path in paths if path.parent.name == "example_ct_dicom"]
    paths = [path for path in paths if path not in slices[2:]]
    codes = [_exit_code(path, capfd) for path in paths]
    assert set(codes) == {0, 2}
    assert codes.count(0) >= 45


def test_the_rows_of_a_scan(shared_data):
    rows = dict(info(shared_data / "formats/nifti_rs/resources/zstat1.nii.gz")[1])
    values = np.asarray(nib.load(shared_data / "formats/nifti_rs/resources/zstat1.nii.gz").dataobj)
    assert rows["Format"] == "NIfTI-1"
    assert rows["Stored as"] == "float32, big-endian"
    assert rows["Shape"] == "64 × 64 × 21 voxels"
    assert rows["Spacing"] == "4 × 4 × 6 mm"
    assert rows["Orientation"] == "LAS"
    assert rows["Intensities"].startswith(f"{values.min():.6g} to {values.max():.6g}, mean")


def test_a_picture_has_pixels_and_no_millimetres(tmp_path):
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "a.png")
    rows = dict(info(tmp_path / "a.png")[1])
    assert rows["Shape"] == "6 × 4 pixels"
    assert not any("mm" in told for told in rows.values())


def test_frames_colours_complex_values_and_nan_are_told(tmp_path):
    values = np.arange(48, dtype=np.float32).reshape(2, 3, 2, 4)
    values[0, 0, 0, 0] = np.nan
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "x.nii")
    rows = dict(info(tmp_path / "x.nii")[1])
    assert rows["Frames"].startswith("4 along a fourth axis")
    assert rows["Not finite"].startswith("1 voxels")
    nib.save(nib.Nifti1Image(np.full((2, 2, 2), 3 + 4j, np.complex64), np.eye(4)), tmp_path / "x.nii")
    rows = dict(info(tmp_path / "x.nii")[1])
    assert rows["Stored as"] == "complex64"
    assert rows["Intensities"].startswith("5 to 5")
    assert "--magnitude" in rows["Complex"]
    colours = np.zeros((2, 2, 2), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    nib.save(nib.Nifti1Image(colours, np.eye(4)), tmp_path / "x.nii")
    assert dict(info(tmp_path / "x.nii")[1])["Channels"] == "3, the colours"


def test_dicom_by_folder_zip_and_file(shared_data):
    for path in ("ct/example_ct_dicom", "formats/i2nii/DICOM.zip"):
        rows = dict(info(shared_data / path)[1])
        assert rows["Format"] == "DICOM, 1 series"
        assert rows["Stored as"] == "int16"
    one = next(p for p in (shared_data / "ct" / "example_ct_dicom").iterdir() if p.is_file())
    assert dict(info(one)[1])["Format"].startswith("DICOM")


def test_folders_models_and_studies_that_are_damaged(tiny_study, tmp_path, capfd):
    assert _exit_code(tiny_study, capfd) == 0
    assert _exit_code(tmp_path, capfd) in {0, 2}
    model = tmp_path / "model"
    model.mkdir()
    for damage in ("", "{}", "[]", "null", '{"a": ', "\x00\xff"):
        for name in ("plan.json", "config.json", "metrics.json"):
            (model / name).write_text(damage, encoding="latin-1")
        assert _exit_code(model, capfd) == 2
        (tiny_study / "dataset.json").write_text(damage, encoding="latin-1")
        assert _exit_code(tiny_study, capfd) == 2


@pytest.mark.skipif(os.name != "posix", reason="devices, pipes and links of POSIX")
def test_odd_paths(tmp_path, capfd):
    os.mkfifo(tmp_path / "pipe.nii.gz")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "around").symlink_to(tmp_path)
    (tmp_path / "text.nii").write_text("hello")
    (tmp_path / "empty").mkdir()
    odd = ["pipe.nii.gz", "loop", "loop/x.nii", "text.nii", "empty", "absent", "text.nii/x", "n" * 300, "ü\n.nii"]
    for name in odd:
        assert _exit_code(tmp_path / name, capfd) == 2, name
    assert _exit_code(tmp_path / "around", capfd) == 2
    assert _exit_code(Path("/dev/zero"), capfd) == 2
    assert _exit_code(Path(), capfd) in {0, 2}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs to become another user")
def test_without_the_permission_to_read(shared_data, tmp_path):
    """As another user, in a process of its own: file and folder that may not be read."""
    (tmp_path / "closed").mkdir()
    shutil.copy(shared_data / "formats/nifti_rs/resources/minimal.nii", tmp_path / "x.nii")
    shutil.copy(tmp_path / "x.nii", tmp_path / "closed" / "y.nii")
    (tmp_path / "x.nii").chmod(0)
    (tmp_path / "closed").chmod(0)
    code = (
        "import os, sys; from pathlib import Path; from maskmatch_med.service import info;"
        "from maskmatch_med.errors import InputError\n"
        "sys.path[:] = [p for p in sys.path if p]\n"
        f"os.chdir({str(tmp_path)!r}); os.setuid({NOBODY})\n"
        "for name in ('x.nii', 'closed/y.nii', 'closed'):\n"
        "    try:\n        info(Path(name)); print('read')\n"
        "    except (InputError, OSError) as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    told = done.stdout.splitlines()
    assert len(told) == 3, done.stderr
    assert "may not be read by this account" in told[0]
    assert "may not be read by this account" in told[1]
    assert "ermission" in told[2]


def test_no_such_path():
    with pytest.raises(InputError, match="there is no file"):
        info("/nowhere/at/all.nii")


def test_what_import_refuses_is_refused_or_told(tmp_path, capfd):
    big = tmp_path / "big.nii"
    nib.save(nib.Nifti1Image(np.full((2, 2, 2), 1 << 40), np.eye(4), dtype=np.int64), big)
    assert _exit_code(big, capfd) == 2
    nib.save(nib.Nifti1Image(np.full((2, 2, 2), 1e39), np.eye(4)), big)
    assert _exit_code(big, capfd) == 2
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("a.nii", "b.nii"):
        (folder / name).write_text("no scan")
    assert _exit_code(folder, capfd) == 2
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)), folder / "b.nii")
    rows = info(folder)[1]
    assert [text for name, text in rows if name == "Refused" and "a.nii" in text]
    assert _exit_code(folder, capfd) == 0


@pytest.mark.skipif(os.name != "posix", reason="devices, pipes and links of POSIX")
def test_import_says_what_an_odd_source_is(tmp_path, capfd):
    os.mkfifo(tmp_path / "pipe.nii.gz")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for source, said in (("pipe.nii.gz", "a device or a pipe"), ("loop", "check the path and its links")):
        assert main(["import", str(tmp_path / source), str(tmp_path / "study")]) == 2
        assert said in " ".join(capfd.readouterr().err.split())
    assert main(["import", str(tmp_path), str(tmp_path / "study"), "--channels", " , "]) == 2
    assert "names no channel" in capfd.readouterr().err
