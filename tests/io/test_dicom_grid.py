"""Slices that make no regular grid are refused with the reason; what is harmless is read and said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from maskmatch_med.errors import InputError
from maskmatch_med.io.dicom import find_series


def at(z: float, x: float = -10.0, y: float = -20.0) -> dict[str, Any]:
    return {"ImagePositionPatient": [x, y, z]}


def refusal(bench: Any) -> str:
    found = find_series(bench.root)
    assert found.series == ()
    with pytest.raises(InputError) as caught:
        found.pick(None)
    message = str(caught.value)
    assert message == found.notes[0]
    assert "\n" not in message
    return message


def test_one_missing_slice(bench: Any) -> None:
    paths = bench.series(8)
    paths[3].unlink()
    message = refusal(bench)
    assert "1 slice is missing" in message
    assert f"between {paths[2]} and {paths[4]} (4 mm instead of 2 mm apart)" in message.replace("mm)", "mm apart)")


def test_several_missing_slices(bench: Any) -> None:
    paths = bench.series(12)
    for lost in (3, 7, 8):
        paths[lost].unlink()
    assert "3 slices are missing" in refusal(bench)


def test_a_missing_slice_of_four(bench: Any) -> None:
    paths = bench.series(4)
    paths[1].unlink()
    assert "1 slice is missing" in refusal(bench)


def test_uneven_spacing(bench: Any) -> None:
    bench.series(6, lambda n: at(z=n * 2.0 + (0.7 if n == 3 else 0.0)))
    assert "unevenly spaced, from 1.3 to 2.7 mm" in refusal(bench)


def test_positions_rounded_to_a_tenth_are_read_and_said(bench: Any) -> None:
    bench.series(9, lambda n: at(z=round(n * 0.625, 1)))
    (series,) = find_series(bench.root).series
    assert any("vary from 0.6 to 0.7 mm" in note for note in series.notes)
    assert series.geometry.spacing_mm == pytest.approx((0.5, 0.75, 0.625))


def test_tiny_rounding_is_not_worth_a_word(bench: Any) -> None:
    bench.series(9, lambda n: at(z=round(n * 0.7071068, 3)))
    assert find_series(bench.root).series[0].notes == ()


@pytest.mark.parametrize("degrees", [15.0, -3.0, 0.6])
def test_gantry_tilt(bench: Any, degrees: float) -> None:
    shift = np.tan(np.radians(degrees)) * 2.0
    bench.series(10, lambda n: at(z=2.0 * n, y=-20 + shift * n))
    assert f"tilted by {abs(degrees):.2f}°" in refusal(bench)


def test_tilt_within_the_tolerance_stays_in_the_affine(bench: Any) -> None:
    bench.series(10, lambda n: at(z=2.0 * n, y=-20 + 0.002 * n))
    (series,) = find_series(bench.root).series
    np.testing.assert_allclose(series.geometry.affine[:3, 2], [0, -0.002, 2.0], atol=1e-12)


def test_slices_shifted_sideways(bench: Any) -> None:
    bench.series(10, lambda n: at(z=2.0 * n, x=-10 + (5 if n in {4, 5} else 0)))
    assert "shifted sideways by 5 mm" in refusal(bench)


def test_identical_copies_are_dropped(bench: Any) -> None:
    bench.series(5)
    again = bench.slice(2)
    again.SOPInstanceUID = "1.2.99"
    bench.save(again, "copies/of/two")
    (series,) = find_series(bench.root).series
    assert series.geometry.shape == (8, 6, 5)
    assert series.notes == ("1 identical copy of its slices dropped",)


def test_a_folder_copied_within_itself(bench: Any) -> None:
    paths = bench.series(5)
    for path in paths:
        target = bench.root / "backup" / path.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    (series,) = find_series(bench.root).series
    assert series.geometry.shape == (8, 6, 5)
    assert series.notes == ("5 identical copies of its slices dropped",)


def test_duplicates_with_other_pixels(bench: Any) -> None:
    paths = bench.series(5)
    other = bench.save(bench.slice(2, PixelData=bench.pixels(77).tobytes()), "other")
    message = refusal(bench)
    assert str(other) in message
    assert str(paths[2]) in message
    assert "at the same position with different pixels" in message


def test_same_identifier_with_other_pixels(bench: Any) -> None:
    bench.series(3, lambda n: {"SOPInstanceUID": f"1.2.{n + 1}"})
    bench.save(bench.slice(1, SOPInstanceUID="1.2.2", PixelData=bench.pixels(77).tobytes()), "other")
    assert "same identifier but different pixels" in refusal(bench)


def test_mixed_orientations_become_scans_of_their_own(bench: Any) -> None:
    bench.series(4)
    for n in range(3):
        sagittal = {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1], "ImagePositionPatient": [5.0 * n, 0, 0]}
        bench.save(bench.slice(10 + n, **sagittal))
    first, second = find_series(bench.root).series
    assert {first.geometry.shape, second.geometry.shape} == {(8, 6, 4), (8, 6, 3)}
    assert first.name.endswith("_part1")
    assert second.name.endswith("_part2")
    assert second.geometry.spacing_mm == pytest.approx((0.5, 0.75, 5.0))
    assert all("several orientations" in series.notes[0] for series in (first, second))


def test_mixed_sizes_become_scans_of_their_own(bench: Any) -> None:
    bench.series(4)
    bench.save(bench.slice(4, Rows=4, Columns=4, PixelData=b"\0" * 32))
    assert [s.geometry.shape for s in find_series(bench.root).series] == [(8, 6, 4), (4, 4, 1)]


def test_orientation_jitter_below_the_tolerance_is_one_scan(bench: Any) -> None:
    bench.series(4, lambda n: {"ImageOrientationPatient": [1, n * 1e-5, 0, -n * 1e-5, 1, 0]})
    assert len(find_series(bench.root).series) == 1


def test_skew_directions(bench: Any) -> None:
    bench.series(3, lambda n: {"ImageOrientationPatient": [1, 0, 0, 0.5, 0.5, 0]})
    assert "not two directions of length one at right angles" in refusal(bench)


def test_slices_without_positions(bench: Any) -> None:
    bench.series(3, lambda n: {"ImagePositionPatient": None})
    assert "3 CT slices have no position" in refusal(bench)


def test_a_refused_series_leaves_the_others(bench: Any) -> None:
    paths = bench.series(6)
    paths[2].unlink()
    bench.save(bench.slice(0, SeriesInstanceUID="1.2.3", SeriesNumber=9))
    found = find_series(bench.root)
    assert [series.name.rsplit("_", 1)[0] for series in found.series] == ["CT_s009"]
    assert len(found.notes) == 1
    assert found.notes[0].startswith("CT_s003_")


def test_one_slice_takes_its_thickness(bench: Any) -> None:
    bench.save(bench.slice(0, SliceThickness=4.5))
    (series,) = find_series(bench.root).series
    assert series.geometry.spacing_mm == pytest.approx((0.5, 0.75, 4.5))
    assert series.notes == ()


def test_one_slice_of_unknown_thickness(bench: Any) -> None:
    bench.save(bench.slice(0, SliceThickness=None))
    (series,) = find_series(bench.root).series
    assert series.geometry.spacing_mm == pytest.approx((0.5, 0.75, 0.75))
    assert "unknown thickness" in series.notes[0]


def projection(bench: Any, **tags: Any) -> Dataset:
    bare = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "SliceThickness": None}
    return bench.slice(0, **{**bare, "Modality": "DX", "PixelSpacing": None, **tags})


@pytest.mark.parametrize(
    ("tags", "spacing", "said"),
    [
        ({"PixelSpacing": [0.2, 0.1]}, (0.1, 0.2, 0.2), None),
        ({"PixelSpacing": [0.2, 0.1], "ImagerPixelSpacing": [0.3, 0.3]}, (0.1, 0.2, 0.2), None),
        ({"ImagerPixelSpacing": [0.3, 0.15]}, (0.15, 0.3, 0.3), "that of the detector"),
        ({}, (1.0, 1.0, 1.0), "taken as 1 mm"),
        ({"PixelSpacing": [0, 0]}, (1.0, 1.0, 1.0), "taken as 1 mm"),
    ],
)
def test_spacing_of_projections(bench: Any, tags: dict[str, Any], spacing: tuple[float, ...], said: str | None) -> None:
    bench.save(projection(bench, **tags))
    (series,) = find_series(bench.root).series
    assert series.geometry.shape == (8, 6, 1)
    assert series.geometry.spacing_mm == pytest.approx(spacing)
    assert series.geometry.axis_codes == "LPS"
    assert [said in note for note in series.notes] == ([True] if said else [])


def test_spacing_of_ultrasound_regions(bench: Any) -> None:
    region = Dataset()
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.01, 0.02
    bench.save(projection(bench, Modality="US", SequenceOfUltrasoundRegions=[region]))
    (series,) = find_series(bench.root).series
    assert series.geometry.spacing_mm == pytest.approx((0.1, 0.2, 0.2))
    assert series.notes == ()


def test_each_projection_is_a_scan(bench: Any) -> None:
    for n in range(3):
        bench.save(projection(bench, Modality="MG", InstanceNumber=n + 1, SOPInstanceUID=f"1.2.{n + 1}"))
    names = [series.name for series in find_series(bench.root).series]
    assert [name.rsplit("_", 1)[1] for name in names] == ["image1", "image2", "image3"]
