"""One door for scans and one for labels, whatever the format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from maskmatch_med.errors import InputError
from maskmatch_med.io import nifti, rasters
from maskmatch_med.io.labels import LabelMap
from maskmatch_med.io.masks import MaskCode
from maskmatch_med.volume import Geometry, Volume

READABLE = "NIfTI (.nii, .nii.gz) or a picture (PNG, JPEG, TIFF, GIF, BMP)"


def is_readable(path: Path) -> bool:
    """Whether the file's name ends as that of a format which :func:`read_volume` reads."""
    return nifti.is_nifti(path) or rasters.is_raster(path)


def read_volume(path: Path | Sequence[Path], *, channels: int | None = None) -> Volume:
    """Read a scan: one file, or one file a channel.

    Channels that lie on another grid than the first are resampled to it linearly, 0 outside.

    Args:
        path: a file (a coloured picture has 3 channels, alpha dropped), or the files of the channels in their order.
        channels: how many channels are expected. Where more than one, a single NIfTI file may hold them along its
            fourth axis, as MSD stores them; the number of separate files is not checked.

    Raises:
        InputError: a file is missing, damaged, of an unknown format, or a NIfTI file with a fourth axis that is not
            known to hold the channels or has another length than ``channels``.
    """
    paths = [path] if isinstance(path, Path) else list(path)
    if not paths:
        raise InputError("no file was given to read")
    if channels is not None and channels > 1 and len(paths) == 1 and nifti.is_nifti(paths[0]):
        return _read_stacked(paths[0], channels)
    array, geometry = _read_one(paths[0])
    arrays = [array]
    for other in paths[1:]:
        values, grid = _read_one(other)
        arrays.append(values if grid.same_grid(geometry) else resample(values, grid, geometry))
    return Volume(arrays[0] if len(arrays) == 1 else np.concatenate(arrays), geometry)


def read_labels(path: Path, *, unjudged: int | None = None, code: MaskCode | None = None) -> LabelMap:
    """Read a label map (X, Y, Z) uint8.

    Args:
        path: a NIfTI label, or a mask picture.
        unjudged: the value of a NIfTI label that stands for "not judged" and becomes 255; None where no value does.
        code: how a picture's pixels become classes; found from this one picture where not given.

    Raises:
        InputError: missing, damaged, or values that are no class numbers.
    """
    if rasters.is_raster(path):
        return (code or MaskCode.of([path])).decode(path)
    if not nifti.is_nifti(path):
        raise InputError(f"cannot read the label {path}: expected {READABLE}")
    return nifti.read_nifti_labels(path, unjudged)


def resample(array: NDArray[np.float32], source: Geometry, target: Geometry) -> NDArray[np.float32]:
    """Bring (C, X, Y, Z) from one grid to another by linear interpolation in world space; 0 outside the source."""
    matrix = np.linalg.inv(source.affine) @ target.affine
    return np.stack(
        [
            affine_transform(
                channel, matrix[:3, :3], offset=matrix[:3, 3], output_shape=target.shape, order=1, mode="constant"
            )
            for channel in array
        ]
    ).astype(np.float32)


def _read_stacked(path: Path, channels: int) -> Volume:
    if not nifti.has_fourth_axis(path):
        return Volume(*nifti.read_nifti(path))
    array, geometry = nifti.read_channels(path)
    if len(array) != channels:
        raise InputError(
            f"{path} holds {len(array)} channels along its fourth axis, expected {channels}; "
            "give a file with those channels, or each channel as a file of its own, NAME_0000.nii.gz, NAME_0001.nii.gz"
        )
    return Volume(array, geometry)


def _read_one(path: Path) -> tuple[NDArray[np.float32], Geometry]:
    if rasters.is_raster(path):
        return rasters.read_raster(path)
    if nifti.is_nifti(path):
        return nifti.read_nifti(path)
    if not path.exists():
        raise InputError(f"there is no file {path}")
    raise InputError(f"cannot read {path}: expected {READABLE}")
