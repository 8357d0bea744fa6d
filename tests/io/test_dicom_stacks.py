"""Several stacks in one series, and multi-frame files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset
from pydicom.uid import JPEGLSLossless, RLELossless

from maskmatch_med.errors import InputError
from maskmatch_med.io.dicom import find_series

MR = {"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"


def endings(bench: Any) -> list[str]:
    found = find_series(bench.root)
    assert found.notes == ()
    return [series.name.split("_", 3)[3] for series in found.series]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ([{"EchoNumbers": 1, "EchoTime": 4.6}, {"EchoNumbers": 2, "EchoTime": 9.2}], ["echo1", "echo2"]),
        ([{"EchoTime": 30.0}, {"EchoTime": 4.6}], ["echo2", "echo1"]),
        ([{"DiffusionBValue": 0.0}, {"DiffusionBValue": 1000.0}], ["b0", "b1000"]),
        ([{"TemporalPositionIdentifier": t} for t in (1, 2, 3)], ["time1", "time2", "time3"]),
        ([{"TriggerTime": t} for t in (12.5, 40.0)], ["cardiac1", "cardiac2"]),
        ([{"InversionTime": t} for t in (100, 2500)], ["inversion1", "inversion2"]),
        ([{"AcquisitionNumber": t} for t in (1, 2)], ["acquisition1", "acquisition2"]),
        ([{"ImageType": ["ORIGINAL", "PRIMARY", kind, "ND"]} for kind in "MP"], ["m", "p"]),
        (
            [{"ImageType": ["DERIVED", "PRIMARY", "DIXON", kind]} for kind in ("WATER", "FAT", "IN_PHASE")],
            ["water", "fat", "in_phase"],
        ),
        ([{}, {}], ["repeat1", "repeat2"]),
    ],
)
def test_stacks_of_one_series(bench: Any, tags: Sequence[dict[str, Any]], expected: list[str]) -> None:
    count = len(tags)
    for n in range(4):  # slices interleaved, as scanners number them
        for stack, own in enumerate(tags):
            pixels = bench.pixels(100 * stack + n).tobytes()
            slice_ = bench.slice(n, **MR, **own, PixelData=pixels)
            slice_.InstanceNumber = n * count + stack + 1
            bench.save(slice_)
    assert endings(bench) == sorted(expected)
    for series in find_series(bench.root).series:
        stack = expected.index(series.name.split("_", 3)[3])
        assert series.geometry.shape == (8, 6, 4)
        for n in range(4):
            np.testing.assert_array_equal(series.read().array[0, :, :, n].T, bench.pixels(100 * stack + n))
        assert any(f"holds {count} stacks" in note or f"{count} times" in note for note in series.notes)


def test_b_values_with_several_directions(bench: Any) -> None:
    directions = [(0.0, None), (1000.0, [1.0, 0.0, 0.0]), (1000.0, [0.0, 1.0, 0.0])]
    for stack, (b, direction) in enumerate(directions):
        for n in range(3):
            pixels = bench.pixels(100 * stack + n).tobytes()
            tags = {"DiffusionBValue": b, "DiffusionGradientOrientation": direction, "PixelData": pixels}
            bench.save(bench.slice(n, **MR, **tags))
    assert endings(bench) == ["b0", "b1000_direction1", "b1000_direction2"]


def test_a_trait_that_only_varies_along_the_scan_splits_nothing(bench: Any) -> None:
    bench.series(6, lambda n: {**MR, "AcquisitionNumber": n // 3, "TriggerTime": 10.0 * n, "EchoTime": 4 + n % 2})
    (series,) = find_series(bench.root).series
    assert series.geometry.shape == (8, 6, 6)
    assert series.notes == ()


def test_stations_side_by_side(bench: Any) -> None:
    for station in range(2):
        for n in range(3):
            position = {"ImagePositionPatient": [-10.0, -20.0 + 300 * station, 2.0 * n]}
            bench.save(bench.slice(n, **MR, **position, PixelData=bench.pixels(9 * station + n).tobytes()))
    assert endings(bench) == ["place1", "place2"]


def test_no_two_names_are_the_same(bench: Any) -> None:
    for stack in range(3):
        for n in range(2):
            pixels = bench.pixels(100 * stack + n).tobytes()
            tags = {"DiffusionBValue": [1000.2, 1000.4, 0.0][stack], "PixelData": pixels}
            bench.save(bench.slice(n, **MR, **tags))
    assert endings(bench) == ["b1", "b2", "b3"]


def group(**tags: Any) -> Dataset:
    item = Dataset()
    for keyword, value in tags.items():
        setattr(item, keyword, value)
    return item


def enhanced(bench: Any, frames: Sequence[Dataset], shared: Dataset, **tags: Any) -> Dataset:
    """A multi-frame file; frame n holds the pixels of slice n."""
    pixels = np.stack([bench.pixels(n) for n in range(len(frames))])
    bare = dict.fromkeys(("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"))
    dataset: Dataset = bench.slice(0, **{**bare, "PixelData": pixels.tobytes(), **tags})
    dataset.NumberOfFrames = len(frames)
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = list(frames)
    return dataset


def plane_position(z: float) -> list[Dataset]:
    return [group(ImagePositionPatient=[-10.0, -20.0, z])]


def shared_group(**tags: Any) -> Dataset:
    return group(
        PlaneOrientationSequence=[group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelMeasuresSequence=[group(PixelSpacing=[0.75, 0.5], SliceThickness=2.0)],
        **tags,
    )


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEGLSLossless])
def test_enhanced_ct(bench: Any, syntax: str | None) -> None:
    order = [3, 0, 2, 1, 4]  # frames need not lie in order
    frames = [
        group(
            PlanePositionSequence=plane_position(30.0 + 2 * place),
            PixelValueTransformationSequence=[group(RescaleSlope=n + 1, RescaleIntercept=-100 * n)],
        )
        for n, place in enumerate(order)
    ]
    dataset = enhanced(bench, frames, shared_group(), SOPClassUID=ENHANCED_CT)
    if syntax is not None:
        dataset.file_meta.MediaStorageSOPClassUID = ENHANCED_CT
        dataset.compress(syntax, generate_instance_uid=False)
    bench.save(dataset)
    volume = find_series(bench.root).pick(None).read()
    np.testing.assert_array_equal(
        volume.geometry.affine, [[-0.5, 0, 0, 10], [0, -0.75, 0, 20], [0, 0, 2, 30], [0, 0, 0, 1]]
    )
    for n, place in enumerate(order):
        np.testing.assert_array_equal(volume.array[0, :, :, place].T, bench.pixels(n) * (n + 1.0) - 100 * n)


def test_enhanced_ct_agrees_with_simpleitk(bench: Any) -> None:
    frames = [group(PlanePositionSequence=plane_position(30.0 + 2 * n)) for n in range(5)]
    rescale = [group(RescaleSlope=2, RescaleIntercept=-7)]
    shared = shared_group(PixelValueTransformationSequence=rescale)
    path = bench.save(enhanced(bench, frames, shared, SOPClassUID=ENHANCED_CT))
    image = sitk.ReadImage(str(path))
    volume = find_series(path).pick(None).read()
    np.testing.assert_array_equal(volume.array[0], sitk.GetArrayFromImage(image).T)
    for index in ((0, 0, 0), (7, 5, 4)):
        lps = np.array(image.TransformIndexToPhysicalPoint(index))
        np.testing.assert_allclose(volume.geometry.affine[:3] @ [*index, 1], lps * [-1, -1, 1], atol=1e-4)


def test_enhanced_mr_with_b_values(bench: Any) -> None:
    frames = [
        group(
            PlanePositionSequence=plane_position(3.0 * (n % 3)),
            MRDiffusionSequence=[group(DiffusionBValue=[0.0, 800.0][n // 3])],
            FrameContentSequence=[group(StackID="1", InStackPositionNumber=n % 3 + 1)],
        )
        for n in range(6)
    ]
    bench.save(enhanced(bench, frames, shared_group(), Modality="MR", SOPClassUID=ENHANCED_MR))
    low, high = find_series(bench.root).series
    assert (low.name[-3:], high.name[-5:]) == ("_b0", "_b800")
    np.testing.assert_array_equal(high.read().array[0, :, :, 2].T, bench.pixels(5))
    assert high.geometry.spacing_mm == pytest.approx((0.5, 0.75, 3.0))


def test_enhanced_with_a_gap(bench: Any) -> None:
    frames = [group(PlanePositionSequence=plane_position(z)) for z in (0, 2, 6, 8, 10)]
    bench.save(enhanced(bench, frames, shared_group(), SOPClassUID=ENHANCED_CT))
    with pytest.raises(InputError, match="1 slice is missing"):
        find_series(bench.root).pick(None)


def test_enhanced_localizers_and_lost_frames(bench: Any) -> None:
    frames = [group(PlanePositionSequence=plane_position(2.0 * n)) for n in range(3)]
    shared = shared_group(CTImageFrameTypeSequence=[group(FrameType=["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"])])
    bench.save(enhanced(bench, frames, shared, SOPClassUID=ENHANCED_CT), "localizer")
    short = enhanced(bench, frames, shared_group(), SOPClassUID=ENHANCED_CT)
    short.NumberOfFrames = 9
    bench.save(short, "short")
    found = find_series(bench.root)
    assert found.series == ()
    assert any("localizer skipped: localizers" in note for note in found.notes)
    assert any("short skipped: damaged" in note for note in found.notes)


@pytest.mark.parametrize("bare", [{"ImagePositionPatient": None, "ImageOrientationPatient": None}, {}])
def test_films_are_refused(bench: Any, bare: dict[str, Any]) -> None:
    pixels = np.zeros((5, 6, 8), np.int16).tobytes()
    path = bench.save(bench.slice(0, **bare, Modality="US", NumberOfFrames=5, PixelData=pixels))
    with pytest.raises(InputError, match="frames without a position each") as caught:
        find_series(path).pick(None)
    assert str(path) in str(caught.value)
