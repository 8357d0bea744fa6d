"""NRRD and MetaImage, written by SimpleITK or by hand and compared with SimpleITK reading them by itself."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy.spatial.transform import Rotation

from maskmatch_med.errors import InputError
from maskmatch_med.io import read_labels
from maskmatch_med.io.formats import ReadOptions
from maskmatch_med.io.volumes import read_header, read_stored, read_volume

VALUES = np.arange(24, dtype=np.int16).reshape(4, 3, 2)


def _image(values: np.ndarray, *, vector: bool = False) -> sitk.Image:
    """An oblique image of (Z, Y, X) values."""
    image = sitk.GetImageFromArray(values, isVector=vector)
    image.SetSpacing((0.7, 1.1, 2.5))
    image.SetOrigin((-10.0, 20.5, 3.25))
    image.SetDirection(Rotation.from_euler("xyz", [20, -30, 70], degrees=True).as_matrix().ravel().tolist())
    return image


def _agrees(path: Path, image: sitk.Image) -> None:
    geometry = read_header(path).geometry
    for voxel in ((0, 0, 0), (1, 2, 3), (0, 1, 1)):
        lps = np.array(image.TransformIndexToPhysicalPoint(voxel))
        np.testing.assert_allclose((geometry.affine @ [*voxel, 1.0])[:3], lps * [-1, -1, 1], atol=1e-4)


@pytest.mark.parametrize("name", ["x.nrrd", "x.nhdr", "x.mha", "x.mhd"])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64, np.float32, np.float64])
def test_what_itk_writes_is_read_where_itk_reads_it(tmp_path, name, packed, dtype):
    image = _image(VALUES.astype(dtype))
    sitk.WriteImage(image, str(tmp_path / name), useCompression=packed)
    stored = read_stored(tmp_path / name)
    assert stored.array.dtype == dtype
    assert stored.header.dtype == np.dtype(dtype).name
    np.testing.assert_array_equal(stored.array[0], VALUES.transpose(2, 1, 0))
    _agrees(tmp_path / name, sitk.ReadImage(str(tmp_path / name)))


@pytest.mark.parametrize("name", ["x.nrrd", "x.mha"])
def test_slices_colours_vectors_and_time(tmp_path, name):
    path = tmp_path / name
    sitk.WriteImage(sitk.GetImageFromArray(VALUES[0]), str(path))
    assert read_volume(path).array.shape == (1, 2, 3, 1)
    rgba = np.arange(96, dtype=np.uint8).reshape(2, 3, 4, 4)
    sitk.WriteImage(_image(rgba, vector=True), str(path))
    assert read_header(path).dtype == "RGBA uint8"
    np.testing.assert_array_equal(read_volume(path).array, rgba[..., :3].transpose(3, 2, 1, 0))
    vectors = np.random.default_rng(0).normal(size=(2, 3, 4, 2)).astype(np.float32)
    sitk.WriteImage(_image(vectors, vector=True), str(path))
    with pytest.raises(InputError, match="2 entries along the last"):
        read_volume(path)
    np.testing.assert_array_equal(read_volume(path, channels=2).array, vectors.transpose(3, 2, 1, 0))
    series = np.random.default_rng(1).integers(0, 99, (5, 2, 3, 4)).astype(np.int16)
    sitk.WriteImage(sitk.JoinSeries([_image(frame) for frame in series]), str(path))
    assert read_header(path).frames == 5
    array = read_volume(path, options=ReadOptions(frames=(4, 1))).array
    np.testing.assert_array_equal(array, series[[4, 1]].transpose(0, 3, 2, 1))
    _agrees(path, _image(series[0]))


def test_complex_nrrd_by_magnitude(tmp_path):
    values = (VALUES + 1j * VALUES[::-1]).astype(np.complex64)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / "x.nrrd"))
    assert read_header(tmp_path / "x.nrrd").dtype == "complex64"
    with pytest.raises(InputError, match="complex"):
        read_volume(tmp_path / "x.nrrd")
    array = read_volume(tmp_path / "x.nrrd", options=ReadOptions(magnitude=True)).array
    np.testing.assert_allclose(array[0], np.abs(values).transpose(2, 1, 0), rtol=1e-6)


def test_labels_in_nrrd(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray((VALUES % 3).astype(np.uint8)), str(tmp_path / "x.nrrd"))
    labels = read_labels(tmp_path / "x.nrrd")
    np.testing.assert_array_equal(labels.array, (VALUES % 3).transpose(2, 1, 0))


def _nrrd(path: Path, data: bytes, **changes: str) -> Path:
    fields = {
        "type": "short",
        "dimension": "3",
        "space": "right-anterior-superior",
        "sizes": "2 3 4",
        "space directions": "(1,0,0) (0,2,0) (0,0,3)",
        "endian": "little",
        "encoding": "raw",
        "space origin": "(5,6,7)",
    }
    fields |= {name.replace("_", " "): value for name, value in changes.items()}
    lines = "".join(f"{name}: {value}\n" for name, value in fields.items() if value)
    path.write_bytes(b"NRRD0004\n# by hand\n" + lines.encode() + b"key:=a: value\n\n" + data)
    return path


@pytest.mark.parametrize("encoding", ["raw", "gzip", "ascii"])
def test_nrrd_by_hand_in_every_encoding(tmp_path, encoding):
    raw = VALUES.astype("<i2").tobytes()
    pack = {"raw": bytes, "gzip": gzip.compress}
    data = pack[encoding](raw) if encoding in pack else " ".join(map(str, VALUES.ravel())).encode()
    path = _nrrd(tmp_path / "x.nrrd", data, encoding=encoding)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array[0], VALUES.transpose(2, 1, 0))
    np.testing.assert_allclose(volume.geometry.affine, [[1, 0, 0, 5], [0, 2, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]])


def test_big_endian_and_micrometres(tmp_path):
    path = _nrrd(tmp_path / "x.nrrd", VALUES.astype(">i2").tobytes(), endian="big", space_units='"um" "um" "um"')
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array[0], VALUES.transpose(2, 1, 0))
    np.testing.assert_allclose(volume.geometry.spacing_mm, (0.001, 0.002, 0.003))
    path = _nrrd(path, VALUES.astype("<i2").tobytes(), space_units='"um" "um" "mm"')
    with pytest.raises(InputError, match="different units"):
        read_volume(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": "10000 10000 10000"}, "header promises"),
        ({"encoding": "bzip2"}, "bzip2"),
        ({"sizes": "2 3"}, "dimension 3 with 2 sizes"),
        ({"sizes": "2 3 -4"}, "sizes"),
        ({"sizes": "2 x 4"}, "no usable header"),
        ({"type": "block"}, "type 'block'"),
        ({"type": ""}, "no usable header"),
        ({"data_file": "../x.raw"}, "outside its own folder"),
        ({"data_file": "/etc/passwd"}, "outside its own folder"),
        ({"data_file": "absent.raw"}, "absent.raw is missing"),
        ({"data_file": "LIST"}, "several data files"),
        ({"data_file": "x%03d.raw 1 4 1"}, "several data files"),
        ({"encoding": "rot13"}, "cannot read"),
        ({"space_directions": "(0,0,0) (0,2,0) (0,0,3)"}, "x.nrrd"),
    ],
)
def test_nrrd_headers_that_cannot_be(tmp_path, changes, message):
    path = _nrrd(tmp_path / "x.nrrd", VALUES.astype("<i2").tobytes(), **changes)
    with pytest.raises(InputError, match=message) as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)


def _meta(path: Path, data: bytes, **changes: str) -> Path:
    fields = {"ObjectType": "Image", "NDims": "3", "DimSize": "2 3 4", "ElementType": "MET_SHORT"}
    fields |= {"ElementSpacing": "1 2 3", "ElementDataFile": "LOCAL"} | changes
    data_file = fields.pop("ElementDataFile")
    lines = "".join(f"{name} = {value}\n" for name, value in fields.items() if value)
    path.write_bytes(lines.encode() + f"ElementDataFile = {data_file}\n".encode() + data)
    return path


def test_metaimage_by_hand(tmp_path):
    volume = read_volume(_meta(tmp_path / "x.mha", VALUES.astype("<i2").tobytes()))
    np.testing.assert_array_equal(volume.array[0], VALUES.transpose(2, 1, 0))
    np.testing.assert_allclose(volume.geometry.affine, np.diag([-1.0, -2.0, 3.0, 1.0]))
    (tmp_path / "data.raw").write_bytes(VALUES.astype(">i2").tobytes())
    path = _meta(tmp_path / "x.mhd", b"", ElementDataFile="data.raw", BinaryDataByteOrderMSB="True")
    np.testing.assert_array_equal(read_volume(path).array[0], VALUES.transpose(2, 1, 0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"DimSize": "10000 10000 10000"}, "header promises"),
        ({"DimSize": "2 3"}, "NDims 3 with 2 sizes"),
        ({"ElementType": "MET_OTHER"}, "MET_OTHER"),
        ({"ElementType": ""}, "no usable header"),
        ({"ElementNumberOfChannels": "1000000000000"}, "header promises"),
        ({"ElementDataFile": "../x.raw"}, "outside its own folder"),
        ({"ElementDataFile": "LIST"}, "several data files"),
        ({"CompressedData": "True", "CompressedDataSize": "1000000"}, "cut off"),
        ({"ElementSpacing": "nan 1 1"}, "x.mha"),
    ],
)
def test_metaimage_headers_that_cannot_be(tmp_path, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        read_volume(_meta(tmp_path / "x.mha", VALUES.astype("<i2").tobytes(), **changes))
    assert "\n" not in str(caught.value)
