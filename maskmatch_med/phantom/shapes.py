"""Implicit shapes in millimetres: each gives the approximate signed distance of points to a surface, negative inside.

Points are arrays (3, X, Y, Z) float32 in patient coordinates: x to the right, y to the front, z to the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Field = NDArray[np.float32]


def ellipsoid(points: Field, centre: Sequence[float], radii: Sequence[float], turn: NDArray[np.float64]) -> Field:
    """An ellipsoid of semi-axes ``radii`` (mm) about ``centre``, turned by the rotation matrix ``turn`` (3, 3)."""
    shifted = points - np.asarray(centre, np.float32).reshape(3, 1, 1, 1)
    local = np.tensordot(turn.T.astype(np.float32), shifted, axes=1)
    scaled = local / np.asarray(radii, np.float32).reshape(3, 1, 1, 1)
    length = np.sqrt((scaled**2).sum(axis=0)) + np.float32(1e-3)
    slope = np.sqrt(((scaled / np.asarray(radii, np.float32).reshape(3, 1, 1, 1)) ** 2).sum(axis=0)) + np.float32(1e-6)
    field: Field = (length * (length - 1) / slope).astype(np.float32)
    return field


def tube(points: Field, centre_xy: tuple[Field, Field], radii: tuple[float, float]) -> Field:
    """A tube along z whose centre line (x, y in mm) is given for every point; ``radii`` are its half-widths in mm."""
    across = (points[0] - centre_xy[0]) / radii[0]
    along = (points[1] - centre_xy[1]) / radii[1]
    field: Field = ((np.hypot(across, along) - 1) * min(radii)).astype(np.float32)
    return field


def join(first: Field, second: Field, blend_mm: float) -> Field:
    """The union of two shapes, its seam rounded over ``blend_mm``."""
    mix = np.clip(0.5 + 0.5 * (second - first) / blend_mm, 0, 1)
    field: Field = (second * (1 - mix) + first * mix - blend_mm * mix * (1 - mix)).astype(np.float32)
    return field


def rotation(angles_deg: Sequence[float]) -> NDArray[np.float64]:
    """The matrix (3, 3) of turns about x, then y, then z, in degrees."""
    result = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(angles_deg)):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        result = turn @ result
    return result


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], knots: int) -> Field:
    """A smooth random field of about unit deviation over ``shape``, from ``knots`` random values along each axis."""
    field = rng.standard_normal([min(knots, n) for n in shape], dtype=np.float32)
    for axis, n in enumerate(shape):
        weights = _spline_weights(field.shape[axis], n)
        field = np.moveaxis(np.tensordot(weights, field, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(field)


@lru_cache(maxsize=256)
def _spline_weights(knots: int, n: int) -> Field:
    """The matrix (n, knots) of cubic interpolation from ``knots`` values to ``n`` along one axis."""
    weights: Field = ndimage.zoom(np.eye(knots), (n / knots, 1), order=3, mode="nearest").astype(np.float32)
    return weights
