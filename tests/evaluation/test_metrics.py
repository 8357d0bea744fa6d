"""Every metric against a witness that shares no code with it: brute force, hand-counted cubes, SimpleITK, MONAI."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from maskmatch_med.errors import InputError
from maskmatch_med.evaluation.metrics import dice, image_diagonal_mm, surface, surface_distances, volume_ml

Mask = NDArray[np.bool_]
UNIT = (1.0, 1.0, 1.0)
SPACINGS = st.tuples(*[st.floats(0.25, 4.0) for _ in range(3)])


@st.composite
def mask_pairs(draw: st.DrawFn) -> tuple[Mask, Mask]:
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4)))
    return draw(arrays(bool, shape)), draw(arrays(bool, shape))


def oracle_surface(mask: Mask) -> list[tuple[int, ...]]:
    """Voxel by voxel: in the mask, with a face neighbour outside of it or outside of the image."""
    found = []
    for index in product(*map(range, mask.shape)):
        if not mask[index]:
            continue
        for axis, step in product(range(3), (-1, 1)):
            if mask.shape[axis] == 1:
                continue
            near = list(index)
            near[axis] += step
            inside = 0 <= near[axis] < mask.shape[axis]
            if not inside or not mask[tuple(near)]:
                found.append(index)
                break
        else:
            if max(mask.shape) == 1:
                found.append(index)
    return found


def oracle_distances(a: Mask, b: Mask, spacing: tuple[float, ...]) -> tuple[list[float], list[float]]:
    """All pairs of surface voxels."""
    points = [[[i * s for i, s in zip(p, spacing, strict=True)] for p in oracle_surface(m)] for m in (a, b)]
    if not points[0] or not points[1]:
        return [], []
    there = [min(math.dist(p, q) for q in points[1]) for p in points[0]]
    back = [min(math.dist(p, q) for q in points[0]) for p in points[1]]
    return there, back


def oracle_percentile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    place = q / 100 * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


@given(mask_pairs(), SPACINGS, st.floats(0, 5))
@settings(max_examples=150, deadline=None)
def test_surface_metrics_equal_brute_force(pair: tuple[Mask, Mask], spacing: tuple[float, ...], tolerance: float):
    spacing_mm = (spacing[0], spacing[1], spacing[2])
    there, back = oracle_distances(*pair, spacing_mm)
    found = surface_distances(*pair, spacing_mm)
    assert sorted(found.to_reference) == pytest.approx(sorted(there))
    assert sorted(found.to_prediction) == pytest.approx(sorted(back))
    if not there:
        assert all(map(math.isnan, (found.hd95, found.hd95_pooled, found.assd, found.nsd(1), found.asd_to_reference)))
        return
    pooled = there + back
    assert found.hd95 == pytest.approx(max(oracle_percentile(there, 95), oracle_percentile(back, 95)))
    assert found.hd95_pooled == pytest.approx(oracle_percentile(pooled, 95))
    assert found.assd == pytest.approx(sum(pooled) / len(pooled))
    assert found.asd_to_reference == pytest.approx(sum(there) / len(there))
    if all(abs(d - tolerance) > 1e-9 for d in pooled):
        assert found.nsd(tolerance) == pytest.approx(sum(d <= tolerance for d in pooled) / len(pooled))


@given(mask_pairs())
@settings(max_examples=60, deadline=None)
def test_surface_equals_brute_force(pair: tuple[Mask, Mask]):
    assert sorted(map(tuple, np.argwhere(surface(pair[0])).tolist())) == sorted(oracle_surface(pair[0]))


@given(mask_pairs())
@settings(max_examples=100, deadline=None)
def test_dice_equals_sets(pair: tuple[Mask, Mask]):
    a, b = (set(map(tuple, np.argwhere(m).tolist())) for m in pair)
    if not a and not b:
        assert math.isnan(dice(*pair))
    else:
        assert dice(*pair) == pytest.approx(2 * len(a & b) / (len(a) + len(b)))


def blob(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> Mask:
    grid = np.indices(shape)
    wobble = 1 + 0.2 * np.sin(grid[0] / 3) * np.cos(grid[1] / 4)
    mask: Mask = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) < (radius * wobble) ** 2
    return mask


@pytest.fixture
def blobs() -> tuple[Mask, Mask]:
    return blob((30, 28, 24), (14, 13, 12), 8), blob((30, 28, 24), (16, 13, 11), 7)


def test_simpleitk_agrees(blobs: tuple[Mask, Mask]):
    spacing = (0.7, 1.3, 2.5)
    images = []
    for mask in blobs:
        image = sitk.GetImageFromArray(mask.astype(np.uint8).transpose(2, 1, 0))
        image.SetSpacing(spacing)
        images.append(image)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(images[0], images[1])
    assert dice(*blobs) == pytest.approx(overlap.GetDiceCoefficient())
    shape_filter = sitk.LabelShapeStatisticsImageFilter()
    shape_filter.Execute(images[0])
    assert volume_ml(blobs[0], spacing) == pytest.approx(shape_filter.GetPhysicalSize(1) / 1000)
    contours = [sitk.LabelContour(image, fullyConnected=False) for image in images]
    hausdorff = sitk.HausdorffDistanceImageFilter()
    hausdorff.Execute(contours[0], contours[1])
    found = surface_distances(*blobs, spacing)
    assert found.pooled.max() == pytest.approx(hausdorff.GetHausdorffDistance(), rel=1e-5)
    maps = [sitk.SignedMaurerDistanceMap(c, squaredDistance=False, useImageSpacing=True) for c in contours]
    edges = [sitk.GetArrayFromImage(c) > 0 for c in contours]
    there, back = (np.abs(sitk.GetArrayFromImage(maps[1 - side])[edges[side]]) for side in (0, 1))
    assert found.asd_to_reference == pytest.approx(there.mean(), rel=1e-5)
    assert found.assd == pytest.approx(np.concatenate([there, back]).mean(), rel=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_monai_agrees(blobs: tuple[Mask, Mask]):
    import torch
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.surface_dice import compute_surface_dice
    from monai.metrics.surface_distance import compute_average_surface_distance

    spacing = (0.7, 1.3, 2.5)
    a, b = (torch.from_numpy(np.stack([~m, m])[None].astype(np.float32)) for m in blobs)
    found = surface_distances(*blobs, spacing)
    hd95 = compute_hausdorff_distance(a, b, percentile=95, spacing=spacing).item()
    asd = compute_average_surface_distance(a, b, spacing=spacing).item()
    nsd = compute_surface_dice(a, b, class_thresholds=[1.5], spacing=spacing).item()
    assert found.hd95 == pytest.approx(hd95, rel=1e-4)
    assert found.asd_to_reference == pytest.approx(asd, rel=1e-4)
    assert found.nsd(1.5) == pytest.approx(nsd, rel=1e-4)


def cube(shape: tuple[int, int, int], low: tuple[int, int, int], high: tuple[int, int, int]) -> Mask:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def test_hand_counted_single_voxels_on_an_anisotropic_grid():
    a, b = cube((9, 9, 9), (1, 1, 1), (2, 2, 2)), cube((9, 9, 9), (4, 1, 5), (5, 2, 6))
    found = surface_distances(a, b, (1.0, 5.0, 1.0))  # 3 voxels of 1 mm and 4 of 1 mm: 5 mm
    assert (found.hd95, found.hd95_pooled, found.assd) == (5.0, 5.0, 5.0)
    assert found.nsd(4.99) == 0
    assert found.nsd(5.0) == 1
    assert surface_distances(a, b, (2.0, 5.0, 2.0)).assd == 10.0


def test_hand_counted_cube_surface_and_dice():
    a = cube((10, 10, 10), (2, 2, 2), (6, 6, 6))
    b = cube((10, 10, 10), (2, 2, 3), (6, 6, 7))
    assert surface(a).sum() == 4**3 - 2**3
    assert dice(a, b) == 2 * 48 / 128
    assert volume_ml(a, (0.5, 2.0, 3.0)) == 64 * 3 / 1000
    # Moved by one voxel along z: the two caps of 16 lie 1 off; each inner 2x2 of the overlap's caps lies 1 off its own.
    found = surface_distances(a, b, (1.0, 1.0, 1.0))
    assert found.to_reference.max() == 1.0
    assert sorted(found.to_reference) == [0.0] * 36 + [1.0] * 20


def test_hd95_modes_differ_on_the_same_masks():
    a = cube((40, 6, 6), (0, 0, 0), (20, 4, 4))
    b = a | cube((40, 6, 6), (20, 0, 0), (36, 1, 1))
    found = surface_distances(a, b, UNIT)
    there, back = oracle_distances(a, b, UNIT)
    assert found.hd95 == pytest.approx(oracle_percentile(back, 95))
    assert found.hd95_pooled == pytest.approx(oracle_percentile(there + back, 95))
    assert found.hd95 > found.hd95_pooled


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_single_slice_is_scored_by_its_contour(axis: int):
    a, b = np.zeros((12, 12), bool), np.zeros((12, 12), bool)
    a[2:9, 2:9] = True
    b[3:8, 3:8] = True
    a3, b3 = np.expand_dims(a, axis), np.expand_dims(b, axis)
    assert surface(a3).sum() == 24
    thick = (np.insert([1.0, 1.0], axis, 50.0)).tolist()
    found = surface_distances(a3, b3, (thick[0], thick[1], thick[2]))
    assert found.hd95 == pytest.approx(math.sqrt(2))
    assert found.assd == pytest.approx((16 + 20 * 1 + 4 * math.sqrt(2)) / 40)
    assert image_diagonal_mm(a3.shape, (thick[0], thick[1], thick[2])) == pytest.approx(12 * math.sqrt(2))


def test_a_border_with_unjudged_voxels_is_no_surface():
    a = cube((12, 8, 8), (0, 2, 2), (12, 6, 6))
    ignore = cube((12, 8, 8), (6, 0, 0), (12, 8, 8))
    kept = surface(a, ignore)
    assert not kept[6:].any()
    assert not kept[5, 3:5, 3:5].any()  # the cut face
    assert kept[0, 2:6, 2:6].all()  # the image's edge
    with_other_half = surface_distances(a, a | ignore, UNIT, ignore)
    assert with_other_half.pooled.max() == 0


def test_cropping_changes_nothing(blobs: tuple[Mask, Mask]):
    wide = [np.pad(m, ((40, 3), (0, 25), (11, 0))) for m in blobs]
    assert surface_distances(*blobs, UNIT).assd == surface_distances(wide[0], wide[1], UNIT).assd


def test_masks_on_different_grids_are_refused():
    with pytest.raises(InputError, match=r"\(2, 3, 4\) and \(2, 3, 5\)"):
        dice(np.zeros((2, 3, 4), bool), np.zeros((2, 3, 5), bool))
    with pytest.raises(InputError, match="one grid"):
        surface_distances(np.zeros((2, 3), bool), np.zeros((2, 3), bool), UNIT)
