"""One generated scan with its labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.errors import InputError
from maskmatch_med.phantom.anatomy import Patient
from maskmatch_med.phantom.scanner import centred_points, degrade, draw_geometry
from maskmatch_med.volume import Shape3, Volume


@dataclass(frozen=True)
class PhantomOptions:
    """What to generate.

    Args:
        scans: scans to learn from.
        labelled: how many of them, the first ones, are meant to come in with their label.
        test: further scans to score on.
        shape: voxels along x, y, z; each scan differs by a few.
        seed: another number gives other patients.

    Raises:
        InputError: a count is negative, more are labelled than there are, or an axis has fewer than 16 voxels.
    """

    scans: int = 24
    labelled: int = 4
    test: int = 6
    shape: Shape3 = (72, 56, 48)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.scans < 1 or self.test < 0 or not 0 <= self.labelled <= self.scans:
            raise InputError(
                f"a phantom study needs at least one scan and no more labels than scans, got scans={self.scans}, "
                f"labelled={self.labelled}, test={self.test}"
            )
        if min(self.shape) < 16:
            raise InputError(f"a phantom needs at least 16 voxels along each axis, got shape {self.shape}")


def make_phantom(options: PhantomOptions, index: int) -> tuple[Volume, NDArray[np.uint8]]:
    """Generate one scan.

    Args:
        options: what to generate; only shape and seed matter here.
        index: which patient, from 0.

    Returns:
        The scan (1, X, Y, Z) and its labels (X, Y, Z) uint8 on the same grid, with the values of
        ``anatomy.LABEL_NAMES``.
    """
    rng = np.random.default_rng([options.seed, index])
    geometry = draw_geometry(rng, options.shape)
    voxel_mm = float(np.mean(geometry.spacing_mm))
    signal, labels = Patient(rng, centred_points(geometry), voxel_mm).draw()
    return Volume(degrade(rng, signal)[None], geometry), labels


def case_name(index: int) -> str:
    """Name of the ``index``-th case, such as ``phantom_007``."""
    return f"phantom_{index:03d}"
