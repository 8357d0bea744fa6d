"""Values of DICOM files: rescaling, signs, photometric rules and compression."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from maskmatch_med.errors import InputError
from maskmatch_med.io.dicom import DicomSeries, find_series

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"


def only(path: Path) -> DicomSeries:
    return find_series(path).pick(None)


def test_rescaling_of_each_slice(bench: Any) -> None:
    factors = [(0.5, -1024.0), (1.37, 3.25), (2.0, 0.0)]
    bench.series(3, lambda n: {"RescaleSlope": factors[n][0], "RescaleIntercept": factors[n][1], "Modality": "PT"})
    series = only(bench.root)
    assert series.header().dtype == "float32"
    array = series.read().array
    assert array.dtype == np.float32
    for n, (slope, intercept) in enumerate(factors):
        exact = bench.pixels(n).astype(np.float64) * slope + intercept
        np.testing.assert_array_equal(array[0, :, :, n].T, exact.astype(np.float32))


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({"RescaleSlope": 1, "RescaleIntercept": -1024, "BitsStored": 12, "HighBit": 11}, "int16"),
        ({"RescaleSlope": 1, "RescaleIntercept": -1024}, "int32"),
        ({}, "int16"),
        ({"PixelRepresentation": 0}, "uint16"),
        ({"RescaleSlope": 0.1}, "float32"),
    ],
)
def test_whole_numbers_stay_whole(bench: Any, tags: dict[str, Any], kind: str) -> None:
    pixels = np.arange(48, dtype=np.int16).tobytes()
    bench.save(bench.slice(0, PixelData=pixels, **tags))
    series = only(bench.root)
    stored = series.read_stored()
    assert series.header().dtype == stored.array.dtype.name == kind
    slope, intercept = tags.get("RescaleSlope", 1), tags.get("RescaleIntercept", 0)
    expected = (np.arange(48).reshape(6, 8) * slope + intercept).astype(kind)
    np.testing.assert_array_equal(stored.array[0, :, :, 0].T, expected)


def test_unused_bits_are_no_part_of_a_value(bench: Any) -> None:
    values = np.arange(48, dtype=np.int16) - 24
    dirty = (values & 0x0FFF) | 0x5000
    bench.save(bench.slice(0, BitsStored=12, HighBit=11, PixelData=dirty.astype("<u2").tobytes()))
    np.testing.assert_array_equal(only(bench.root).read().array[0, :, :, 0].T, values.reshape(6, 8))


@pytest.mark.parametrize("signed", [0, 1])
def test_monochrome1_is_inverted_and_said(bench: Any, itk_series: Any, signed: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 2047, 48).astype(np.int16)
    tags = {"Modality": "MR", "PhotometricInterpretation": "MONOCHROME1", "PixelRepresentation": signed}
    path = bench.save(bench.slice(0, BitsStored=12, HighBit=11, PixelData=pixels.tobytes(), **tags))
    series = only(bench.root)
    values = series.read().array[0]
    np.testing.assert_array_equal(values[:, :, 0].T, (-1 if signed else 4095) - pixels.reshape(6, 8))
    if not signed:
        np.testing.assert_array_equal(values, itk_series([path])[0])
    assert any("inverted" in note for note in series.notes)


def test_monochrome1_keeps_hounsfield_units(bench: Any) -> None:
    bench.series(2, lambda n: {"PhotometricInterpretation": "MONOCHROME1"})
    series = only(bench.root)
    np.testing.assert_array_equal(series.read().array[0, :, :, 1].T, bench.pixels(1))
    assert any("its values were kept" in note for note in series.notes)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless, JPEGLosslessSV1])
@pytest.mark.parametrize("signed", [0, 1])
def test_compressed_series_equals_the_plain_one(bench: Any, tmp_path: Path, syntax: str, signed: int) -> None:
    change = {"PixelRepresentation": signed, "RescaleSlope": 1, "RescaleIntercept": -1000, "Rows": 36, "Columns": 64}
    stored = [np.tile(np.abs(bench.pixels(n)), (6, 8)) - 300 * signed for n in range(4)]
    plain = bench.series(4, lambda n: {**change, "PixelData": stored[n].tobytes()})
    packed = tmp_path / "packed"
    packed.mkdir()
    for path in plain:
        if syntax == JPEGLosslessSV1:
            _pack_with_gdcm(path, packed / path.name)
        else:
            dataset = pydicom.dcmread(path)
            dataset.compress(syntax, generate_instance_uid=False)
            dataset.save_as(packed / path.name)
    assert pydicom.dcmread(packed / plain[0].name).file_meta.TransferSyntaxUID == syntax
    one, other = only(bench.root), only(packed)
    assert one.name == other.name
    np.testing.assert_array_equal(other.read().array, one.read().array)
    np.testing.assert_array_equal(other.read().array[0, :, :, 2].T, stored[2] - 1000.0)


def _pack_with_gdcm(source: Path, target: Path) -> None:
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


def test_jpeg_in_colour_becomes_three_channels(bench: Any) -> None:
    colours = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(colours).save(stream, "JPEG", quality=95)
    dataset = bench.slice(
        0, Rows=16, Columns=16, SamplesPerPixel=3, PlanarConfiguration=0, BitsAllocated=8, BitsStored=8
    )
    dataset.HighBit, dataset.PixelRepresentation, dataset.PhotometricInterpretation = 7, 0, "YBR_FULL_422"
    dataset.Modality, dataset.PixelData = "XC", encapsulate([stream.getvalue()])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    bench.save(dataset)
    series = only(bench.root)
    array = series.read().array
    assert array.shape == (3, 16, 16, 1)
    np.testing.assert_allclose(array[:, 8, 8, 0], (200, 40, 90), atol=3)
    assert any("three channels" in note for note in series.notes)


def test_colours_as_they_are(bench: Any) -> None:
    colours = np.random.default_rng(2).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    tags = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0, "PlanarConfiguration": 0}
    bench.save(bench.slice(0, SamplesPerPixel=3, PhotometricInterpretation="RGB", PixelData=colours.tobytes(), **tags))
    series = only(bench.root)
    assert (series.header().channels, series.header().dtype) == (3, "uint8")
    np.testing.assert_array_equal(series.read().array[..., 0], colours.transpose(2, 1, 0))


@pytest.mark.parametrize("deep", [True, False])
def test_palette_becomes_colours(bench: Any, deep: bool) -> None:
    table = np.random.default_rng(3).integers(0, 255, (3, 16))
    tags = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0}
    index = np.random.default_rng(4).integers(0, 16, (6, 8)).astype(np.uint8)
    dataset = bench.slice(0, PhotometricInterpretation="PALETTE COLOR", PixelData=index.tobytes(), **tags)
    for row, colour in zip(table, ("Red", "Green", "Blue"), strict=True):
        entries = (row << 8 if deep else row).astype("<u2" if deep else np.uint8)
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [16, 0, 16 if deep else 8])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", entries.tobytes())
    bench.save(dataset)
    np.testing.assert_array_equal(only(bench.root).read().array[..., 0], table[:, index].transpose(0, 2, 1))


def test_modality_look_up_table(bench: Any) -> None:
    lut = pydicom.Dataset()
    lut.LUTDescriptor = [4, 0, 16]
    lut.LUTData = [100, 200, 400, 800]
    lut.ModalityLUTType = "US"
    index = np.tile(np.array([0, 1, 2, 3], np.uint16), 12)
    dataset = bench.slice(0, PixelRepresentation=0, PixelData=index.tobytes(), ModalityLUTSequence=[lut])
    dataset.ModalityLUTSequence[0]["LUTDescriptor"].VR = "US"
    dataset.ModalityLUTSequence[0]["LUTData"].VR = "US"
    bench.save(dataset)
    expected = np.array([100, 200, 400, 800])[index].reshape(6, 8)
    np.testing.assert_array_equal(only(bench.root).read().array[0, :, :, 0].T, expected)


def test_big_endian(bench: Any) -> None:
    dataset = bench.slice(0, PixelData=bench.pixels(0).astype(">i2").tobytes())
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    bench.save(dataset)
    np.testing.assert_array_equal(only(bench.root).read().array[0, :, :, 0].T, bench.pixels(0))


@pytest.mark.parametrize(
    "name",
    [
        "693_J2KI.dcm",
        "CT_small.dcm",
        "ExplVR_BigEnd.dcm",
        "J2K_pixelrep_mismatch.dcm",
        "JPEG2000.dcm",
        "JPEGLSNearLossless_16.dcm",
        "MR_small_RLE.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "SC_rgb_dcmtk_+eb+cr.dcm",
        "SC_rgb_jls_lossy_line.dcm",
        "SC_rgb_jpeg_lossy_gdcm.dcm",
        "SC_rgb_rle.dcm",
        "SC_rgb_small_odd.dcm",
        "dicomdirtests/77654033/CR1/6154",
        "examples_jpeg2k.dcm",
        "examples_overlay.dcm",
        "examples_palette.dcm",
        "examples_rgb_color.dcm",
        "image_dfl.dcm",
    ],
)
def test_pydicoms_own_files_agree_with_simpleitk(tmp_path: Path, name: str) -> None:
    source = BUNDLED / name
    if not source.exists():
        pytest.skip(f"this pydicom brings no {name}")
    path = tmp_path / "file"
    if "1.2.840.10008.5.1.4.1.1.7" in str(pydicom.dcmread(source).SOPClassUID):
        dataset = pydicom.dcmread(source)
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.4"  # a photograph, as screenshots are skipped
        dataset.save_as(path)
    else:
        shutil.copy(source, path)
    image = sitk.ReadImage(str(path))
    expected = sitk.GetArrayFromImage(image)
    expected = expected[..., None] if image.GetNumberOfComponentsPerPixel() == 1 else expected
    series = only(path)
    np.testing.assert_allclose(series.read().array, expected.transpose(3, 2, 1, 0), rtol=1e-6, atol=1e-3)


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def test_a_compression_without_decoder_is_named(bench: Any, tmp_path: Path) -> None:
    shutil.copy(BUNDLED / "JPEG-lossy.dcm", tmp_path / "file")
    dataset = pydicom.dcmread(tmp_path / "file")
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    dataset.save_as(tmp_path / "file")
    with pytest.raises(InputError, match=r"JPEG Extended.*12-bit") as caught:
        only(tmp_path / "file").read()
    assert "\n" not in str(caught.value)


def test_cut_off_pixels(bench: Any) -> None:
    paths = bench.series(3)
    cut(paths[1], 0.95)
    with pytest.raises(InputError, match=r"the pixels of .* are cut off or missing") as caught:
        only(bench.root).read()
    assert str(paths[1]) in str(caught.value)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_cut_off_compressed_pixels(shared_data: Path, tmp_path: Path, share: float) -> None:
    source = next((shared_data / "ct" / "example_ct_dicom").iterdir())
    path = tmp_path / "slice"
    path.write_bytes(source.read_bytes())
    cut(path, share)
    with pytest.raises(InputError, match=r"the pixels of .* are cut off or missing") as caught:
        only(tmp_path).read()
    assert "\n" not in str(caught.value)


def test_header_that_promises_too_much(bench: Any) -> None:
    bench.save(bench.slice(0, Rows=60000, Columns=60000, NumberOfFrames=1))
    with pytest.raises(InputError, match=r"does not fit into memory|cannot read the pixels"):
        only(bench.root).read()
