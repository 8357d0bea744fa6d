"""NIfTI-1 and NIfTI-2 files (.nii, .nii.gz).

Which affine holds is nibabel's rule: the sform where its code is above 0, else the qform where its code is above 0,
else the voxel sizes of ``pixdim`` with the first axis pointing left and the origin in the middle of the grid. Lengths
stored in metres or micrometres (``xyzt_units``) become millimetres. Stored integers are scaled by slope and intercept.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
from nibabel import imageglobals
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, HeaderTypeError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from maskmatch_med.errors import InputError
from maskmatch_med.io.atomic import atomic_path
from maskmatch_med.io.labels import LabelMap, as_uint8, from_file_values
from maskmatch_med.volume import Array, Geometry

SUFFIXES = (".nii.gz", ".nii")
_MM_PER_UNIT = {1: 1000.0, 3: 0.001}
"""By NIfTI's code: 1 metre, 3 micrometre; anything else is taken as millimetres."""
_GZIP_BEST_RATIO = 1040
_BROKEN = (
    ImageFileError,
    HeaderDataError,
    HeaderTypeError,
    WrapStructError,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    OverflowError,
    ZeroDivisionError,
    struct.error,
    zlib.error,
)


def is_nifti(path: Path) -> bool:
    """Whether the file's name ends as a NIfTI file's does."""
    return path.name.lower().endswith(SUFFIXES)


def read_channels(path: Path) -> tuple[NDArray[np.float32], Geometry]:
    """Read a NIfTI scan of one channel, or of several along a fourth axis.

    Returns:
        (C, X, Y, Z) float32 and the grid. NaN and infinite values are kept.

    Raises:
        InputError: missing, damaged, too large for this machine, complex or coloured, or not of 2 to 4 axes.
    """
    image = _open(path)
    geometry = _geometry(image, path)
    values = _values(image, path, np.float32)
    shape = _squeezed(image.shape, path)
    channels = values.reshape((*shape, 1) if len(shape) == 3 else shape, order="F")
    return np.moveaxis(channels, -1, 0), geometry


def read_nifti(path: Path) -> tuple[NDArray[np.float32], Geometry]:
    """Read a NIfTI scan of one channel as (1, X, Y, Z) float32 and its grid.

    Raises:
        InputError: as :func:`read_channels`, and for a file with a fourth axis longer than 1.
    """
    image = _open(path)
    shape = _squeezed(image.shape, path)
    if len(shape) == 4:
        raise InputError(
            f"{path} has four axes {shape}: a time series or several channels in one file; "
            "save each channel as a file of its own, NAME_0000.nii.gz, NAME_0001.nii.gz, …"
        )
    return read_channels(path)


def read_nifti_labels(path: Path, unjudged: int | None = None) -> LabelMap:
    """Read a label map; whole numbers stored as floating point are fine.

    Args:
        path: the file.
        unjudged: the value that stands for "not judged" and becomes 255; None where no value does.

    Raises:
        InputError: unreadable, not three axes, or values that are not whole numbers from 0 to 254.
    """
    image = _open(path)
    shape = _squeezed(image.shape, path)
    if len(shape) != 3:
        raise InputError(f"the label {path} has axes {shape}; expected one label volume (X, Y, Z) of whole numbers")
    array = _values(image, path, None).reshape(shape, order="F")
    return LabelMap(from_file_values(array, path, unjudged), _geometry(image, path))


def read_geometry(path: Path) -> Geometry:
    """The grid of a NIfTI file, from its header alone.

    Raises:
        InputError: the header cannot be used.
    """
    return _geometry(_open(path), path)


def axes(path: Path) -> tuple[int, ...]:
    """The axis lengths as the header states them, nothing squeezed.

    Raises:
        InputError: the header cannot be used.
    """
    return tuple(int(n) for n in _open(path).shape)


def has_fourth_axis(path: Path) -> bool:
    """Whether the file holds more than one volume along a fourth axis, from its header alone.

    Raises:
        InputError: the header cannot be used.
    """
    return len(_squeezed(_open(path).shape, path)) == 4


def write_segmentation(path: Path, labels: Array, geometry: Geometry) -> None:
    """Write a label map as NIfTI: uint8, the affine in sform and qform, the file whole or absent.

    The same labels give the same bytes: the gzip header carries no time and no name.

    Args:
        path: ends in .nii.gz or .nii.
        labels: (X, Y, Z) whole numbers from 0 to 255.
        geometry: the grid of the labels.

    Raises:
        InputError: shape or values do not fit.
    """
    _write(path, LabelMap(as_uint8(np.asarray(labels), f"the label for {path}"), geometry).array, geometry)


def write_map(path: Path, array: Array, geometry: Geometry) -> None:
    """Write one value a voxel as float32 NIfTI, such as an uncertainty or one channel of a scan.

    Args:
        path: ends in .nii.gz or .nii.
        array: (X, Y, Z) numbers.
        geometry: the grid of the values.

    Raises:
        InputError: array and geometry disagree about the shape.
    """
    if array.shape != geometry.shape:
        raise InputError(f"{path} needs an array of shape {geometry.shape}, got {array.shape}")
    _write(path, np.asarray(array, dtype=np.float32), geometry)


def compress(source: Path, target: Path) -> None:
    """Write the bytes of a .nii file as .nii.gz, header and voxels unchanged."""
    with atomic_path(target) as part, part.open("wb") as raw, _gzip(raw) as out, source.open("rb") as read:
        while block := read.read(1 << 20):
            out.write(block)


def _write(path: Path, array: Array, geometry: Geometry) -> None:
    if not is_nifti(path):
        raise InputError(f"cannot write {path}: the name must end in .nii.gz or .nii")
    image = nib.Nifti1Image(array, geometry.affine)
    image.set_sform(geometry.affine, code=1)
    image.set_qform(geometry.affine, code=1)
    image.header.set_xyzt_units("mm")
    with atomic_path(path) as part, part.open("wb") as raw:
        if path.name.lower().endswith(".gz"):
            with _gzip(raw) as out:
                image.to_stream(out)
        else:
            image.to_stream(raw)


def _gzip(raw: Any) -> gzip.GzipFile:
    return gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=4)


def _open(path: Path) -> Any:
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected a NIfTI file")
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        with np.errstate(all="ignore"), _quiet():
            image = nib.load(path)
            if not isinstance(image, nib.Nifti1Pair):
                raise InputError(f"{path} is not a NIfTI file but {type(image).__name__}; convert it to .nii.gz")
            _guard_size(image, path)
    except InputError:
        raise
    except ImageFileError as error:
        raise InputError(f"{path} is cut off or not a NIfTI file at all; check the file or export it anew") from error
    except _BROKEN as error:
        raise InputError(f"cannot read {path} as NIfTI ({_reason(error)}); check the file or export it anew") from error
    return image


def _guard_size(image: Any, path: Path) -> None:
    """Refuse what cannot be true of this file or cannot fit this machine, before anything is allocated."""
    dtype = image.get_data_dtype()
    if dtype.kind not in "iuf":
        raise InputError(f"{path} holds {'complex' if dtype.kind == 'c' else 'colour'} values; save one number a voxel")
    shape = [int(n) for n in image.shape]
    if not shape or min(shape) < 1:
        raise InputError(f"{path} has axes {tuple(shape)}; every axis needs at least one voxel")
    voxels = 1
    for n in shape:
        voxels *= n
    stored = path.stat().st_size * (_GZIP_BEST_RATIO if path.name.lower().endswith(".gz") else 1)
    if voxels * dtype.itemsize > stored:
        raise InputError(f"{path} is cut off: its header promises {tuple(shape)} voxels, more than the file can hold")
    if voxels * 8 > psutil.virtual_memory().total:
        raise InputError(f"{path} with {tuple(shape)} voxels does not fit into memory; crop or downsample it")


def _squeezed(shape: tuple[int, ...], path: Path) -> tuple[int, ...]:
    axes = list(shape)
    while len(axes) > 3 and axes[-1] == 1:
        axes.pop()
    if len(axes) == 2:
        axes.append(1)
    if len(axes) not in {3, 4}:
        raise InputError(f"{path} has axes {shape}; expected a slice (X, Y) or a volume (X, Y, Z)")
    return tuple(axes)


def _geometry(image: Any, path: Path) -> Geometry:
    shape = _squeezed(image.shape, path)
    affine = np.array(image.affine, dtype=np.float64)
    affine[:3] *= _MM_PER_UNIT.get(int(image.header["xyzt_units"]) & 7, 1.0)
    try:
        return Geometry((shape[0], shape[1], shape[2]), affine)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _values(image: Any, path: Path, dtype: type[np.float32] | None) -> Array:
    try:
        with np.errstate(all="ignore"), _quiet():
            if path.name.lower().endswith(".gz"):
                image = _decompressed(image, path)
            values = (
                np.asanyarray(image.dataobj) if dtype is None else image.get_fdata(dtype=dtype, caching="unchanged")
            )
    except MemoryError as error:
        raise InputError(f"{path} does not fit into memory; crop or downsample it") from error
    except _BROKEN as error:
        raise InputError(f"{path} is cut off or damaged ({_reason(error)}); copy or export it anew") from error
    return np.asarray(values)


def _decompressed(image: Any, path: Path) -> Any:
    """The same image from the decompressed bytes, so that gzip's checksum is verified, which nibabel does not do."""
    offset = int(image.dataobj.offset)
    wanted = offset + int(np.prod(image.shape, dtype=np.int64)) * image.get_data_dtype().itemsize
    with gzip.open(path) as stream:
        raw = stream.read(wanted)
        if len(raw) < wanted:
            raise EOFError(f"{len(raw)} of {wanted} bytes")
        stream.read(1)
    return type(image).from_bytes(raw)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without nibabel's log of what it makes of an odd header; what cannot be read is said in our own message."""
    imageglobals.logger.disabled = True
    try:
        yield
    finally:
        imageglobals.logger.disabled = False


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
