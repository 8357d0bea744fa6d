"""Geometry and Volume: the two value objects that carry a scan through the program.

The affine is applied here and nowhere else. World coordinates are RAS+ millimetres, as NIfTI and nibabel define them:
``world_mm = affine @ (i, j, k, 1)`` with voxel index ``(i, j, k)`` in file order and the index at the voxel's centre.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from nibabel.orientations import aff2axcodes, inv_ornt_aff, io_orientation
from numpy.typing import NDArray

from maskmatch_med.errors import InputError

Shape3 = tuple[int, int, int]
Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where the voxels of one grid lie.

    Args:
        shape: voxels along each array axis (X, Y, Z).
        affine: (4, 4) float64, voxel index to RAS+ world position in mm.
        space: what the world is, as NIfTI's xform codes say it: 1 the scanner's, 2 another scan's, 3 Talairach's, 4
            MNI's, 5 another template's. What is written on this grid says the same.

    Raises:
        InputError: the shape is not three positive numbers, or the affine is not a finite invertible (4, 4) matrix.
    """

    shape: Shape3
    affine: NDArray[np.float64]
    space: int = 1

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise InputError(f"a scan needs three axes of at least one voxel, got shape {tuple(self.shape)}")
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise InputError(f"the affine must be a finite 4x4 matrix, got {affine.tolist()}")
        with np.errstate(all="ignore"):
            volume_mm3 = abs(np.linalg.det(affine[:3, :3]))
        if not 1e-12 <= volume_mm3 < np.inf:
            raise InputError(f"the affine is singular, voxels would have no volume: {affine.tolist()}")
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along each array axis, in mm."""
        sizes = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(sizes[0]), float(sizes[1]), float(sizes[2])

    @property
    def axis_codes(self) -> str:
        """The world direction in which each array axis mostly grows, such as ``"RAS"`` or ``"LPI"``."""
        return "".join(aff2axcodes(self.affine))

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel in cubic millimetres."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def same_grid(self, other: Geometry, tolerance_mm: float = 1e-2) -> bool:
        """Whether both grids have the same shape and no corner voxel lies further apart than ``tolerance_mm``."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij")).reshape(3, -1)
        difference = (self.affine - other.affine)[:3]
        offsets = difference[:, :3] @ corners + difference[:, 3:]
        return bool(np.linalg.norm(offsets, axis=0).max() <= tolerance_mm)

    def to_canonical(self) -> Orientation:
        """The exact flips and axis permutation that bring this grid closest to RAS+."""
        ornt = io_orientation(self.affine)
        axes, flips = ornt[:, 0].astype(int), ornt[:, 1] < 0
        return Orientation(self, tuple(axes.tolist()), tuple(flips.tolist()))


@dataclass(frozen=True)
class Orientation:
    """A permutation and flips of array axes, with its exact inverse. No voxel value is ever interpolated.

    Args:
        source: the grid before :meth:`apply`.
        target_axis: for each source axis, the axis it becomes.
        flipped: for each source axis, whether it is reversed.
    """

    source: Geometry
    target_axis: tuple[int, ...]
    flipped: tuple[bool, ...]

    @property
    def target(self) -> Geometry:
        """The grid after :meth:`apply`."""
        ornt = np.array([[axis, -1 if flip else 1] for axis, flip in zip(self.target_axis, self.flipped, strict=True)])
        shape = [self.source.shape[self.target_axis.index(axis)] for axis in range(3)]
        affine = self.source.affine @ inv_ornt_aff(ornt, self.source.shape)
        return Geometry((shape[0], shape[1], shape[2]), affine, self.source.space)

    def apply(self, array: Array) -> Array:
        """Turn an array (..., X, Y, Z) of the source grid to the target grid; a view."""
        lead = array.ndim - 3
        order = [lead + self.target_axis.index(axis) for axis in range(3)]
        return self._flip(array).transpose(*range(lead), *order)

    def invert(self, array: Array) -> Array:
        """Turn an array (..., X, Y, Z) of the target grid back to the source grid; a view."""
        lead = array.ndim - 3
        return self._flip(array.transpose(*range(lead), *[lead + axis for axis in self.target_axis]))

    def _flip(self, array: Array) -> Array:
        steps: tuple[Any, ...] = tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)
        return array[(..., *steps)]


@dataclass(frozen=True, eq=False)
class Volume:
    """A scan: intensities on a grid.

    Args:
        array: (C, X, Y, Z) float32, one entry a channel, in file order.
        geometry: the grid that all channels share.

    Raises:
        InputError: array and geometry disagree about the shape.
    """

    array: NDArray[np.float32]
    geometry: Geometry

    def __post_init__(self) -> None:
        array = np.asarray(self.array, dtype=np.float32)
        if array.ndim != 4 or array.shape[1:] != self.geometry.shape:
            raise InputError(f"a scan needs an array (C, X, Y, Z) on {self.geometry.shape}, got shape {array.shape}")
        object.__setattr__(self, "array", array)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.array.shape[0])

    @property
    def is_finite(self) -> bool:
        """Whether no voxel is NaN or infinite; found without a second array of the scan's size."""
        with np.errstate(invalid="ignore"):
            return bool(np.isfinite(self.array.sum(dtype=np.float64)))
