"""DICOM series against SimpleITK, pydicom and the numbers they were written with."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813

from maskmatch_med.errors import InputError
from maskmatch_med.io.cases import find_cases
from maskmatch_med.io.dicom import find_series, is_dicom
from maskmatch_med.volume import Geometry


def corners(shape: tuple[int, ...], affine: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    index = np.array(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij")).reshape(3, -1)
    return affine[:3, :3] @ index + affine[:3, 3:]


def assert_same_place(geometry: Geometry, affine: np.ndarray[Any, Any], shape: tuple[int, ...]) -> None:
    assert geometry.shape == shape
    np.testing.assert_allclose(corners(shape, geometry.affine), corners(shape, affine), atol=1e-3)


def test_ct_series_without_endings_agrees_with_simpleitk(shared_data: Path, itk_series: Any) -> None:
    folder = shared_data / "ct" / "example_ct_dicom"
    found = find_series(folder)
    assert found.notes == ()
    (series,) = found.series
    # Without identifiers SimpleITK sorts nothing by itself: the files in order of the positions that pydicom reads.
    by_depth = sorted(
        folder.iterdir(), key=lambda p: pydicom.dcmread(p, stop_before_pixels=True).ImagePositionPatient[2]
    )
    values, affine = itk_series(by_depth)
    volume = series.read()
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array[0], values)
    assert_same_place(series.geometry, affine, (512, 512, 20))
    assert [file.path for file in series.files] == by_depth
    assert series.header().dtype == "int16"


def test_ct_series_agrees_with_pydicom(shared_data: Path) -> None:
    folder = shared_data / "ct" / "example_ct_dicom"
    volume = find_series(folder).pick(None).read()
    for path in list(folder.iterdir())[::6]:
        dataset = pydicom.dcmread(path)
        where = np.array([*dataset.ImagePositionPatient, 1.0]) * [-1, -1, 1, 1]
        index = np.linalg.inv(volume.geometry.affine) @ where
        np.testing.assert_allclose(index[:2], 0, atol=1e-6)
        expected = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        np.testing.assert_array_equal(volume.array[0, :, :, round(index[2])].T, expected)


def test_zip_agrees_with_simpleitk(shared_data: Path, tmp_path: Path, itk_series: Any) -> None:
    archive = shared_data / "formats" / "i2nii" / "DICOM.zip"
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path)
    values, affine = itk_series(tmp_path / "DICOM")
    found = find_series(archive)
    (series,) = found.series
    assert found.notes == ()
    np.testing.assert_array_equal(series.read().array[0], values)
    assert_same_place(series.geometry, affine, (64, 64, 37))
    assert series.name.startswith("MR_s015_")
    assert find_series(tmp_path).pick(None).name == series.name


def test_oblique_series_agrees_with_simpleitk(bench: Any, itk_series: Any) -> None:
    turn = np.array(sitk.Euler3DTransform((0, 0, 0), 0.4, -0.3, 0.9).GetMatrix()).reshape(3, 3)
    directions = [float(f"{v:.8f}") for v in (*turn[:, 0], *turn[:, 1])]

    def oblique(number: int) -> dict[str, Any]:
        position = np.array([11.0, -7.0, 99.0]) - turn[:, 2] * 3.3 * number
        return {"ImageOrientationPatient": directions, "ImagePositionPatient": [f"{v:.8f}" for v in position]}

    bench.series(7, oblique)
    series = find_series(bench.root).pick(None)
    values, affine = itk_series(bench.root)
    np.testing.assert_array_equal(series.read().array[0], values)
    assert_same_place(series.geometry, affine, (8, 6, 7))


def test_world_positions_follow_from_the_tags(bench: Any) -> None:
    bench.series(4)
    volume = find_series(bench.root).pick(None).read()
    np.testing.assert_array_equal(
        volume.geometry.affine, [[-0.5, 0, 0, 10], [0, -0.75, 0, 20], [0, 0, 2, 30], [0, 0, 0, 1]]
    )
    for k in range(4):
        np.testing.assert_array_equal(volume.array[0, :, :, k], bench.pixels(k).T)


def test_one_file_stands_for_the_series_of_its_folder(bench: Any) -> None:
    paths = bench.series(5)
    bench.save(bench.slice(0, SeriesInstanceUID="1.2.3"), "other")
    whole = find_series(paths[2])
    assert [series.geometry.shape for series in whole.series] == [(8, 6, 5)]
    assert {file.path for file in whole.series[0].files} == set(paths)


def test_several_series_must_be_chosen_from(bench: Any) -> None:
    bench.series(3)
    bench.save(bench.slice(0, SeriesInstanceUID="1.2.3", SeriesNumber=9, Modality="MR"), "deep/er/one")
    found = find_series(bench.root)
    names = [series.name for series in found.series]
    assert [name.rsplit("_", 1)[0] for name in names] == ["CT_s003", "MR_s009"]
    assert found.pick(names[1]).geometry.shape == (8, 6, 1)
    with pytest.raises(InputError, match="holds 2 series; choose one of CT_s003_"):
        found.pick(None)
    with pytest.raises(InputError, match="has no series nobody"):
        found.pick("nobody")


def test_nothing_of_the_patient_is_kept(bench: Any) -> None:
    bench.series(3, lambda n: {"PatientComments": "secret words", "StudyDescription": "secret"})
    bench.save(bench.slice(9), "gap")
    for found in (find_series(bench.root), find_series(bench.root / "gap")):
        said = repr([(s.name, s.notes, s.header()) for s in found.series]) + repr(found.notes)
        assert "Muster" not in said
        assert "secret" not in said


def test_name_is_the_same_wherever_the_files_lie(bench: Any, tmp_path: Path) -> None:
    bench.series(3, lambda n: {"SeriesInstanceUID": "", "SOPInstanceUID": f"1.2.{n + 1}"})
    moved = tmp_path / "elsewhere"
    first = find_series(bench.root).pick(None).name
    bench.root.rename(moved)
    assert find_series(moved).pick(None).name == first


def test_copies_of_a_series_without_identifier_keep_apart(bench: Any) -> None:
    paths = bench.series(3, lambda n: {"SeriesInstanceUID": "", "SOPInstanceUID": f"1.2.{n + 1}"})
    for path in paths:
        target = bench.root / "backup" / path.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    first, second = (series.name for series in find_series(bench.root).series)
    assert second == f"{first}_copy2"


def test_all_slices_named_one_by_one_are_one_scan(bench: Any) -> None:
    paths = bench.series(4)
    (case,) = find_cases(paths)
    assert case.read().geometry.shape == (8, 6, 4)


@pytest.mark.parametrize("content", [b"", b"DICM", b"\x00" * 128 + b"DICM", b"\x00" * 128 + b"DICM\x02\x00\x00\x00"])
def test_files_of_nothing_are_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    found = find_series(tmp_path)
    assert found.series == ()
    with pytest.raises(InputError, match=r"damaged|no DICOM scan found"):
        found.pick(None)


def test_other_files_are_no_dicom(shared_data: Path, tmp_path: Path) -> None:
    assert not is_dicom(shared_data / "ct" / "example_ct.nii.gz")
    assert not is_dicom(shared_data / "nuclei")
    assert not is_dicom(tmp_path / "missing")
    assert is_dicom(shared_data / "ct")
    with pytest.raises(InputError, match="there is no file"):
        find_series(tmp_path / "missing")


def test_preamble_may_be_missing(bench: Any) -> None:
    (path,) = bench.series(1)
    dataset = pydicom.dcmread(path)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, pydicom.Dataset(dataset), implicit_vr=True, little_endian=True)
    path.write_bytes(buffer.getvalue())
    assert is_dicom(path)
    np.testing.assert_array_equal(find_series(bench.root).pick(None).read().array[0, :, :, 0].T, bench.pixels(0))
