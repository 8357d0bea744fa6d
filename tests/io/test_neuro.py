"""MGH, AFNI and MINC, compared with nibabel reading the same files by itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from maskmatch_med.errors import InputError
from maskmatch_med.io.formats import ReadOptions
from maskmatch_med.io.volumes import read_header, read_stored, read_volume

SAMPLES = Path(nib.__file__).parent / "tests" / "data"
needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="nibabel was installed without its sample files")
AFFINE = np.array([[0.0, -1.5, 0.0, 10.0], [0.8, 0.0, 0.1, -20.0], [0.0, 0.0, 3.0, 5.0], [0.0, 0.0, 0.0, 1.0]])


@pytest.mark.parametrize("name", ["x.mgh", "x.mgz", "x.mgh.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
def test_mgh_files(tmp_path, name, dtype):
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    written = tmp_path / ("x.mgz" if name == "x.mgh.gz" else name)
    nib.MGHImage(values, AFFINE).to_filename(written)
    written.rename(tmp_path / name)
    stored = read_stored(tmp_path / name)
    assert stored.array.dtype == dtype
    np.testing.assert_array_equal(stored.array[0], values)
    np.testing.assert_allclose(stored.geometry.affine, AFFINE, atol=1e-4)


def test_mgh_frames(tmp_path):
    values = np.random.default_rng(0).normal(size=(2, 3, 4, 3)).astype(np.float32)
    nib.MGHImage(values, AFFINE).to_filename(tmp_path / "x.mgz")
    array = read_volume(tmp_path / "x.mgz", options=ReadOptions(frames=(2, 0))).array
    np.testing.assert_array_equal(array, np.moveaxis(values[..., [2, 0]], -1, 0))
    with pytest.raises(InputError, match="3 entries"):
        read_volume(tmp_path / "x.mgz")


@needs_samples
@pytest.mark.parametrize("name", ["example4d+orig.HEAD", "scaled+tlrc.HEAD", "example4d+orig.BRIK.gz"])
def test_afni_samples(name):
    path = SAMPLES / name
    oracle = nib.load(path.with_name(name.replace("BRIK.gz", "HEAD")))
    values = np.asarray(oracle.dataobj)
    frames = tuple(range(values.shape[3]))
    volume = read_volume(path, options=ReadOptions(frames=frames))
    np.testing.assert_allclose(volume.array, np.moveaxis(values, -1, 0), rtol=1e-6)
    np.testing.assert_allclose(volume.geometry.affine, oracle.affine)


@needs_samples
@pytest.mark.parametrize("name", ["bad_datatype+orig.HEAD", "bad_attribute+orig.HEAD"])
def test_damaged_afni_headers(tmp_path, name):
    shutil.copy(SAMPLES / name, tmp_path / name)
    (tmp_path / name.replace("HEAD", "BRIK")).write_bytes(bytes(1000))
    with pytest.raises(InputError, match="cannot read the header") as caught:
        read_volume(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_afni_without_its_voxels(shared_data, tmp_path):
    shutil.copy(shared_data / "formats/i2nii/afni.BRIK+orig.HEAD", tmp_path / "x+orig.HEAD")
    with pytest.raises(InputError, match=r"x\+orig\.BRIK is missing"):
        read_volume(tmp_path / "x+orig.HEAD")


@needs_samples
@pytest.mark.parametrize(
    "name", ["tiny.mnc", "minc1_1_scale.mnc", "minc1-no-att.mnc", "minc2_1_scale.mnc", "small.mnc"]
)
def test_minc_samples(name):
    if name in {"small.mnc", "minc2_1_scale.mnc"}:
        pytest.importorskip("h5py")
    oracle, volume = nib.load(SAMPLES / name), read_volume(SAMPLES / name)
    np.testing.assert_allclose(volume.array[0], np.asarray(oracle.dataobj), rtol=1e-6)
    np.testing.assert_allclose(volume.geometry.affine, oracle.affine)
    header = read_header(SAMPLES / name)
    assert header.format == ("MINC2" if type(oracle) is nib.Minc2Image else "MINC1")
    assert header.dtype == str(oracle.get_data_dtype())


@needs_samples
@pytest.mark.parametrize("name", ["minc1_4d.mnc", "minc2_4d.mnc"])
def test_time_comes_first_in_minc_and_last_here(name):
    pytest.importorskip("h5py")
    header = read_header(SAMPLES / name)
    assert (header.frames, header.geometry.shape) == (2, (10, 20, 20))
    values = np.asarray(nib.load(SAMPLES / name).dataobj)
    array = read_volume(SAMPLES / name, options=ReadOptions(frames=(1,))).array
    np.testing.assert_allclose(array[0], values[1], rtol=1e-6)


@needs_samples
def test_minc2_without_h5py_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setattr("maskmatch_med.io.neuro.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs the package h5py: install maskmatch-med\[minc\]"):
        read_volume(SAMPLES / "small.mnc")


@needs_samples
def test_cifti_is_refused_by_name():
    with pytest.raises(InputError, match=r"row_major\.dconn\.nii is a CIFTI file"):
        read_volume(SAMPLES / "row_major.dconn.nii")
