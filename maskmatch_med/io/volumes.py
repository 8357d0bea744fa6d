"""One door for scans and one for labels, whatever the format.

A scan's values become float32: whole numbers up to 16,777,216 exactly, larger ones of 32 bits and float64 to seven
digits. Larger ones of 64 bits, and numbers beyond float32, are refused, as they are seldom intensities. Labels keep
their stored type until they are classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from maskmatch_med.errors import InputError
from maskmatch_med.io import rasters
from maskmatch_med.io.formats import (
    FORMATS,
    Header,
    Reader,
    ReadOptions,
    StoredScan,
    check_file,
    format_of,
    is_folder,
    unreadable,
)
from maskmatch_med.io.labels import LabelMap, from_file_values
from maskmatch_med.io.masks import MaskCode
from maskmatch_med.volume import Array, Geometry, Volume

_EXACT_IN_FLOAT32 = 1 << 24
_DECIMALS = 9
"""Of places in voxels: what the product of two affines is off by would put border voxels outside the source."""
_DEFAULT = ReadOptions()


def read_volume(path: Path | Sequence[Path], *, channels: int | None = None, options: ReadOptions = _DEFAULT) -> Volume:
    """Read a scan: one file, or one file a channel.

    Channels that lie on another grid than the first are resampled to it linearly, 0 outside.

    Args:
        path: a file (a coloured picture or volume has 3 channels, alpha dropped), the files of the channels in their
            order, or a folder or zip archive of one DICOM series.
        channels: how many channels are expected. Where more than one, a single file may hold them along its fourth
            axis, as MSD stores them; the number of separate files is not checked.
        options: frames of a fourth axis, magnitude of complex values, name of a DICOM series.

    Raises:
        InputError: a file is missing, damaged, of an unknown format, or has a fourth axis that is not known to hold
            the channels or has another length than ``channels``.
    """
    paths = [path] if isinstance(path, Path) else list(path)
    if not paths:
        raise InputError("no file was given to read")
    if len(paths) == 1 and channels is not None:
        options = replace(options, channels=channels)
    array, geometry = _read_one(paths[0], options)
    arrays = [array]
    for other in paths[1:]:
        values, grid = _read_one(other, options)
        arrays.append(values if grid.same_grid(geometry) else resample(values, grid, geometry))
    return Volume(arrays[0] if len(arrays) == 1 else np.concatenate(arrays), geometry)


def read_stored(path: Path, options: ReadOptions = _DEFAULT) -> StoredScan:
    """Read one file, or a folder or archive of one DICOM series, in the type in which its values are exact.

    Raises:
        InputError: as :func:`read_volume`.
    """
    return _reader(path).read(path, options)


def read_header(path: Path, options: ReadOptions = _DEFAULT) -> Header:
    """What a file says of itself, without its values.

    Raises:
        InputError: as :func:`read_volume`, as far as the header shows it.
    """
    return _reader(path).header(path, options)


def read_labels(path: Path, *, unjudged: int | None = None, code: MaskCode | None = None) -> LabelMap:
    """Read a label map (X, Y, Z) uint8.

    Args:
        path: a label in any of the formats of scans, or a mask picture.
        unjudged: the value of a label that stands for "not judged" and becomes 255; None where no value does.
        code: how a picture's pixels become classes; found from this one picture where not given.

    Raises:
        InputError: missing, damaged, or values that are no class numbers.
    """
    if rasters.is_raster(path):
        return (code or MaskCode.of([path])).decode(path)
    stored = read_label_values(path)
    return LabelMap(from_file_values(stored.array[0], path, unjudged), stored.geometry)


def read_label_values(path: Path) -> StoredScan:
    """The values of a label file as they are stored, (1, X, Y, Z).

    Raises:
        InputError: missing or damaged, or it holds several frames or colours.
    """
    found = read_header(path)
    if found.frames * found.channels != 1:
        several = f"{found.frames} frames" if found.frames > 1 else "colours"
        raise InputError(f"the label {path} holds {several}; expected one label volume (X, Y, Z) of whole numbers")
    return read_stored(path)


def resample(array: NDArray[np.float32], source: Geometry, target: Geometry) -> NDArray[np.float32]:
    """Bring (C, X, Y, Z) from one grid to another by linear interpolation in world space; 0 outside the source.

    Grids that differ in the order and direction of their axes alone are turned, which is exact.
    """
    turned, wanted = source.to_canonical(), target.to_canonical()
    if turned.target.same_grid(wanted.target):
        return np.ascontiguousarray(wanted.invert(turned.apply(array)))
    matrix = np.linalg.inv(source.affine) @ target.affine
    return np.stack(
        [
            affine_transform(
                channel,
                matrix[:3, :3].round(_DECIMALS),
                offset=matrix[:3, 3].round(_DECIMALS),
                output_shape=target.shape,
                order=1,
                mode="constant",
            )
            for channel in array
        ]
    ).astype(np.float32)


def _reader(path: Path) -> Reader:
    if is_folder(path):
        return next(row for row in FORMATS if row.module == "dicom").reader()
    found = format_of(path)
    if found is None:
        check_file(path)
        raise unreadable(path)
    return found.reader()


def _read_one(path: Path, options: ReadOptions) -> tuple[NDArray[np.float32], Geometry]:
    stored = read_stored(path, options)
    return as_float32(stored.array, path), stored.geometry


def as_float32(array: Array, path: Path) -> NDArray[np.float32]:
    """The values of a scan as they are worked with.

    Raises:
        InputError: float32 cannot hold them; the message names ``path``.
    """
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        largest = max(abs(int(array.min())), abs(int(array.max())))
        if largest > _EXACT_IN_FLOAT32:
            raise InputError(
                f"{path} holds 64-bit whole numbers up to {largest}, which float32 would round above "
                f"{_EXACT_IN_FLOAT32}; rescale them or save them as float32"
            )
    with np.errstate(over="ignore"):
        values = array.astype(np.float32, copy=False)
    if array.dtype.kind == "f" and array.dtype.itemsize > values.dtype.itemsize:
        lost = np.isinf(values) & np.isfinite(array)
        if lost.any():
            raise InputError(
                f"{path} holds the value {array[lost].flat[0]:.6g}, beyond the largest number of float32 "
                f"({np.finfo(np.float32).max:.3g}); rescale its values or set such voxels to 0"
            )
    return values
