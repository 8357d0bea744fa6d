"""The invented scanner: grids that differ from scan to scan, and everything that makes a measured image worse."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from maskmatch_med.phantom.shapes import Field, rotation, smooth_noise
from maskmatch_med.volume import Geometry, Shape3

_FIELD_OF_VIEW_MM = (338.0, 262.0, 226.0)
_FLIPS = ((1, 1, 1), (-1, -1, 1), (-1, 1, 1), (1, 1, -1))


def draw_geometry(rng: np.random.Generator, shape: Shape3) -> Geometry:
    """A grid of about ``shape`` voxels over a torso: size, spacing, flips, a slight tilt and the origin vary.

    Args:
        rng: source of the variation.
        shape: voxels along x, y, z; each axis may have up to 4 % more or fewer.
    """
    counts = [max(8, round(n * rng.uniform(0.96, 1.04))) for n in shape]
    spacing = np.divide(_FIELD_OF_VIEW_MM, shape)
    spacing[:2] *= rng.uniform(0.96, 1.04)
    spacing[2] *= rng.uniform(0.92, 1.08)
    flips = _FLIPS[int(rng.integers(len(_FLIPS)))]
    tilt = rotation(rng.normal(0, 3.0, 3).tolist()) if rng.random() < 0.5 else np.eye(3)
    affine = np.eye(4)
    affine[:3, :3] = tilt @ np.diag(spacing * flips)
    centre = rng.normal(0, 15.0, 3)
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(counts) - 1) / 2)
    return Geometry((counts[0], counts[1], counts[2]), affine.round(4))


def centred_points(geometry: Geometry) -> Field:
    """World positions (3, X, Y, Z) float32 of all voxels in mm, measured from the middle of the grid."""
    index = np.indices(geometry.shape, dtype=np.float32)
    middle = (np.array(geometry.shape, np.float32) - 1) / 2
    points: Field = np.tensordot(
        geometry.affine[:3, :3].astype(np.float32), index - middle.reshape(3, 1, 1, 1), axes=1
    ).astype(np.float32)
    return points


def degrade(rng: np.random.Generator, signal: Field) -> Field:
    """Measure an ideal signal as a scanner would.

    In this order: a patient's own contrast curve, blur of the acquisition, multiplicative bias of the coil,
    Rician noise, an arbitrary gain and whole numbers.

    Args:
        rng: source of the variation.
        signal: (X, Y, Z) float32, 0 to about 1.

    Returns:
        (X, Y, Z) float32 of whole numbers from 0.
    """
    contrast = np.clip(signal, 0, None) ** np.float32(rng.uniform(0.8, 1.25))
    blurred = ndimage.gaussian_filter(contrast, sigma=[rng.uniform(0.35, 0.6)] * 2 + [rng.uniform(0.4, 0.75)])
    bias = np.exp(np.float32(rng.uniform(0.08, 0.18)) * smooth_noise(rng, signal.shape, 4))
    received = blurred * bias
    noise = rng.uniform(0.03, 0.055) * rng.standard_normal((2, *signal.shape), dtype=np.float32)
    magnitude = np.hypot(received + noise[0], noise[1])
    measured: Field = np.rint(magnitude * rng.uniform(500, 1500)).astype(np.float32)
    return measured
