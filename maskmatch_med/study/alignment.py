"""Whether a label lies on its scan's grid and holds only declared classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from maskmatch_med.errors import InputError
from maskmatch_med.io import LabelMap
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.volume import Geometry


def on_grid(labels: LabelMap, geometry: Geometry, path: Path) -> tuple[LabelMap, str | None]:
    """Give the labels on their scan's grid, exactly: by flips and permutation of axes at most.

    A label shifted or turned against its scan by less than half a voxel is taken to lie on it (its header was rounded).

    Returns:
        The labels, and what was done in a sentence; None where they lay on the grid already.

    Raises:
        InputError: another shape, or another place in the world.
    """
    if labels.geometry.same_grid(geometry):
        return LabelMap(labels.array, geometry), None
    half_mm = min(geometry.spacing_mm) / 2
    if labels.geometry.same_grid(geometry, half_mm):
        return LabelMap(labels.array, geometry), f"the grid of {path.name} lay less than half a voxel off its scan's"
    turned, target = labels.geometry.to_canonical(), geometry.to_canonical()
    if turned.target.same_grid(target.target, half_mm):
        array = np.ascontiguousarray(target.invert(turned.apply(labels.array)))
        return LabelMap(array, geometry), f"{path.name} was stored with other axes and turned to its scan's"
    if labels.geometry.shape != geometry.shape:
        raise InputError(
            f"the label {path} has {labels.geometry.shape} voxels, its scan {geometry.shape}; "
            "export the label on the scan's own grid"
        )
    raise InputError(
        f"the label {path} lies elsewhere than its scan (affine {labels.geometry.affine[:3].round(3).tolist()}, "
        f"scan {geometry.affine[:3].round(3).tolist()}); export the label with the scan's geometry"
    )


def refuse_unknown_values(labels: LabelMap, label_names: Mapping[str, int], path: Path | str) -> None:
    """Refuse values that are no class.

    Raises:
        InputError: a value is neither declared nor 255 (not judged).
    """
    unknown = [v for v in labels.values if v not in label_names.values() and v != UNJUDGED]
    if unknown:
        declared = ", ".join(str(v) for v in sorted(label_names.values()))
        raise InputError(
            f"label {unknown[0]} is not among {declared} declared in dataset.json: {path}; "
            "correct the label or declare the class"
        )
