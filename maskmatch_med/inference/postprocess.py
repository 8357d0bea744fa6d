"""Clean a segmentation after prediction; only on request, for it deletes what a person may be looking for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import generate_binary_structure, label

from maskmatch_med.errors import InputError


def keep_largest_component(labels: NDArray[np.uint8], classes: Sequence[int]) -> NDArray[np.uint8]:
    """Set all but the largest connected component of each given class to background.

    Voxels that touch at a face, an edge or a corner are connected. Of components of equal size the first in array order
    stays. Wrong for anything that occurs more than once, such as lesions.

    Args:
        labels: (X, Y, Z) uint8; not changed.
        classes: the values to clean, none of them 0.

    Returns:
        (X, Y, Z) uint8.

    Raises:
        InputError: the background is among the classes.
    """
    if 0 in classes:
        raise InputError("the background (0) has no largest component to keep: name only classes above 0")
    out = labels.copy()
    connected = generate_binary_structure(labels.ndim, labels.ndim)
    for value in classes:
        components, count = label(labels == value, structure=connected)
        if count > 1:
            sizes = np.bincount(components.ravel())[1:]
            out[(components > 0) & (components != 1 + int(sizes.argmax()))] = 0
    return out
