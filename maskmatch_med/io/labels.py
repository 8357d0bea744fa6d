"""LabelMap: a segmentation on its grid, and the rules by which values of a file become classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.errors import InputError
from maskmatch_med.volume import Array, Geometry

UNJUDGED = 255
"""The label value of voxels that nobody has judged yet."""


@dataclass(frozen=True, eq=False)
class LabelMap:
    """A segmentation: one class a voxel, 255 where nobody has judged the voxel.

    Args:
        array: (X, Y, Z) uint8 in file order.
        geometry: the grid of the voxels.

    Raises:
        InputError: array and geometry disagree about the shape, or the values do not fit uint8.
    """

    array: NDArray[np.uint8]
    geometry: Geometry

    def __post_init__(self) -> None:
        array = np.asarray(self.array)
        if array.shape != self.geometry.shape:
            raise InputError(f"a label needs the shape {self.geometry.shape} of its scan, got {array.shape}")
        object.__setattr__(self, "array", as_uint8(array, "a label"))

    @property
    def values(self) -> tuple[int, ...]:
        """The distinct values in ascending order, 255 included."""
        counts = np.zeros(256, np.int64)
        for plane in self.array:  # counting widens what it counts to 8 bytes a voxel
            counts += np.bincount(plane.ravel(), minlength=256)
        return tuple(int(value) for value in np.flatnonzero(counts))


def as_uint8(array: Array, what: str) -> NDArray[np.uint8]:
    """The same whole numbers 0–255 as uint8.

    Raises:
        InputError: a value is not a whole number from 0 to 255; the message starts with ``what``.
    """
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if array.dtype.kind not in "iuf":
        raise InputError(f"{what} needs whole numbers, got the type {array.dtype}")
    if array.size and not np.isfinite(array).all():
        raise InputError(f"{what} needs whole numbers, got NaN or infinity; set these voxels to 0")
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if low < 0 or high > UNJUDGED:
        raise InputError(f"{what} needs values from 0 to 254, got {low:g} to {high:g}; renumber the classes from 0")
    whole = array.astype(np.uint8)
    if array.dtype.kind == "f" and not np.array_equal(whole, array):
        odd = float(array[whole != array].flat[0])
        raise InputError(f"{what} needs whole numbers, got {odd:g}; resample labels with nearest neighbour")
    return whole


def from_file_values(array: Array, path: Path, unjudged: int | None) -> NDArray[np.uint8]:
    """Turn the values of a NIfTI label file into classes.

    Args:
        array: (X, Y, Z) the values as stored.
        path: named in messages.
        unjudged: the value that stands for "not judged" in this file and becomes 255; None where no value does.

    Raises:
        InputError: values that are not whole, negative, or above 254.
    """
    labels = as_uint8(array, f"the label {path}")
    if unjudged is None and labels.size and int(labels.max()) == UNJUDGED:
        raise lone_255(path)
    if unjudged is not None and unjudged != UNJUDGED:
        labels = np.where(labels == unjudged, np.uint8(UNJUDGED), labels)
    return labels


def chosen_values(
    array: Array, path: Path, table: Mapping[int, int], unjudged: int | None = None
) -> tuple[NDArray[np.uint8], tuple[int, ...]]:
    """Turn chosen values of a label file, of any size, into classes, and all others into background.

    Args:
        array: (X, Y, Z) the values as stored.
        path: named in messages.
        table: value in the file to class.
        unjudged: the value that stands for "not judged"; where not given, 255 does if no value is above it.

    Returns:
        The classes, and the values other than 0 that became background, in ascending order.

    Raises:
        InputError: values that are not whole.
    """
    whole = array.dtype.kind in "biu" or (array.dtype.kind == "f" and np.isfinite(array).all())
    if not whole or (array.dtype.kind == "f" and not np.array_equal(array, np.round(array))):
        raise InputError(f"the label {path} needs whole numbers; resample labels with nearest neighbour")
    labels = np.zeros(array.shape, np.uint8)
    for value, label in table.items():
        labels[array == value] = label
    if unjudged is None and array.size and array.max() <= UNJUDGED:
        unjudged = UNJUDGED
    if unjudged is not None and unjudged not in table:
        labels[array == unjudged] = UNJUDGED
    rest = np.unique(array[labels == 0])
    return labels, tuple(int(value) for value in rest if value != 0 and int(value) not in table)


def lone_255(path: Path) -> InputError:
    """The refusal of a label whose 255 may be a class or "not judged"."""
    return InputError(
        f"the label {path} holds the value 255, which is kept for voxels not judged; "
        "number the classes 1, 2, … (a 0/255 mask: save its foreground as 1)"
    )


def refuse_lone_255(labels: LabelMap, path: Path) -> None:
    """Refuse a label of 0 and 255 alone, of which nothing tells whether 255 is a class or "not judged".

    Raises:
        InputError: it holds 255 and no class.
    """
    values = set(labels.values)
    if UNJUDGED in values and values <= {0, UNJUDGED}:
        raise lone_255(path)
