"""Lay a label on its scan's grid, and refuse values that are no class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.errors import InputError
from maskmatch_med.io import LabelMap
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.io.segments import Segmentation
from maskmatch_med.volume import Geometry


def on_grid(labels: LabelMap, geometry: Geometry, path: Path) -> tuple[LabelMap, str | None]:
    """Give the labels on their scan's grid, exactly: by flips and permutation of axes at most.

    A label shifted or turned against its scan by less than half a voxel is taken to lie on it (its header was rounded).

    Returns:
        The labels, and what was done in a sentence; None where they lay on the grid already.

    Raises:
        InputError: another shape, or another place in the world.
    """
    laid = _turned(labels, geometry, path)
    if laid is not None:
        return laid
    own = labels.geometry
    if own.shape != geometry.shape:
        raise InputError(
            f"the label {path} has {own.shape} voxels, its scan {geometry.shape}; export the label on the scan's own "
            "grid, or import it with --resample"
        )
    raise InputError(
        f"the label {path} lies elsewhere than its scan (affine {own.affine[:3].round(3).tolist()}, "
        f"scan {geometry.affine[:3].round(3).tolist()}); export the label with the scan's geometry, or import it with "
        "--resample where both are in the same space"
    )


def lies_on(own: Geometry, geometry: Geometry) -> bool:
    """Whether a label's grid is its scan's, but for flips and the order of axes.

    :func:`on_grid` lays such labels on the scan, and others too that lie less than half a voxel off.
    """
    return own.same_grid(geometry) or own.to_canonical().target.same_grid(geometry.to_canonical().target)


def placed(
    segmentation: Segmentation, geometry: Geometry, path: Path, *, resample: bool = False
) -> tuple[LabelMap, str | None]:
    """As :func:`on_grid`, also for labels that are stored as a part of the scan's grid, and for other grids if asked.

    Args:
        segmentation: the labels on their own grid.
        geometry: the scan's grid.
        path: named in messages.
        resample: take the nearest voxel of a label on another grid of the same space. What lies beyond the label's
            grid is not judged (255), unless its format says that nothing is labelled there.

    Raises:
        InputError: the label does not lie on the grid and ``resample`` is not set, or both share no place.
    """
    labels = segmentation.labels
    laid = _turned(labels, geometry, path)
    if laid is None and segmentation.background_outside:
        laid = _pasted(labels, geometry, path)
    if laid is None and resample:
        fill = 0 if segmentation.background_outside else UNJUDGED
        return _resampled(labels, geometry, path, fill)
    return laid or on_grid(labels, geometry, path)


def nearest(labels: LabelMap, target: Geometry, fill: int) -> NDArray[np.uint8]:
    """The label of the nearest voxel for each voxel (X, Y, Z) of another grid; ``fill`` beyond the label's grid."""
    matrix = np.linalg.inv(labels.geometry.affine) @ target.affine
    limits = np.array(labels.geometry.shape)[:, None]
    plane = np.indices(target.shape[1:]).reshape(2, -1)
    result = np.full(target.shape, fill, np.uint8)
    for x in range(target.shape[0]):
        points = matrix[:3, :1] * x + matrix[:3, 1:3] @ plane + matrix[:3, 3:]
        index = np.floor(points + 0.5).astype(np.int64)
        inside = ((index >= 0) & (index < limits)).all(axis=0)
        values = labels.array[tuple(index[:, inside])]
        result[x].reshape(-1)[inside] = values
    return result


def _turned(labels: LabelMap, geometry: Geometry, path: Path) -> tuple[LabelMap, str | None] | None:
    """The labels where flips and permutation lay them on the grid, else None."""
    if labels.geometry.same_grid(geometry):
        return LabelMap(labels.array, geometry), None
    half_mm = min(geometry.spacing_mm) / 2
    if labels.geometry.same_grid(geometry, half_mm):
        return LabelMap(labels.array, geometry), f"the grid of {path.name} lay less than half a voxel off its scan's"
    turned, target = labels.geometry.to_canonical(), geometry.to_canonical()
    if turned.target.same_grid(target.target, half_mm):
        array = np.ascontiguousarray(target.invert(turned.apply(labels.array)))
        return LabelMap(array, geometry), f"{path.name} was stored with other axes and turned to its scan's"
    return None


def _pasted(labels: LabelMap, geometry: Geometry, path: Path) -> tuple[LabelMap, str | None] | None:
    """The labels put into their place of the scan's grid, of which theirs is a part; None where it is not."""
    turned, target = labels.geometry.to_canonical(), geometry.to_canonical()
    array, own, whole = turned.apply(labels.array), turned.target, target.target
    offset = np.rint((np.linalg.inv(whole.affine) @ own.affine)[:3, 3])
    shifted = whole.affine.copy()
    shifted[:3, 3] += whole.affine[:3, :3] @ offset
    if not own.same_grid(Geometry(own.shape, shifted), min(geometry.spacing_mm) / 4):
        return None
    start = offset.astype(int)
    low, high = np.maximum(start, 0), np.minimum(start + own.shape, whole.shape)
    inner = tuple(slice(a - s, max(b, a) - s) for a, b, s in zip(low, high, start, strict=True))
    result = np.zeros(whole.shape, np.uint8)
    result[tuple(slice(a, max(b, a)) for a, b in zip(low, high, strict=True))] = array[inner]
    lost = int(np.count_nonzero(array)) - int(np.count_nonzero(result))
    if lost:
        raise InputError(f"{lost} labelled voxels of {path} lie outside its scan; give the scan that it was made on")
    note = f"{path.name} held a part of its scan's grid, {own.shape} voxels; the rest is background"
    return LabelMap(np.ascontiguousarray(target.invert(result)), geometry), note


def _resampled(labels: LabelMap, geometry: Geometry, path: Path, fill: int) -> tuple[LabelMap, str]:
    array = nearest(labels, geometry, fill)
    before = int(((labels.array != 0) & (labels.array != UNJUDGED)).sum())
    after = int(((array != 0) & (array != UNJUDGED)).sum())
    if (before and not after) or (array == UNJUDGED).all():
        raise InputError(
            f"nothing of the label {path} lies within its scan: the two are not in the same space; "
            "check that they belong together"
        )
    own = labels.geometry
    note = (
        f"{path.name} was resampled to its scan's grid by nearest neighbour, from {_in_words(own)} to "
        f"{_in_words(geometry)}; what is labelled went from {before * own.voxel_mm3 / 1000:.4g} to "
        f"{after * geometry.voxel_mm3 / 1000:.4g} ml"
    )
    beyond = int((array == UNJUDGED).sum()) - int((labels.array == UNJUDGED).sum()) if fill == UNJUDGED else 0
    return LabelMap(array, geometry), note + (", and what lies beyond it is not judged" if beyond > 0 else "")


def _in_words(geometry: Geometry) -> str:
    voxels = "×".join(str(n) for n in geometry.shape)
    return f"{voxels} voxels of {'×'.join(f'{mm:.3g}' for mm in geometry.spacing_mm)} mm"


def refuse_unknown_values(labels: LabelMap, label_names: Mapping[str, int], path: Path | str) -> None:
    """Refuse values that are no class.

    Raises:
        InputError: a value is neither declared nor 255 (not judged).
    """
    unknown = [v for v in labels.values if v not in label_names.values() and v != UNJUDGED]
    if unknown:
        declared = ", ".join(str(v) for v in sorted(label_names.values()))
        raise InputError(
            f"label {unknown[0]} is not among {declared}, the values of the classes: {path}; correct the label or "
            "declare the class"
        )
