"""The affine view against coordinates worked out by hand: an image that holds its own position cannot lie."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskmatch_med.config import SpatialConfig
from maskmatch_med.views import SpatialDraw, apply_spatial, draw_spatial, source_shape

Array = NDArray[np.float64]
SPACINGS = [(1.0, 1.0), (0.5, 1.2), (1.0, 1.0, 1.0), (0.8, 0.8, 2.0), (0.7, 0.7, 5.0), (4.0, 0.9, 0.9)]
WILD = SpatialConfig(rotation_degrees=60, rotation_probability=1, zoom=(0.7, 1.5), zoom_probability=1)
STILL = SpatialConfig(rotation_probability=0, zoom_probability=0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def coordinates(batch: int, shape: tuple[int, ...]) -> torch.Tensor:
    """(B, D, *shape): channel a holds the offset from the centre along axis a, in voxels."""
    axes = [np.arange(n) - (n - 1) / 2 for n in shape]
    grid = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    return torch.from_numpy(np.repeat(grid[None], batch, 0))


def expected_offsets(matrix: Array, patch: tuple[int, ...]) -> Array:
    """(D, *patch): where each voxel of the view comes from, one voxel at a time."""
    found = np.zeros((len(patch), *patch))
    for voxel in product(*map(range, patch)):
        offset = np.array([v - (n - 1) / 2 for v, n in zip(voxel, patch, strict=True)])
        found[(slice(None), *voxel)] = matrix @ offset
    return found


def within(offsets: Array, source: tuple[int, ...], margin: float = 0.0) -> NDArray[np.bool_]:
    limit = np.array([(n - 1) / 2 - margin for n in source]).reshape(-1, *[1] * len(source))
    return np.asarray((np.abs(offsets) <= limit).all(0))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_image_label_and_validity_follow_the_same_map(spacing: tuple[float, ...], seed: int) -> None:
    dims = len(spacing)
    patch, source = ((12, 9), (21, 18)) if dims == 2 else ((8, 7, 6), (15, 14, 11))
    draw = draw_spatial(3, spacing, range(dims), WILD, generator(seed))
    image = coordinates(3, source)
    labels = torch.from_numpy(np.rint(image.numpy() * 2))
    inside = torch.ones(3, 1, *source)
    inside[:, :, : source[0] // 2] = 0
    got = apply_spatial(image, draw, patch)
    got_labels = apply_spatial(labels, draw, patch, nearest=True)
    got_inside = apply_spatial(inside, draw, patch, nearest=True)
    assert got.shape == (3, dims, *patch)
    for item in range(3):
        wanted = expected_offsets(draw.matrix[item].double().numpy(), patch)
        sure = within(wanted, source, 1e-3)
        assert sure.any()
        np.testing.assert_allclose(got[item].numpy()[:, sure], wanted[:, sure], atol=1e-4)
        np.testing.assert_allclose(got_labels[item].numpy()[:, sure] / 2, wanted[:, sure], atol=0.5 + 1e-3)
        index = wanted[0] + (source[0] - 1) / 2
        clear = sure & (np.abs(index - source[0] // 2 + 0.5) > 1e-3)
        np.testing.assert_array_equal(got_inside[item, 0].numpy()[clear], index[clear] > source[0] // 2 - 0.5)


def test_places_are_exact_in_mixed_precision_too() -> None:
    image = coordinates(1, (200, 200))
    draw = draw_spatial(1, (1.0, 1.0), (), WILD, generator(3))
    exact = apply_spatial(image, draw, (100, 100))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(apply_spatial(image, draw, (100, 100)), exact)


def test_nothing_is_seen_beyond_the_source() -> None:
    draw = SpatialDraw(torch.eye(2)[None] * 3)
    view = apply_spatial(torch.ones(1, 1, 8, 8), draw, (8, 8), nearest=True)[0, 0].numpy()
    offsets = expected_offsets(np.eye(2) * 3, (8, 8))
    np.testing.assert_array_equal(view > 0, (np.abs(offsets) < 4).all(0))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 11), min_size=2, max_size=3), st.floats(1.0, 2.2))
def test_identity_copies_voxels_for_odd_and_even_patches(edges: list[int], widest: float) -> None:
    patch = tuple(edges)
    source = source_shape(patch, widest)
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 1, *source)).astype(np.float32))
    labels = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (2, 1, *source)).astype(np.float32))
    crop = tuple(slice((s - p) // 2, (s - p) // 2 + p) for s, p in zip(source, patch, strict=True))
    draw = SpatialDraw.identity(2, len(patch))
    np.testing.assert_allclose(apply_spatial(image, draw, patch).numpy(), image.numpy()[(..., *crop)], atol=1e-5)
    np.testing.assert_array_equal(apply_spatial(labels, draw, patch, nearest=True), labels[(..., *crop)])


@pytest.mark.parametrize("nearest", [True, False])
@pytest.mark.parametrize("patch", [(6, 5), (6, 5, 4)])
def test_mirrored_views_among_turned_ones_are_what_interpolation_gives(patch: tuple[int, ...], nearest: bool) -> None:
    """Each view of a mixed batch is what it is alone, and a copied one is what a map that just misses it gives."""
    torch.manual_seed(0)
    source = torch.randn(4, 2, *source_shape(patch, 1.8))
    mirrored = torch.diag(torch.tensor([-1.0, *[1.0] * (len(patch) - 1)]))
    backwards = -torch.eye(len(patch))
    turned = torch.eye(len(patch)) * 0.8 + 0.1
    maps = torch.stack([mirrored, turned, torch.eye(len(patch)), backwards])
    views = apply_spatial(source, SpatialDraw(maps), patch, nearest=nearest)
    nearly = apply_spatial(source, SpatialDraw(maps * (1 + 1e-6)), patch, nearest=nearest)
    copied = [0, 2, 3]
    torch.testing.assert_close(views[copied], nearly[copied], atol=1e-4, rtol=1e-4)
    for item in range(4):
        one = slice(item, item + 1)
        alone = apply_spatial(source[one], SpatialDraw(maps[one]), patch, nearest=nearest)
        torch.testing.assert_close(views[one], alone)


@given(st.integers(1, 300), st.floats(0.3, 3.0))
def test_source_is_the_smallest_of_the_patchs_parity_that_holds_it(edge: int, widest: float) -> None:
    (found,) = source_shape((edge,), widest)
    assert (found - edge) % 2 == 0
    assert found >= edge * max(widest, 1.0) - 1e-6
    assert found - 2 < edge * max(widest, 1.0) + 1e-6 or found == edge


def test_identity_draw_comes_out_when_nothing_is_likely() -> None:
    draw = draw_spatial(2, (1.0, 3.0, 1.0), (), STILL, generator())
    np.testing.assert_array_equal(draw.matrix, np.stack([np.eye(3)] * 2))


@pytest.mark.parametrize("spacing", SPACINGS)
def test_rotation_is_rigid_in_millimetres(spacing: tuple[float, ...]) -> None:
    config = SpatialConfig(rotation_degrees=40, rotation_probability=1, zoom_probability=0)
    draw = draw_spatial(20, spacing, (), config, generator(4))
    millimetres = np.diag(spacing)
    turned = 0
    for matrix in draw.matrix.double().numpy():
        rotation = millimetres @ matrix @ np.linalg.inv(millimetres)
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(len(spacing)), atol=1e-5)
        assert np.linalg.det(rotation) == pytest.approx(1, abs=1e-5)
        turned += not np.allclose(rotation, np.eye(len(spacing)), atol=1e-3)
    assert turned == 20


def test_rotation_stays_in_the_fine_plane_when_slices_are_thick() -> None:
    config = SpatialConfig(rotation_degrees=90, rotation_probability=1, zoom_probability=0)
    thick = draw_spatial(10, (0.7, 0.7, 5.0), (), config, generator()).matrix.numpy()
    np.testing.assert_allclose(thick[:, 2, :], [[0, 0, 1]] * 10, atol=1e-6)
    np.testing.assert_allclose(thick[:, :, 2], [[0, 0, 1]] * 10, atol=1e-6)
    fine = draw_spatial(10, (0.7, 0.7, 2.0), (), config, generator()).matrix.numpy()
    assert (np.abs(fine[:, 2, :2]).max(1) > 1e-3).any()


def test_angle_and_zoom_stay_in_their_range_and_fill_it() -> None:
    config = SpatialConfig(rotation_degrees=30, rotation_probability=1, zoom=(0.8, 1.25), zoom_probability=1)
    matrices = draw_spatial(300, (1.0, 1.0), (), config, generator(7)).matrix.double().numpy()
    zooms = 1 / np.sqrt(np.linalg.det(matrices))
    angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    for values, low, high in ((zooms, 0.8, 1.25), (angles, -30, 30)):
        assert low - 1e-3 <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high + 1e-3


def test_probabilities_are_kept() -> None:
    config = SpatialConfig(rotation_degrees=30, rotation_probability=0.25, zoom=(0.8, 1.25), zoom_probability=0.0)
    matrices = draw_spatial(800, (1.0, 1.0), (), config, generator(1)).matrix
    share = (matrices != torch.eye(2)).flatten(1).any(1).double().mean()
    assert share == pytest.approx(0.25, abs=5 * math.sqrt(0.25 * 0.75 / 800))


def test_mirroring_touches_only_the_axes_that_allow_it() -> None:
    matrices = draw_spatial(200, (1.0, 1.0, 1.0), (0, 2), STILL, generator(3)).matrix.numpy()
    signs = np.stack([np.diag(matrix) for matrix in matrices])
    assert (np.abs(matrices) == np.eye(3)).all()
    assert set(map(tuple, signs)) == {(a, 1.0, c) for a in (-1.0, 1.0) for c in (-1.0, 1.0)}
    np.testing.assert_allclose((signs < 0).mean(0), [0.5, 0, 0.5], atol=0.2)


def test_mirroring_reverses_the_array() -> None:
    image = torch.arange(2 * 5 * 4, dtype=torch.float32).reshape(1, 2, 5, 4)
    draw = SpatialDraw(torch.diag(torch.tensor([-1.0, 1.0]))[None])
    np.testing.assert_allclose(apply_spatial(image, draw, (5, 4)), image.numpy()[:, :, ::-1], atol=1e-4)


def test_one_seed_one_draw() -> None:
    first, same, other = (draw_spatial(4, (1.0, 2.0), (0,), WILD, generator(s)).matrix for s in (5, 5, 6))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("factors", [(0.7, 0.7), (1.5, 1.5), (1.5, 1.5, 1.0), (0.5, 1.0, 2.0)])
def test_zoomed_sees_one_over_the_factor_along_the_views_own_axes(factors: tuple[float, ...]) -> None:
    dims = len(factors)
    draw = draw_spatial(2, (1.0, 1.3, 0.9)[:dims], range(dims), WILD, generator(2))
    wide = draw.zoomed(factors)
    for item in range(2):
        for axis in range(dims):
            step = np.zeros(dims)
            step[axis] = factors[axis]
            np.testing.assert_allclose(
                wide.matrix[item].double().numpy() @ step, draw.matrix[item].double().numpy()[:, axis], atol=1e-5
            )


def test_zoomed_below_one_shows_more_and_above_one_shows_finer() -> None:
    source = coordinates(1, (40, 40))
    still = SpatialDraw.identity(1, 2)
    spans = {f: float(apply_spatial(source, still.zoomed((f, f)), (16, 16))[0, 0].max()) for f in (0.5, 1.0, 1.5)}
    assert spans == pytest.approx({0.5: 15.0, 1.0: 7.5, 1.5: 5.0}, abs=1e-4)
