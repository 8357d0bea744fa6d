"""The two positions in the world that a NIfTI header can state, and how a grid lies in the world."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel import imageglobals
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from maskmatch_med.errors import InputError
from maskmatch_med.io import nifti
from maskmatch_med.volume import Geometry

Affine = NDArray[np.float64]

_HALF_A_VOXEL = 0.5


@dataclass(frozen=True, eq=False)
class StatedAffines:
    """What one header says.

    Args:
        shape: (X, Y, Z) voxels.
        qform: (4, 4) voxel index to RAS+ world in the header's unit; None where its code is 0.
        sform: the same, stated a second time; it wins where both are there.
    """

    shape: tuple[int, int, int]
    qform: Affine | None
    sform: Affine | None

    @property
    def disagreement_vox(self) -> float:
        """How far the two place the same corner apart, in the smallest voxel edge; 0 where one of them is missing."""
        if self.qform is None or self.sform is None:
            return 0.0
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij")).reshape(3, -1)
        difference = (self.qform - self.sform)[:3]
        apart = np.linalg.norm(difference[:, :3] @ corners + difference[:, 3:], axis=0).max()
        edge = np.linalg.norm(self.sform[:3, :3], axis=0).min()
        return float(apart / max(edge, 1e-12))

    @property
    def disagree(self) -> bool:
        """Whether programs that go by the one show the scan elsewhere than those that go by the other."""
        return self.disagreement_vox > _HALF_A_VOXEL


def stated_affines(path: Path) -> StatedAffines:
    """Read both positions from the header of a NIfTI file.

    Raises:
        InputError: the header cannot be used.
    """
    shape = nifti.read_geometry(path).shape
    try:
        with imageglobals.LoggingOutputSuppressor():
            header = nib.load(path).header
            if not isinstance(header, nib.Nifti1Header):
                return StatedAffines(shape, None, None)
            return StatedAffines(shape, header.get_qform(coded=True)[0], header.get_sform(coded=True)[0])
    except (ValueError, HeaderDataError) as error:
        raise InputError(f"{path} states a rotation that is none ({error}); export the scan anew") from error


def shear_degrees(geometry: Geometry) -> float:
    """The largest deviation of two array axes from a right angle."""
    unit = geometry.affine[:3, :3] / np.array(geometry.spacing_mm)
    cosines = np.abs(unit.T @ unit - np.diag(np.ones(3))).max()
    return float(np.degrees(np.arcsin(np.clip(cosines, 0, 1))))


def oblique_degrees(geometry: Geometry) -> float:
    """The largest angle between an array axis and the world axis that it follows most."""
    unit = geometry.affine[:3, :3] / np.array(geometry.spacing_mm)
    return float(np.degrees(np.arccos(np.clip(np.abs(unit).max(axis=0), 0, 1))).max())
