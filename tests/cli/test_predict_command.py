"""Predicting many scans: killed and gone on with, one that memory does not hold, files of others in the folder."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from maskmatch_med.inference import Predictor, keep_largest_component
from maskmatch_med.planning import Plan


def rows_of(out):
    with (out / "summary.csv").open(newline="") as stream:
        return [row["case"] for row in csv.DictReader(stream)]


def copies(places, count):
    """So many copies of a scan, in a folder."""
    folder = places.tmp / "many"
    folder.mkdir()
    for number in range(count):
        shutil.copy(next(places.scans.iterdir()), folder / f"scan{number}_0000.nii.gz")
    return folder


@pytest.mark.proof
def test_a_killed_prediction_has_a_row_for_each_segmentation_and_goes_on(run, places):
    scans, out = copies(places, 30), places.tmp / "out"
    command = ["predict", str(places.model), str(scans), "-o", str(out)]
    with subprocess.Popen(
        [Path(sys.executable).with_name("maskmatch"), *command], stdout=subprocess.DEVNULL
    ) as process:
        end = time.monotonic() + 120
        while len(list(out.glob("scan*.nii.gz"))) < 2 and time.monotonic() < end:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    written = {path.name.removesuffix(".nii.gz") for path in out.glob("scan*.nii.gz")}
    assert 2 <= len(written) < 30
    assert len(written) - len(rows_of(out)) <= 1, "at most the last one was killed before its row"
    done = rows_of(out)
    before = {name: (out / f"{name}.nii.gz").stat().st_mtime_ns for name in done}
    outcome = run(*command, "--resume")
    assert outcome.code == 0
    assert f"{len(done)} of 30 scans are segmented" in outcome.out.replace("\n", " ")
    assert f"{30 - len(done)} segmentation" in outcome.out
    assert {name: (out / f"{name}.nii.gz").stat().st_mtime_ns for name in done} == before
    assert sorted(rows_of(out)) == sorted(f"scan{number}" for number in range(30))
    assert len(list(out.glob("scan*.nii.gz"))) == 30


def test_resume_predicts_again_what_is_older_than_model_or_scan_or_lacks_a_map(run, places):
    scans, out = copies(places, 3), places.tmp / "out"
    command = ["predict", places.model, scans, "-o", out]
    assert "3 segmentations written" in run(*command, "--resume").out
    assert "0 segmentations written" in run(*command, "--resume").out
    scan = scans / "scan1_0000.nii.gz"
    scan.write_bytes(scan.read_bytes())
    assert "1 segmentation written" in run(*command, "--resume").out
    assert "3 segmentations written" in run(*command, "--resume", "--uncertainty").out
    weights = next(places.model.glob("weights*"))
    weights.touch()
    assert "3 segmentations written" in run(*command, "--resume").out


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you")])
def test_a_scan_that_memory_does_not_hold_does_not_cost_the_others(run, places, monkeypatch, error):
    scans, out = copies(places, 3), places.tmp / "out"
    whole, seen = Predictor.predict, []

    def short(self, volume, advance):
        seen.append(volume)
        if len(seen) == 2:
            raise error
        return whole(self, volume, advance)

    monkeypatch.setattr(Predictor, "predict", short)
    outcome = run("predict", places.model, scans, "-o", out)
    assert outcome.code == 2
    assert "scan1_0000.nii.gz needs more memory than is free" in outcome.err
    assert sorted(rows_of(out)) == ["scan0", "scan2"]


@pytest.mark.skipif(sys.platform != "linux", reason="room on the disk is reserved on Linux")
def test_maps_that_the_temporary_folder_has_no_room_for_are_a_sentence():
    """Without room kept beforehand the system ends the process with a bus error."""
    import resource

    script = """
from maskmatch_med.errors import InputError
from maskmatch_med.inference.ensemble import _fractions
try:
    _fractions((600, 600, 600))
except InputError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20)),
    )
    assert "the maps that are asked for take 0.8 GiB, more than" in done.stdout


def test_a_scan_named_like_a_map_stays(run, places):
    scan = nib.load(next(places.scans.iterdir()))
    folder = places.tmp / "both"
    folder.mkdir()
    nib.save(scan, folder / "x.nii")
    other = folder / "x_uncertainty.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((3, 4, 5), np.float32), np.eye(4)), other)
    before = other.read_bytes()
    assert run("predict", places.model, folder / "x.nii", "-o", folder).code == 0
    assert other.read_bytes() == before
    (folder / "x.nii.gz").unlink()
    outcome = run("predict", places.model, folder / "x.nii", "-o", folder, "--uncertainty")
    assert outcome.code == 2
    assert "x_uncertainty.nii.gz was not written beside a segmentation" in outcome.err
    assert other.read_bytes() == before


def test_a_table_of_somebody_else_stays(run, places):
    out = places.tmp / "out"
    out.mkdir()
    (out / "summary.csv").write_text("patient,age\n1,70\n")
    outcome = run("predict", places.model, places.scans, "-o", out)
    assert outcome.code == 2
    assert "summary.csv is not a summary of predictions" in outcome.err
    assert (out / "summary.csv").read_text() == "patient,age\n1,70\n"


def test_no_name_at_all_is_no_scan(run, places):
    outcome = run("predict", places.model, places.scans, "-o", places.tmp / "out", "--only", "")
    assert outcome.code == 2
    assert "no scan for" in outcome.err


def test_a_scan_that_takes_long_tells_how_far_it_is(run, places, monkeypatch):
    """Every second; here the clock is a fast one."""
    now = iter(range(10**6))
    monkeypatch.setattr("maskmatch_med.service.apply.time.monotonic", lambda: float(next(now)))
    told = []
    monkeypatch.setattr("maskmatch_med.cli.console.ProgressBar.update", lambda self, *step: told.append(step))
    assert run("predict", places.model, places.scans, "-o", places.tmp / "out").code == 0
    names = [name for _, _, name in told]
    assert "phantom_005" in names
    assert "phantom_005, 100%" in names


def test_a_scan_that_states_two_positions_is_told_of(run, places):
    scans, out = copies(places, 2), places.tmp / "out"
    path = scans / "scan1_0000.nii.gz"
    image = nib.load(path)
    moved = image.affine.copy()
    moved[0, 3] += 7
    image.set_qform(moved, 1)
    nib.save(image, path)
    outcome = run("predict", places.model, scans, "-o", out)
    told = " ".join(outcome.out.split())
    assert "Note: sform and qform of 1 scan disagree (scan1)" in told
    written = nib.load(out / "scan1.nii.gz")
    assert np.array_equal(written.get_sform(), image.get_sform())
    assert np.allclose(written.get_qform(), image.get_sform(), atol=1e-3)


def test_voxels_that_are_not_finite_are_told_of(run, places):
    scans = copies(places, 2)
    path = scans / "scan1_0000.nii.gz"
    image = nib.load(path)
    values = image.get_fdata(dtype=np.float32)
    values[:2] = np.nan
    nib.save(nib.Nifti1Image(values, image.affine), path)
    outcome = run("predict", places.model, scans, "-o", places.tmp / "out")
    assert outcome.code == 0
    told = " ".join(outcome.out.split())
    assert "Note: some voxels of 1 scan are NaN or infinite (scan1); they took the median of the others" in told


def test_an_openvino_that_does_not_work_is_told_of_and_pytorch_predicts(run, places, monkeypatch):
    def broken():
        raise ImportError("libopenvino.so: cannot open shared object file")

    monkeypatch.setattr("maskmatch_med.inference.engines.platform.machine", lambda: "x86_64")
    monkeypatch.setattr("maskmatch_med.inference.openvino_engine._without_telemetry", broken)
    outcome = run("predict", places.model, places.scans, "-o", places.tmp / "out")
    assert outcome.code == 0
    told = "OpenVINO does not work here (libopenvino.so: cannot open shared object file)"
    assert f"{told}: PyTorch predicts instead" in " ".join(outcome.out.split())
    refused = run("predict", places.model, places.scans, "-o", places.tmp / "other", "--engine", "openvino")
    assert refused.code == 2
    assert f"{told}; install it anew, or use another engine" in " ".join(refused.err.split())


def test_labels_that_no_prediction_wrote_are_not_replaced(run, places):
    out = places.tmp / "labels"
    out.mkdir()
    name = sorted(places.scans.iterdir())[0].name.removesuffix(".nii.gz").removesuffix("_0000")
    (out / f"{name}.nii.gz").write_bytes(b"painted by hand")
    (out / f"{name}_uncertainty.nii.gz").write_bytes(b"of another program")
    outcome = run("predict", places.model, places.scans, "-o", out)
    assert outcome.code != 0
    assert "would replace a file that no prediction has written" in " ".join(outcome.err.split())
    assert (out / f"{name}.nii.gz").read_bytes() == b"painted by hand"
    assert (out / f"{name}_uncertainty.nii.gz").read_bytes() == b"of another program"
    assert len(list(out.iterdir())) == 2


def test_the_largest_component_alone_stays_where_asked_for(run, places):
    name = sorted(places.scans.iterdir())[0].name.removesuffix(".nii.gz").removesuffix("_0000")
    assert run("predict", places.model, places.scans, "-o", places.tmp / "all", "--only", name).code == 0
    structure = next(n for n, v in Plan.load(places.model / "plan.json").label_names.items() if v == 1)
    asked = ("--only", name, "--keep-largest", structure)
    assert run("predict", places.model, places.scans, "-o", places.tmp / "one", *asked).code == 0
    every, kept = (np.asarray(nib.load(places.tmp / out / f"{name}.nii.gz").dataobj) for out in ("all", "one"))
    np.testing.assert_array_equal(kept, keep_largest_component(every, [1]))
    with (places.tmp / "one" / "summary.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    voxel_ml = np.prod(nib.load(places.tmp / "one" / f"{name}.nii.gz").header.get_zooms()) / 1000
    assert float(row[f"{structure}_ml"]) == pytest.approx((kept == 1).sum() * voxel_ml, abs=1e-4)
    outcome = run("predict", places.model, places.scans, "-o", places.tmp / "none", "--keep-largest", "lung")
    assert outcome.code != 0
    assert "knows no structure 'lung'" in outcome.err
