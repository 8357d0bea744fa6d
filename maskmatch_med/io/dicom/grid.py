"""From the places of slices to one regular grid, or to the reason why there is none.

A slice is never moved: where the slices do not lie on a regular grid within :data:`TOLERANCE`, the scan is refused.
DICOM's patient axes point left, posterior and superior (LPS); the grid's world is RAS+, so x and y change their sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.errors import InputError
from maskmatch_med.io.dicom.frames import Frame, Plane
from maskmatch_med.volume import Geometry

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_DEFAULT_ORIENTATION = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_CONVERT = "convert it to NIfTI with a tool that resamples, such as dcm2niix, and look at the result"


@dataclass(frozen=True)
class Tolerance:
    """How far the slices may lie from a regular grid.

    Args:
        cosine: by which two direction cosines may differ and still be the same, and by which they may fail to be of
            length one and at right angles.
        slice_fraction: of the distance between slices, by which a slice may lie before or behind its place.
        pixel_fraction: of a pixel, by which a slice may lie beside its place, and two slices apart and be the same.
        noted_fraction: of the distance between slices, from which uneven distances are told.
        tilt_degrees: between the direction of stacking and the normal of the slices.
    """

    cosine: float = 1e-3
    slice_fraction: float = 0.1
    pixel_fraction: float = 0.1
    noted_fraction: float = 0.01
    tilt_degrees: float = 0.1


TOLERANCE = Tolerance()


@dataclass(frozen=True)
class Layout:
    """Slices in order along their normal, their grid, and what its owner should know of it."""

    frames: tuple[Frame, ...]
    geometry: Geometry
    notes: tuple[str, ...]


def normal(plane: Plane) -> NDArray[np.float64]:
    """The direction at right angles to a plane, of length one."""
    return _normal(plane.orientation or _DEFAULT_ORIENTATION)


def depth_mm(plane: Plane) -> float:
    """Position along the normal."""
    return float(np.dot(plane.position or (0.0, 0.0, 0.0), normal(plane)))


@lru_cache(maxsize=4096)
def _normal(orientation: tuple[float, ...]) -> NDArray[np.float64]:
    direction = np.cross(orientation[:3], orientation[3:])
    direction = direction / (np.linalg.norm(direction) or 1.0)
    direction.setflags(write=False)
    return np.asarray(direction)


def check_directions(frame: Frame) -> None:
    """Refuse directions that are not of length one and at right angles.

    Raises:
        InputError: they are not.
    """
    if frame.plane.orientation is None:
        return
    across, down = np.array(frame.plane.orientation).reshape(2, 3)
    errors = (np.linalg.norm(across) - 1, np.linalg.norm(down) - 1, np.dot(across, down))
    if max(abs(float(error)) for error in errors) > TOLERANCE.cosine:
        raise InputError(
            f"the orientation of {frame.file} is not two directions of length one at right angles; export it anew"
        )


def lay_out(frames: Sequence[Frame]) -> Layout:
    """Put the slices of one stack on a grid.

    Args:
        frames: of one orientation, size and spacing, at most one at each position.

    Raises:
        InputError: slices are missing, unevenly spaced, tilted or shifted against each other.
    """
    check_directions(frames[0])
    ordered = sorted(frames, key=lambda frame: depth_mm(frame.plane))
    spacing, notes = _spacing(ordered[0].plane)
    if len(ordered) == 1:
        step, more = _single_step(ordered[0].plane, spacing)
    else:
        step, more = _step(ordered, min(spacing))
    plane = ordered[0].plane
    across, down = _directions(plane)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = across * spacing[1], down * spacing[0], step
    affine[:3, 3] = plane.position or (0.0, 0.0, 0.0)
    try:
        geometry = Geometry((*plane.shape, len(ordered)), _LPS_TO_RAS @ affine)
    except InputError as error:
        raise InputError(f"{ordered[0].file}: {error}") from error
    return Layout(tuple(ordered), geometry, (*notes, *more))


def _directions(plane: Plane) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    across, down = np.array(plane.orientation or _DEFAULT_ORIENTATION).reshape(2, 3)
    return across / np.linalg.norm(across), down / np.linalg.norm(down)


def _spacing(plane: Plane) -> tuple[tuple[float, ...], list[str]]:
    if plane.spacing is None:
        return (1.0, 1.0), ["it has no pixel spacing, so a pixel is taken as 1 mm: lengths and volumes mean nothing"]
    if plane.spacing_tag == "ImagerPixelSpacing":
        return plane.spacing, ["its spacing is that of the detector, so lengths in the body are smaller than shown"]
    return plane.spacing, []


def _single_step(plane: Plane, spacing: tuple[float, ...]) -> tuple[NDArray[np.float64], list[str]]:
    thickness = plane.thickness or max(spacing)
    known = plane.thickness or plane.position is None
    notes = [] if known else [f"it is one slice of unknown thickness, taken as {thickness:g} mm"]
    return normal(plane) * thickness, notes


def _step(ordered: Sequence[Frame], pixel_mm: float) -> tuple[NDArray[np.float64], list[str]]:
    """From one slice to the next, in mm."""
    points = np.array([frame.plane.position for frame in ordered], dtype=np.float64)
    direction = normal(ordered[0].plane)
    _check_distances(ordered, points @ direction)
    step = (points[-1] - points[0]) / (len(points) - 1)
    off = points - (points[0] + np.arange(len(points))[:, None] * step)
    sideways = np.linalg.norm(off - np.outer(off @ direction, direction), axis=1)
    if sideways.max() > TOLERANCE.pixel_fraction * pixel_mm:
        file = ordered[int(sideways.argmax())].file
        raise InputError(f"slices are shifted sideways by {sideways.max():.3g} mm, as {file} is; {_CONVERT}")
    drift = step - np.dot(step, direction) * direction
    angle = float(np.degrees(np.arctan2(np.linalg.norm(drift), np.dot(step, direction))))
    drifted = float(np.linalg.norm(drift)) * (len(points) - 1) > TOLERANCE.pixel_fraction * pixel_mm
    if angle > TOLERANCE.tilt_degrees and drifted:
        raise InputError(
            f"the slices are tilted by {angle:.2f}° against their stacking (gantry tilt), "
            f"from {ordered[0].file} to {ordered[-1].file}; {_CONVERT}"
        )
    gaps = np.diff(points @ direction)
    uneven = float(np.ptp(gaps)) > TOLERANCE.noted_fraction * float(gaps.mean())
    note = f"distances between slices vary from {gaps.min():.4g} to {gaps.max():.4g} mm and are taken as even"
    return step, [note] if uneven else []


def _check_distances(ordered: Sequence[Frame], depths: NDArray[np.float64]) -> None:
    gaps = np.diff(depths)
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])
    even = depths[0] + np.arange(len(depths)) * (depths[-1] - depths[0]) / (len(depths) - 1)
    if np.abs(depths - even).max() <= TOLERANCE.slice_fraction * usual:
        return
    widest = int(gaps.argmax())
    between = f"between {ordered[widest].file} and {ordered[widest + 1].file}"
    lost = round(gaps[widest] / usual) - 1
    whole = abs(gaps[widest] / usual - lost - 1) <= TOLERANCE.slice_fraction
    if lost >= 1 and whole and gaps.min() >= (1 - TOLERANCE.slice_fraction) * usual:
        missing = sum(round(gap / usual) - 1 for gap in gaps.tolist())
        raise InputError(
            f"{missing} slice{'s are' if missing > 1 else ' is'} missing, first {between} ({gaps[widest]:.4g} mm "
            f"instead of {usual:.4g} mm); add the missing files, or give the parts in folders of their own"
        )
    raise InputError(
        f"slices are unevenly spaced, from {gaps.min():.4g} to {gaps.max():.4g} mm, the widest {between}; {_CONVERT}"
    )
