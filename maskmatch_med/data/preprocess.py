"""From a scan in file order to network input, with the record of how to get back.

The order is nnU-Net's: orient, normalise on the scan's own grid, resample once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.data.resample import (
    axis_orders,
    resample,
    resample_labels,
    resampled_shape,
)
from maskmatch_med.errors import InputError
from maskmatch_med.io.labels import UNJUDGED, LabelMap
from maskmatch_med.planning.plan import ChannelNormalisation, Plan
from maskmatch_med.volume import Array, Geometry, Orientation, Volume

IMAGE_ORDER, LABEL_ORDER = 3, 1
CLIP_PERCENTILES = (0.05, 99.95)
RESCALE_PERCENTILES = (0.5, 99.5)
_PERCENTILE_SAMPLE = 4_000_000
_PART = 2**20


@dataclass(frozen=True)
class GridRecord:
    """Where a preprocessed scan came from, enough to bring a result back onto the source's grid.

    Args:
        orientation: file order to the closest canonical (RAS+) order; exact.
        dropped_axis: the singleton canonical axis that a 2D plan leaves out, or None.
        shape: voxels on the scan's own grid, canonical order, without the dropped axis.
        spacing_mm: spacing of that grid.
        plan_shape: voxels at the plan's spacing.
    """

    orientation: Orientation
    dropped_axis: int | None
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    plan_shape: tuple[int, ...]

    def to_canonical(self, array: Array) -> Array:
        """Turn an array (..., X, Y, Z) in file order into (..., *shape); contiguous."""
        return np.ascontiguousarray(self.canonical_view(array))

    def canonical_view(self, array: Array) -> Array:
        """An array (..., X, Y, Z) in file order seen as (..., *shape): what is written into it lands in the array."""
        turned = self.orientation.apply(array)
        if self.dropped_axis is not None:
            turned = turned.squeeze(axis=turned.ndim - 3 + self.dropped_axis)
        return turned

    def to_native(self, array: Array) -> Array:
        """Turn an array (..., *shape) back into file order (..., X, Y, Z); contiguous, no value changes."""
        if self.dropped_axis is not None:
            array = np.expand_dims(array, array.ndim - 2 + self.dropped_axis)
        return np.ascontiguousarray(self.orientation.invert(array))


@dataclass(frozen=True, eq=False)
class Preprocessed:
    """Network input.

    Args:
        image: (C, *grid.plan_shape) float32, normalised, at the plan's spacing.
        grid: how to get back.
    """

    image: NDArray[np.float32]
    grid: GridRecord


def preprocess(volume: Volume, plan: Plan) -> Preprocessed:
    """Bring a scan to the plan's orientation, normalisation and spacing.

    Images are resampled with cubic splines, a coarse axis with nearest neighbour; an axis already at the plan's spacing
    (within 0.1 %) is not touched.

    Raises:
        InputError: the scan has another number of channels than the plan, no finite value, or no singleton axis for a
            2D plan.
    """
    grid = grid_record(volume.geometry, plan)
    image = normalised(volume, plan, grid)
    orders = axis_orders(grid.spacing_mm, plan.spacing_mm, IMAGE_ORDER)
    return Preprocessed(resample(image, grid.plan_shape, orders), grid)


def preprocess_labels(labels: LabelMap, plan: Plan) -> NDArray[np.uint8]:
    """Bring a label map to the grid that :func:`preprocess` gives the scan it belongs to.

    Shares of the classes are interpolated linearly and the largest wins; 255 (not judged) goes by the nearest voxel.

    Returns:
        (*plan_shape) uint8.

    Raises:
        InputError: a value is neither a label of the plan nor 255, or there is no singleton axis for a 2D plan.
    """
    known = np.array([*plan.label_names.values(), UNJUDGED])
    unknown = np.setdiff1d(np.unique(labels.array), known)
    if unknown.size:
        names = ", ".join(f"{value} {name}" for name, value in plan.label_names.items())
        raise InputError(f"label {', '.join(map(str, unknown))} is not among the declared ones ({names})")
    grid = grid_record(labels.geometry, plan)
    orders = axis_orders(grid.spacing_mm, plan.spacing_mm, LABEL_ORDER)
    return np.ascontiguousarray(resample_labels(grid.to_canonical(labels.array), grid.plan_shape, orders))


def grid_record(geometry: Geometry, plan: Plan) -> GridRecord:
    """The record for a scan on ``geometry`` under ``plan``.

    Raises:
        InputError: the plan is 2D and the scan has no axis of one voxel.
    """
    orientation = geometry.to_canonical()
    target = orientation.target
    dropped = _singleton_axis(target) if plan.spatial_dims == 2 else None
    keep = [axis for axis in range(3) if axis != dropped]
    shape = tuple(target.shape[axis] for axis in keep)
    spacing = tuple(target.spacing_mm[axis] for axis in keep)
    return GridRecord(orientation, dropped, shape, spacing, resampled_shape(shape, spacing, plan.spacing_mm))


def normalised(volume: Volume, plan: Plan, grid: GridRecord) -> NDArray[np.float32]:
    """The scan in canonical order on its own grid, every channel normalised: (C, *grid.shape) float32, always a copy.

    Raises:
        InputError: another number of channels than the plan has, or a channel without any finite value.
    """
    if volume.channels != len(plan.channel_names):
        raise InputError(
            f"the scan has {volume.channels} channels, but the plan was made for {len(plan.channel_names)} "
            f"({', '.join(plan.channel_names)}): give one image for each"
        )
    out = np.empty((volume.channels, *grid.shape), dtype=np.float32)
    for index, (channel, how) in enumerate(zip(volume.array, plan.normalisation, strict=True)):
        try:
            out[index] = grid.canonical_view(channel)
            _normalise(out[index], how)
        except InputError as error:
            raise InputError(f"channel {index} ({plan.channel_names[index]}): {error}") from error
    return out


def normalise_channel(channel: NDArray[np.float32], how: ChannelNormalisation) -> NDArray[np.float32]:
    """Normalise one channel.

    Voxels that are NaN or infinite take the median of the finite ones first. ``zscore`` clips the scan to its own
    percentiles 0.05 and 99.95 before mean and standard deviation are taken, so that a few damaged voxels (values of a
    million have been met in public data) cannot flatten all the others. ``ct`` clips to the plan's range. ``rescale``
    clips to the percentiles 0.5 and 99.5. Percentiles of more than 4 million voxels come from an evenly spaced sample.
    A constant channel becomes 0.

    Args:
        channel: (*spatial) float32.
        how: the scheme and its numbers.

    Returns:
        (*spatial) float32.

    Raises:
        InputError: no voxel is finite.
    """
    out = np.array(channel, dtype=np.float32, order="C")
    _normalise(out, how)
    return out


def _normalise(values: NDArray[np.float32], how: ChannelNormalisation) -> None:
    """:func:`normalise_channel` in place, with no second array of the scan's size."""
    flat = values.reshape(-1)
    _fill(flat)
    if how.scheme == "ct":
        low, high, shift, width = how.low, how.high, how.mean, how.std
    else:
        limits = CLIP_PERCENTILES if how.scheme == "zscore" else RESCALE_PERCENTILES
        low, high = np.percentile(_sample(flat), limits).astype(np.float32)
    np.clip(flat, np.float32(low), np.float32(high), out=flat)
    if how.scheme == "rescale":
        shift, width = float(low), max(float(high - low), 1e-8)
    elif how.scheme == "zscore":
        shift = float(flat.mean(dtype=np.float64))
        squares = sum(float(((part - shift) ** 2).sum()) for part in _parts(flat))
        width = max(math.sqrt(squares / flat.size), 1e-8)
    flat -= np.float32(shift)
    flat /= np.float32(width)


def _fill(flat: NDArray[np.float32]) -> None:
    """Replace every NaN or infinite value by the median of the finite ones."""
    if all(np.isfinite(part).all() for part in _parts(flat, np.float32)):
        return
    finite = np.isfinite(flat)
    if not finite.any():
        raise InputError("no voxel has a finite value: the file is empty or damaged")
    flat[~finite] = np.median(flat[finite])


def _parts(flat: NDArray[np.float32], dtype: type[np.floating[Any]] = np.float64) -> Iterator[NDArray[Any]]:
    """The values, some at a time, in another precision."""
    for start in range(0, flat.size, _PART):
        yield flat[start : start + _PART].astype(dtype, copy=False)


def _sample(flat: NDArray[np.float32]) -> NDArray[np.float32]:
    """At most about 4 million values, evenly spaced (an odd step, so that it does not follow an even row length)."""
    return flat[:: flat.size // _PERCENTILE_SAMPLE | 1]


def _singleton_axis(geometry: Geometry) -> int:
    """The axis of one voxel; of several the one with the largest spacing, then the last."""
    axes = [axis for axis in range(3) if geometry.shape[axis] == 1]
    if not axes:
        raise InputError(
            f"the plan is for 2D images, but the scan has shape {geometry.shape} with no axis of one voxel"
        )
    return max(axes, key=lambda axis: (geometry.spacing_mm[axis], axis))
