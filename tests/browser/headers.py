"""Scans whose files say in many ways how they lie in the body; each has one bright voxel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

SHAPE = (13, 17, 11)
SPACING_MM = (1.5, 2.0, 2.5)
BRIGHT = (3, 11, 7)
"""Not in the middle along any axis, and not at the rim."""
FRAME = 1
"""The frame of the scan with four axes that is brought in."""


def write(name: str, path: Path) -> tuple[int, int, int]:
    """Write the scan of a header; gives its bright voxel.

    Args:
        name: one of :data:`HEADERS`.
        path: the file to write.
    """
    image, bright = HEADERS[name]()
    nibabel.save(image, path)
    return bright


def _values(shape: tuple[int, ...], bright: tuple[int, ...], top: int = 1000) -> NDArray[np.int16]:
    values = np.random.default_rng(5).integers(0, top // 4, shape).astype(np.int16)
    values[bright] = top
    return values


def _axes(codes: str) -> NDArray[np.float64]:
    """An affine whose axes point as the letters say."""
    affine = np.zeros((4, 4))
    for axis, (target, sign) in enumerate(nibabel.orientations.axcodes2ornt(tuple(codes))):
        affine[int(target), axis] = sign * SPACING_MM[axis]
    affine[:, 3] = (-12.0, 7.0, 30.0, 1.0)
    return affine


def _turned(degrees: float) -> NDArray[np.float64]:
    """An affine turned about two axes."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    about_z, about_x = np.eye(4), np.eye(4)
    about_z[:2, :2] = [[c, -s], [s, c]]
    about_x[1:3, 1:3] = [[c, -s], [s, c]]
    return about_z @ about_x @ _axes("RAS")


def _plain(affine: NDArray[np.float64]) -> tuple[nibabel.Nifti1Image, tuple[int, int, int]]:
    return nibabel.Nifti1Image(_values(SHAPE, BRIGHT), affine), BRIGHT


def _single_slice() -> tuple[nibabel.Nifti1Image, tuple[int, int, int]]:
    bright = (BRIGHT[0], BRIGHT[1], 0)
    return nibabel.Nifti1Image(_values((*SHAPE[:2], 1), bright), _axes("LPS")), bright


def _four_axes() -> tuple[nibabel.Nifti1Image, tuple[int, int, int]]:
    """Each frame has its bright voxel elsewhere; :data:`FRAME` at the usual place."""
    values = _values((*SHAPE, 3), (*BRIGHT, FRAME))
    values[9, 4, 2, 0] = values[8, 3, 3, 2] = 1000
    return nibabel.Nifti1Image(values, _axes("LAS")), BRIGHT


def _scaled() -> tuple[nibabel.Nifti1Image, tuple[int, int, int]]:
    """Stored whole numbers that stand for -30 to 20."""
    image = nibabel.Nifti1Image(_values(SHAPE, BRIGHT), _axes("LPS"))
    image.header.set_slope_inter(0.05, -30.0)
    return image, BRIGHT


def _qform_only() -> tuple[nibabel.Nifti1Image, tuple[int, int, int]]:
    image = nibabel.Nifti1Image(_values(SHAPE, BRIGHT), None)
    image.set_qform(_axes("LPS"), code=1)
    image.set_sform(None, code=0)
    return image, BRIGHT


HEADERS: dict[str, Callable[[], tuple[nibabel.Nifti1Image, tuple[int, int, int]]]] = {
    **{codes: (lambda codes=codes: _plain(_axes(codes))) for codes in ("RAS", "LAS", "LPS", "PIR", "ASL", "SRA")},
    "oblique20": lambda: _plain(_turned(20)),
    "oblique45": lambda: _plain(_turned(45)),
    "single_slice": _single_slice,
    "four_axes": _four_axes,
    "scaled": _scaled,
    "qform_only": _qform_only,
}
