"""The table of formats, and every real file at hand read or refused as docs/formats.md says."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from maskmatch_med.errors import InputError
from maskmatch_med.io.formats import (
    FORMATS,
    ReadOptions,
    check_file,
    format_of,
    is_readable,
    strip_extension,
    without_data_files,
)
from maskmatch_med.io.volumes import read_header, read_stored, read_volume

DOCS = Path(__file__).resolve().parents[2] / "docs" / "formats.md"
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def _documented() -> dict[str, str]:
    """The table of the files at hand in docs/formats.md: path to the word in its second column."""
    rows = [line.split("|") for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    return {row[1].strip().strip("`"): row[2].strip() for row in rows if "/" in row[1]}


def _by_nibabel(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Values (X, Y, Z) and affine as nibabel reads them by itself."""
    try:
        image = nib.load(path)
    except nib.filebasedimages.ImageFileError:
        return None
    return np.asarray(image.dataobj), image.affine


def _by_itk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Values (X, Y, Z) and affine as SimpleITK reads them by itself, turned from LPS+ to RAS+ point by point."""
    image = sitk.ReadImage(str(path))
    columns = [image.TransformIndexToPhysicalPoint(voxel) for voxel in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))]
    points = np.array(columns) * [-1, -1, 1]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = (points[1:] - points[0]).T, points[0]
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0), affine


def _oracle(path: Path) -> tuple[np.ndarray, np.ndarray]:
    if path.name in {"minimal2.hdr", "minimal2.img.gz"}:  # nibabel does not pair .hdr with .img.gz
        kinds = nib.Nifti1Pair.make_file_map()
        kinds["header"].filename = str(path.with_name("minimal2.hdr"))
        kinds["image"].filename = str(path.with_name("minimal2.img.gz"))
        image = nib.Nifti1Pair.from_file_map(kinds)
        return np.asarray(image.dataobj), image.affine
    return _by_nibabel(path) or _by_itk(path)


def _files(shared_data: Path) -> list[str]:
    roots = [shared_data / "formats", shared_data / "ct"]
    found = [p for root in roots for p in root.rglob("*") if p.is_file() and p.parent.name != "example_ct_dicom"]
    return sorted(p.relative_to(shared_data).as_posix() for p in found if "LICENSE" not in p.name)


def test_every_real_file_is_in_the_documented_table(shared_data):
    """Nothing at hand is missing from docs/formats.md, and nothing there is invented."""
    in_table = {name for name in _documented() if not name.endswith("/")}
    assert in_table == set(_files(shared_data))


def test_real_files_are_read_or_refused_as_documented(shared_data):
    for name, verdict in _documented().items():
        path = shared_data / name
        if verdict == "read":
            assert read_header(path).geometry.same_grid(read_volume(path).geometry), name
            continue
        with pytest.raises(InputError) as caught:
            read_volume(path)
        assert path.name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_values_and_geometry_agree_with_nibabel_or_simpleitk(shared_data):
    compared = 0
    for name, verdict in _documented().items():
        path = shared_data / name
        if verdict != "read" or name.endswith(("/", ".zip")):
            continue
        values, affine = _oracle(path)
        if values.dtype.names:
            values = np.stack([values[channel] for channel in values.dtype.names[:3]])
        volume = read_volume(path)
        np.testing.assert_allclose(volume.geometry.affine, affine, atol=1e-5, err_msg=name)
        shape = volume.array.shape
        np.testing.assert_array_equal(volume.array, values.astype(np.float32).reshape(shape), err_msg=name)
        compared += 1
    assert compared >= 30


def test_the_same_scan_in_six_formats_lies_at_the_same_place(shared_data):
    """i2nii holds one scan in AFNI, MGH, MetaImage, NRRD and DICOM: voxel by voxel the same in the world."""
    folder = shared_data / "formats" / "i2nii"
    scans = [read_volume(folder / n) for n in ("mgh.mgz", "mha.mha", "nrrd.nhdr", "afni.BRIK+orig.HEAD", "DICOM.zip")]
    first = scans[0]
    for scan in scans:
        for voxel in np.random.default_rng(0).integers(0, first.geometry.shape, (50, 3)):
            world = first.geometry.affine @ [*voxel, 1.0]
            there = np.rint(np.linalg.inv(scan.geometry.affine) @ world)[:3].astype(int)
            back = scan.geometry.affine @ [*there, 1.0]
            np.testing.assert_allclose(back, world, atol=1e-2)
            assert scan.array[(0, *there)] == first.array[(0, *voxel)]


def test_frames_of_a_real_coloured_file(shared_data):
    path = shared_data / "formats/nifti_rs/resources/rgba/4D.nii"
    header = read_header(path)
    assert (header.frames, header.channels, header.dtype) == (2, 3, "RGBA uint8")
    stored = np.asarray(nib.load(path).dataobj)
    array = read_volume(path, options=ReadOptions(frames=(1,))).array
    np.testing.assert_array_equal(array, np.stack([stored[name][..., 1] for name in "RGB"]))


def test_complex_files_by_magnitude(shared_data):
    path = shared_data / "formats/nifti_rs/resources/complex/complex64.nii"
    array = read_volume(path, options=ReadOptions(magnitude=True)).array
    np.testing.assert_allclose(array[0, :, :, 0], np.abs(np.asarray(nib.load(path).dataobj)), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.b.nii.gz", "a.b"),
        ("A.NII", "A"),
        ("x.hdr.gz", "x"),
        ("x.seg.nrrd", "x.seg"),
        ("t1+orig.BRIK.gz", "t1+orig"),
        ("x.mgh.gz", "x"),
        ("IM0001", "IM0001"),
        ("x.unknown", "x"),
        (".nii", ".nii"),
    ],
)
def test_names_lose_their_ending(name, stem):
    assert strip_extension(Path(name)) == stem


def test_no_ending_stands_for_two_formats_and_every_reader_is_there():
    endings = [ending for row in FORMATS for ending in row.endings]
    assert len(endings) == len(set(endings))
    for row in FORMATS:
        reader = row.reader()
        assert callable(reader.header)
        assert callable(reader.read)


def test_dicom_is_known_without_an_ending(tmp_path):
    (tmp_path / "IM1").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 20)
    (tmp_path / "IM2").write_bytes(b"\0" * 200)
    assert format_of(tmp_path / "IM1").name == "DICOM"
    assert not is_readable(tmp_path / "IM2")
    assert not is_readable(tmp_path / "absent")


def test_data_files_stand_behind_their_headers():
    paths = [Path("d") / n for n in ("a.hdr", "a.img", "b.img", "c.HEAD", "c.BRIK.gz", "d.nii", "e.hdr", "e.img.gz")]
    kept = [p.name for p in without_data_files(paths)]
    assert kept == ["a.hdr", "b.img", "c.HEAD", "d.nii", "e.hdr"]


def test_paths_that_are_no_files(tmp_path):
    (tmp_path / "folder.nii").mkdir()
    (tmp_path / "empty.nii.gz").touch()
    (tmp_path / "loop.nii").symlink_to(tmp_path / "loop.nii")
    (tmp_path / "gone.nii").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe.nii")
    (tmp_path / "file").touch()
    for path, message in [
        (tmp_path / "folder.nii", "is a folder"),
        (tmp_path / "empty.nii.gz", "is empty"),
        (tmp_path / "loop.nii", "links"),
        (tmp_path / "gone.nii", "there is no file"),
        (tmp_path / "pipe.nii", "a device or a pipe"),
        (tmp_path / "file" / "x.nii", "there is no file"),
        (tmp_path / ("n" * 300 + ".nii"), "too long"),
        (tmp_path / "a\0b.nii", "null"),
    ]:
        with pytest.raises(InputError, match=message):
            check_file(path)
        if path.name != "folder.nii":  # a folder may hold DICOM
            with pytest.raises(InputError, match=message):
                read_volume(path)


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz", "x.hdr", "x.nrrd", "x.mha", "x.mgz", "x.HEAD", "x.mnc", "x.dcm"])
def test_a_file_under_the_name_of_another_format_is_told_by_its_bytes(shared_data, tmp_path, name):
    source = "mha.mha" if name == "x.nrrd" else "nrrd.nhdr"
    shutil.copy(shared_data / "formats" / "i2nii" / source, tmp_path / name)
    if name == "x.mha":
        with pytest.raises(InputError, match=r"nrrd\.raw\.gz is missing"):
            read_volume(tmp_path / name)
        return
    with pytest.raises(InputError, match=r"x\.") as caught:
        read_volume(tmp_path / name)
    assert name == "x.dcm" or ("MetaImage" if name == "x.nrrd" else "NRRD") in str(caught.value)


def test_64_bit_values_are_exact_or_refused(tmp_path):
    values = np.array([0, 1 << 24, -5], np.int64).reshape(3, 1, 1)
    nib.Nifti1Image(values, np.eye(4), dtype=np.int64).to_filename(tmp_path / "exact.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "exact.nii").array[0], values)
    huge = np.array([0, (1 << 53) + 1, 7], np.uint64).reshape(3, 1, 1)
    nib.Nifti1Image(huge, np.eye(4), dtype=np.uint64).to_filename(tmp_path / "huge.nii")
    np.testing.assert_array_equal(read_stored(tmp_path / "huge.nii").array[0], huge)
    with pytest.raises(InputError, match="64-bit whole numbers up to 9007199254740993"):
        read_volume(tmp_path / "huge.nii")


def test_frames_become_channels_in_the_order_asked_for(tmp_path):
    values = np.random.default_rng(0).integers(0, 99, (4, 3, 2, 5)).astype(np.int16)
    for name in ("x.nii", "x.nii.gz"):
        nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / name)
        array = read_volume(tmp_path / name, options=ReadOptions(frames=(3, 0))).array
        np.testing.assert_array_equal(array, np.moveaxis(values[..., [3, 0]], -1, 0))
        with pytest.raises(InputError, match="frames 0 to 4, not"):
            read_volume(tmp_path / name, options=ReadOptions(frames=(5,)))


@pytest.mark.parametrize("kind", [nib.AnalyzeImage, nib.Spm99AnalyzeImage, nib.Spm2AnalyzeImage])
@pytest.mark.parametrize("order", ["<", ">"])
def test_analyze_pairs(tmp_path, kind, order):
    """Also big-endian, and with the .mat file that SPM puts beside them."""
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.int16)
    header.set_data_shape(values.shape)
    header.set_zooms((1.5, 2.0, 3.0))
    image = kind(values, None, header)
    if kind is not nib.AnalyzeImage:
        image = kind(values, np.array([[-1.5, 0, 0, 7], [0, 2, 0.1, 8], [0, 0, 3, 9], [0, 0, 0, 1.0]]), header)
    image.to_filename(tmp_path / "x.img")
    volume, oracle = read_volume(tmp_path / "x.img"), nib.load(tmp_path / "x.img")
    np.testing.assert_array_equal(volume.array[0], np.asarray(oracle.dataobj))
    np.testing.assert_array_equal(volume.array[0], values)
    np.testing.assert_allclose(volume.geometry.affine, oracle.affine)
    assert read_header(tmp_path / "x.hdr").format == "Analyze 7.5 or SPM pair"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [nib.Nifti1Image, nib.Nifti2Image, nib.Nifti1Pair, nib.Nifti2Pair])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_every_type_in_both_byte_orders(tmp_path, version, order, dtype):
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    header = version.header_class(endianness=order)
    header.set_data_dtype(np.dtype(dtype))
    suffix = ".nii" if "Pair" not in version.__name__ else ".img"
    version(values, np.diag([1.0, 2.0, 3.0, 1.0]), header).to_filename(tmp_path / f"x{suffix}")
    stored = read_stored(tmp_path / f"x{suffix}")
    assert stored.array.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(stored.array[0], values)
    assert stored.header.dtype == np.dtype(dtype).name + (", big-endian" if order == ">" and dtype[1] != "1" else "")
    np.testing.assert_allclose(stored.geometry.affine, nib.load(tmp_path / f"x{suffix}").affine)


def test_spm_pairs_keep_their_scale_and_the_place_of_their_voxels(tmp_path):
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nib.Spm2AnalyzeImage(values, np.eye(4)).to_filename(tmp_path / "x.img")
    header = bytearray((tmp_path / "x.hdr").read_bytes())
    header[108:120] = np.array([16.0, 0.5, -100.0], "<f4").tobytes()  # vox_offset, scl_slope, scl_inter
    (tmp_path / "x.hdr").write_bytes(header)
    (tmp_path / "x.img").write_bytes(bytes(16) + (tmp_path / "x.img").read_bytes())
    array = read_volume(tmp_path / "x.hdr").array[0]
    np.testing.assert_allclose(array, values * 0.5 - 100)
    np.testing.assert_allclose(array, np.asarray(nib.load(tmp_path / "x.img").dataobj))


def test_damaged_headers_that_are_read_are_read_as_nibabel_reads_them(tmp_path, monkeypatch):
    """A header that is wrong but possible is no other scan here than in nibabel."""
    values, rng, compared = np.arange(210, dtype=np.int16).reshape(7, 6, 5), np.random.default_rng(5), 0
    affine = np.array([[0, -2.0, 0, 5], [1.5, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]])
    monkeypatch.setattr(nib.imageglobals.logger, "disabled", True)
    for kind, name in ((nib.Nifti1Image, "x.nii"), (nib.Nifti2Image, "y.nii"), (nib.Spm2AnalyzeImage, "z.hdr")):
        kind(values, affine).to_filename(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        for _ in range(150):
            damaged = bytearray(whole)
            damaged[rng.integers(0, 348)] ^= 1 << int(rng.integers(0, 8))
            (tmp_path / name).write_bytes(damaged)
            compared += _same_as_nibabel(tmp_path / name)
    assert compared > 300


def _same_as_nibabel(path: Path) -> bool:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            stored = read_stored(path, ReadOptions(frames=(0,)))
        except InputError:
            return False
        oracle = nib.load(path)
        values, unit = np.asarray(oracle.dataobj), 0
    if isinstance(oracle, nib.Nifti1Image):
        unit = int(oracle.header["xyzt_units"]) & 7
    wanted = np.array(oracle.affine)
    wanted[:3] *= {1: 1000.0, 3: 0.001}.get(unit, 1.0)
    np.testing.assert_allclose(stored.geometry.affine, wanted, rtol=1e-6)
    first = values.reshape(-1, order="F")[: stored.array[0].size]
    if values.dtype.names is None:
        np.testing.assert_allclose(stored.array[0].reshape(-1, order="F"), first, rtol=1e-5)
    return True


def test_a_gzip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    """A header of 10^12 voxels over a gigabyte of zeros in a megabyte."""
    image = nib.Nifti2Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    raw = io.BytesIO()
    image.to_stream(raw)
    head = bytearray(raw.getvalue()[:544])
    head[16:48] = np.array([3, 10_000, 10_000, 10_000], "<i8").tobytes()
    with gzip.open(tmp_path / "x.nii.gz", "wb", compresslevel=1) as out:
        out.write(bytes(head) + bytes(1 << 24))
    with pytest.raises(InputError, match="header promises"):
        read_volume(tmp_path / "x.nii.gz")


def test_numbers_beyond_float32_are_refused_and_infinity_is_kept(tmp_path):
    values = np.ones((3, 4, 5))
    values[0, 0, 0] = np.inf
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "x.nii")
    assert np.isinf(read_volume(tmp_path / "x.nii").array).sum() == 1
    values[1, 1, 1] = -1e39
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "x.nii")
    with pytest.raises(InputError, match=r"x.nii holds the value -1e\+39, beyond the largest number of float32"):
        read_volume(tmp_path / "x.nii")
