"""Resampling between grids that cover the same field of view.

One convention holds everywhere: ``out = round(in * in_spacing / out_spacing)`` voxels, and output voxel ``i`` lies at
input coordinate ``(i + 0.5) * in / out - 0.5`` (half-voxel centres: the outer faces of both grids coincide, the first
and last voxel *centres* do not). This is what ``torch.nn.functional.interpolate(align_corners=False)`` and
``scipy.ndimage.zoom(grid_mode=True, mode="nearest")`` do. Beyond the outermost centres the edge value is continued.

Interpolation with splines is separable, so a grid is resampled one axis at a time by a small matrix; each axis may have
its own order, which is how the coarse axis of an anisotropic scan is handled apart, as nnU-Net does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom

from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.volume import Array

EQUAL_SPACING = 1e-3
"""Spacings that differ by less than this fraction count as equal: the axis is then left untouched."""
ANISOTROPY = 3.0
"""An axis is coarse when its spacing is more than this many times the finest one (nnU-Net's value)."""

_NEGLIGIBLE = 1e-8


def resampled_shape(shape: Sequence[int], spacing_mm: Sequence[float], target_mm: Sequence[float]) -> tuple[int, ...]:
    """Voxels along each axis (at least one) of a grid brought from ``spacing_mm`` to ``target_mm``."""
    return tuple(
        n if abs(s / t - 1) < EQUAL_SPACING else max(1, round(n * s / t))
        for n, s, t in zip(shape, spacing_mm, target_mm, strict=True)
    )


def axis_orders(spacing_mm: Sequence[float], target_mm: Sequence[float], order: int) -> tuple[int, ...]:
    """The spline order along each axis: ``order``, but nearest neighbour (0) along an axis that is coarse.

    An axis is coarse when its spacing is more than three times the finest one, in the grid that is left or, when that
    one is not anisotropic, in the grid that is made.
    """
    for spacing in (spacing_mm, target_mm):
        finest = min(spacing)
        if max(spacing) > ANISOTROPY * finest:
            return tuple(0 if s > ANISOTROPY * finest else order for s in spacing)
    return (order,) * len(spacing_mm)


def resample(image: Array, shape: Sequence[int], orders: Sequence[int]) -> NDArray[np.float32]:
    """Bring an image to another number of voxels over the same field of view.

    Args:
        image: (C, *spatial), any real type, finite.
        shape: voxels wanted along each spatial axis.
        orders: spline order along each spatial axis: 0 nearest, 1 linear, 3 cubic.

    Returns:
        (C, *shape) float32; the image itself, uncopied where it is float32 already, when no axis changes.
    """
    out = np.asarray(image, dtype=np.float32)
    by_shrinkage = sorted(range(len(shape)), key=lambda axis: shape[axis] / image.shape[axis + 1])
    for axis in by_shrinkage:
        size_in, size_out = image.shape[axis + 1], int(shape[axis])
        if size_in == size_out:
            continue
        if orders[axis] == 0:
            out = np.take(out, nearest_index(size_in, size_out), axis=axis + 1)
        else:
            out = _along_axis(out, axis_matrix(size_in, size_out, orders[axis]), axis + 1)
    return out


def resample_rows(image: Array, shape: Sequence[int], orders: Sequence[int], rows: slice) -> NDArray[np.float32]:
    """Some rows of what :func:`resample` gives, made from no more of the image than they need.

    A spline reaches over the whole axis, but what lies further than some twenty voxels counts for less than a hundred
    millionth, and is left out.

    Args:
        image: (C, *spatial), as for ``resample``.
        shape: voxels of the whole result along each spatial axis.
        orders: spline order along each spatial axis.
        rows: of the result's first spatial axis, with start and stop.

    Returns:
        (C, rows, *shape[1:]) float32.
    """
    size_in, size_out = image.shape[1], int(shape[0])
    if size_in == size_out:
        part = np.asarray(image[:, rows], dtype=np.float32)
    elif orders[0] == 0:
        part = np.take(image, nearest_index(size_in, size_out)[rows], axis=1).astype(np.float32, copy=False)
    else:
        matrix = axis_matrix(size_in, size_out, orders[0])[rows]
        reached = np.flatnonzero((np.abs(matrix) > _NEGLIGIBLE).any(axis=0))
        low, high = int(reached[0]), int(reached[-1]) + 1
        part = _along_axis(np.asarray(image[:, low:high], dtype=np.float32), matrix[:, low:high], 1)
    return resample(part, (part.shape[1], *shape[1:]), orders)


def resample_labels(labels: NDArray[np.uint8], shape: Sequence[int], orders: Sequence[int]) -> NDArray[np.uint8]:
    """Bring a label map to another number of voxels: every class's share is interpolated, the largest share wins.

    A voxel is unjudged (255) exactly when the nearest input voxel is; unjudged voxels give no share to any class. Of
    equal shares the lower class value wins.

    Args:
        labels: (*spatial) uint8.
        shape: voxels wanted along each axis.
        orders: interpolation order along each axis, 0 or 1.

    Returns:
        (*shape) uint8.
    """
    if tuple(shape) == labels.shape:
        return labels
    best = np.zeros(tuple(shape), dtype=np.float32)
    out = np.zeros(tuple(shape), dtype=np.uint8)
    for value in np.unique(labels):
        if value != UNJUDGED:
            share = resample((labels == value)[None], shape, orders)[0]
            wins = share > best + 1e-6
            out[wins], best[wins] = value, share[wins]
    nearest = labels
    for axis, size in enumerate(shape):
        nearest = np.take(nearest, nearest_index(labels.shape[axis], size), axis=axis)
    out[nearest == UNJUDGED] = UNJUDGED
    return out


def nearest_index(size_in: int, size_out: int) -> NDArray[np.intp]:
    """For each of ``size_out`` voxels the input voxel whose cell holds its centre; on a face the upper one."""
    position = (2 * np.arange(size_out) + 1) * size_in // (2 * size_out)
    return np.minimum(position, size_in - 1).astype(np.intp)


@lru_cache(maxsize=64)
def axis_matrix(size_in: int, size_out: int, order: int) -> NDArray[np.float32]:
    """The (size_out, size_in) matrix that resamples one axis: the response of the spline to each unit impulse."""
    matrix = np.empty((size_out, size_in), dtype=np.float32)
    for index in range(size_in):
        unit = np.zeros(size_in)
        unit[index] = 1
        matrix[:, index] = zoom(unit, size_out / size_in, order=order, mode="nearest", grid_mode=True)
    matrix.setflags(write=False)
    return matrix


def _along_axis(array: NDArray[np.float32], matrix: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Apply ``matrix`` (out, in) along one axis of an array."""
    before = int(np.prod(array.shape[:axis]))
    blocks = np.ascontiguousarray(array).reshape(before, array.shape[axis], -1)
    out = blocks[:, :, 0] @ matrix.T if blocks.shape[2] == 1 else np.matmul(matrix, blocks)
    return np.ascontiguousarray(out).reshape(*array.shape[:axis], matrix.shape[0], *array.shape[axis + 1 :])
