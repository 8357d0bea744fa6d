"""Overlap and surface metrics of one binary mask against another, in millimetres.

Definitions, the same for 2D and 3D:

- Surface: the mask's voxels that have a face neighbour outside the mask, or lie at the edge of the image. An axis of a
  single voxel has no inside and is left out, so a single slice is scored by its contour within the plane. A border
  between the mask and voxels that nobody judged is unknown, not a surface.
- Directed distances: from each surface voxel's centre of one mask to the nearest surface voxel's centre of the other,
  exact and in mm. They are found by a nearest-neighbour tree over the surface points, which equals the distance
  transform at those voxels and needs no array of the image's size.
- HD95: the larger of the two directed 95th percentiles (linear interpolation), as MONAI defines it.
- ASSD: the mean over both directed sets pooled.
- NSD (normalised surface Dice): the fraction of both surfaces' voxels that lie within the tolerance of the other
  surface (Nikolov et al., arXiv 1809.04430, with surface voxels counted rather than their area).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from maskmatch_med.errors import InputError

Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]
_ROUNDING = 1e-5


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances between the surfaces of two masks.

    Args:
        to_reference: (N,) float64, from each surface voxel of the prediction to the reference's surface.
        to_prediction: (M,) float64, from each surface voxel of the reference to the prediction's surface.
            Both are empty where either mask has no surface.
    """

    to_reference: NDArray[np.float64]
    to_prediction: NDArray[np.float64]

    @property
    def pooled(self) -> NDArray[np.float64]:
        """Both directed sets in one array (N + M,)."""
        return np.concatenate([self.to_reference, self.to_prediction])

    @property
    def hd95(self) -> float:
        """The larger of the two directed 95th percentiles; NaN without a surface."""
        if self._is_empty:
            return float("nan")
        return float(max(np.percentile(self.to_reference, 95), np.percentile(self.to_prediction, 95)))

    @property
    def hd95_pooled(self) -> float:
        """The 95th percentile of both sets pooled, as medpy has it; NaN without a surface."""
        return float("nan") if self._is_empty else float(np.percentile(self.pooled, 95))

    @property
    def assd(self) -> float:
        """The mean of both sets pooled; NaN without a surface."""
        return float("nan") if self._is_empty else float(self.pooled.mean())

    @property
    def asd_to_reference(self) -> float:
        """The mean from the prediction's surface to the reference's, as medpy's ``asd``; NaN without a surface."""
        return float("nan") if self._is_empty else float(self.to_reference.mean())

    def nsd(self, tolerance: float) -> float:
        """The fraction of both surfaces within ``tolerance`` (same unit as the distances); NaN without a surface.

        A distance of just the tolerance is within it: headers hold a spacing of 1 mm as 0.9999999 or 1.0000001.
        """
        return float("nan") if self._is_empty else float((self.pooled <= tolerance * (1 + _ROUNDING)).mean())

    @property
    def _is_empty(self) -> bool:
        return self.to_reference.size == 0 or self.to_prediction.size == 0


def dice(prediction: Mask, reference: Mask) -> float:
    """Dice overlap ``2|P and R| / (|P| + |R|)`` of two masks of one shape; NaN where both are empty."""
    _check_shapes(prediction, reference)
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(reference))
    if total == 0:
        return float("nan")
    return 2.0 * int(np.count_nonzero(prediction & reference)) / total


def volume_ml(mask: Mask, spacing_mm: Spacing) -> float:
    """Volume of a mask (X, Y, Z) in millilitres, its voxels counted as boxes of ``spacing_mm``."""
    return float(np.count_nonzero(mask) * np.prod(spacing_mm) / 1000.0)


def image_diagonal_mm(shape: tuple[int, ...], spacing_mm: Spacing) -> float:
    """Corner to corner of the image in mm, axes of a single voxel left out: longer than any distance within it."""
    edges = [n * step for n, step in zip(shape, spacing_mm, strict=True) if n > 1]
    return float(np.linalg.norm(edges)) if edges else float(np.linalg.norm(spacing_mm))


def surface(mask: Mask, ignore: Mask | None = None) -> Mask:
    """The surface voxels of a mask (X, Y, Z), as this module's heading defines them.

    Args:
        mask: the structure.
        ignore: voxels that nobody judged; none of them is in the result.
    """
    unjudged = np.zeros_like(mask) if ignore is None else ignore
    axes = tuple(axis for axis, n in enumerate(mask.shape) if n > 1)
    inside = mask & ~unjudged
    if not axes:
        return inside
    flat_shape = tuple(mask.shape[axis] for axis in axes)
    filled = (mask | unjudged).reshape(flat_shape)
    eroded = ndimage.binary_erosion(filled, ndimage.generate_binary_structure(len(axes), 1))
    kept: Mask = inside & ~eroded.reshape(mask.shape)
    return kept


def surface_distances(
    prediction: Mask, reference: Mask, spacing_mm: Spacing, ignore: Mask | None = None
) -> SurfaceDistances:
    """Directed distances between two masks (X, Y, Z) of one shape.

    Args:
        prediction: the structure as predicted.
        reference: the structure as judged by a person.
        spacing_mm: voxel size along each array axis; ``(1, 1, 1)`` gives distances in voxels.
        ignore: voxels that nobody judged, left out of both masks.

    Raises:
        InputError: the shapes differ or are not three-dimensional.
    """
    _check_shapes(prediction, reference)
    box = _joint_box(prediction | reference)
    if box is None:
        return SurfaceDistances(np.empty(0), np.empty(0))
    unjudged = None if ignore is None else ignore[box]
    points = [_points(surface(_as_bool(mask[box]), unjudged), spacing_mm) for mask in (prediction, reference)]
    if min(len(points[0]), len(points[1])) == 0:
        return SurfaceDistances(np.empty(0), np.empty(0))
    return SurfaceDistances(_nearest(points[0], points[1]), _nearest(points[1], points[0]))


def _points(surface_mask: Mask, spacing_mm: Spacing) -> NDArray[np.float64]:
    points: NDArray[np.float64] = np.multiply(np.argwhere(surface_mask), spacing_mm, dtype=np.float64)
    return points


def _nearest(points: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    distances, _ = cKDTree(targets, balanced_tree=False).query(points)
    return np.asarray(distances, dtype=np.float64)


def _joint_box(mask: Mask) -> tuple[slice, slice, slice] | None:
    """The smallest box around a mask and one voxel about it, so that a surface within knows its neighbours."""
    slices = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        if hit.size == 0:
            return None
        slices.append(slice(max(int(hit[0]) - 1, 0), int(hit[-1]) + 2))
    return slices[0], slices[1], slices[2]


def _as_bool(mask: Mask) -> Mask:
    return np.ascontiguousarray(mask, dtype=np.bool_)


def _check_shapes(prediction: Mask, reference: Mask) -> None:
    if prediction.shape != reference.shape or prediction.ndim != 3:
        raise InputError(
            f"two masks can be compared on one grid (X, Y, Z) only, got {prediction.shape} and {reference.shape}"
        )
