"""What the structures of a label map look like in numbers, and how far two label maps agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Labels = NDArray[np.uint8]
_SMALLEST_PART = 0.01
"""Share of a structure's voxels below which a piece apart is a speck and no part."""


@dataclass(frozen=True)
class StructureShape:
    """One structure of one label map.

    Args:
        volume_ml: its volume; 0 where it is absent.
        parts: connected pieces (over faces, edges and corners) of at least 1 % of it.
        specks: smaller pieces.
        at_border: share of its voxels that lie at the border of the scan, axes of a single voxel left out.
        right_mm: of its centre, along the axis that leads to the patient's right; 0 where it is absent.
    """

    volume_ml: float
    parts: int
    specks: int
    at_border: float
    right_mm: float


def structure_shapes(
    labels: Labels, affine: NDArray[np.float64], label_names: Mapping[str, int]
) -> dict[str, StructureShape]:
    """Describe every structure of a label map.

    Args:
        labels: (X, Y, Z) values of ``label_names``.
        affine: (4, 4) from voxel index to RAS+ millimetres.
        label_names: class name to value; the background, 0, is left out.
    """
    voxel_ml = float(abs(np.linalg.det(affine[:3, :3]))) / 1000
    boxes = ndimage.find_objects(labels)
    found = {}
    for name, value in label_names.items():
        box = boxes[value - 1] if 0 < value <= len(boxes) else None
        if value:
            absent = StructureShape(0.0, 0, 0, 0.0, 0.0)
            found[name] = absent if box is None else _shape(labels, value, box, affine, voxel_ml)
    return found


def _shape(
    labels: Labels, value: int, box: tuple[slice, ...], affine: NDArray[np.float64], voxel_ml: float
) -> StructureShape:
    inside = labels[box] == value
    sizes = np.bincount(ndimage.label(inside, np.ones((3, 3, 3)))[0].ravel())[1:]
    count = int(sizes.sum())
    parts = int((sizes >= _SMALLEST_PART * count).sum())
    border = np.zeros(inside.shape, bool)
    for axis, (part, n) in enumerate(zip(box, labels.shape, strict=True)):
        turned = np.moveaxis(border, axis, 0)
        if n > 1 and part.start == 0:
            turned[0] = True
        if n > 1 and part.stop == n:
            turned[-1] = True
    centre = [
        float((np.arange(n) * inside.sum(axis=_others(axis))).sum()) / count for axis, n in enumerate(inside.shape)
    ]
    point = affine[:3, :3] @ (np.array(centre) + [part.start for part in box]) + affine[:3, 3]
    return StructureShape(
        volume_ml=count * voxel_ml,
        parts=parts,
        specks=len(sizes) - parts,
        at_border=float((inside & border).sum()) / count,
        right_mm=float(point[0]),
    )


def _others(axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(3) if other != axis)


def agreement(one: Labels, other: Labels, label_names: Mapping[str, int]) -> dict[str, float]:
    """Dice between two label maps (X, Y, Z) for each structure that occurs in either."""
    found = {}
    for name, value in label_names.items():
        a, b = one == value, other == value
        both = int(a.sum()) + int(b.sum())
        if value and both:
            found[name] = 2 * int((a & b).sum()) / both
    return found
