"""NIfTI-1 and NIfTI-2 files (.nii, .nii.gz) and pairs (.hdr/.img, each gzipped or not); Analyze and SPM pairs too.

Which affine holds is nibabel's rule: the sform where its code is above 0, else the qform where its code is above 0,
else the voxel sizes of ``pixdim`` with the first axis pointing left and the origin in the middle of the grid. Lengths
stored in metres or micrometres (``xyzt_units``) become millimetres. Stored integers are scaled by slope and intercept.
Analyze states no orientation: its first axis is taken as pointing left, as SPM and nibabel do, unless SPM's .mat file
lies beside it. Headers are parsed by nibabel; the voxels are read by :mod:`maskmatch_med.io.blocks`.
"""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel import imageglobals
from nibabel.fileholders import FileHolder
from numpy.typing import NDArray

from maskmatch_med.errors import InputError
from maskmatch_med.io.atomic import atomic_path
from maskmatch_med.io.blocks import (
    BROKEN,
    Block,
    check_promise,
    four_axes,
    is_gzip,
    opened,
    read_block,
    read_slab,
    reason,
)
from maskmatch_med.io.formats import Header, ReadOptions, StoredScan, check_file, looks_like, strip_extension
from maskmatch_med.io.labels import LabelMap, as_uint8
from maskmatch_med.volume import Array, Geometry

SUFFIXES = (".nii.gz", ".nii")
_MM_PER_UNIT = {1: 1000.0, 3: 0.001}
"""By NIfTI's code: 1 metre, 3 micrometre; anything else is taken as millimetres."""
_HEADER_BYTES = 540
_DATA_AT = {1: 352, 2: 544}
"""Where the voxels of a single file begin at the earliest, by NIfTI's version."""
_CIFTI_INTENTS = range(3000, 3100)
_MAT_BYTES = 1 << 16
_LONGEST_AXIS = 32_767
"""Of a NIfTI-1 file, which is what all other programs read."""
_CANNOT = "is cut off or not a NIfTI file at all"
_KIND = "NIfTI"
_PLAIN = ReadOptions()
_STEPS = 65_534
"""Steps into which fractions are divided where they are written with 16 bits."""


def is_nifti(path: Path) -> bool:
    """Whether the file's name ends as a NIfTI file's does."""
    return path.name.lower().endswith(SUFFIXES)


def header(path: Path, options: ReadOptions = _PLAIN) -> Header:
    """What a NIfTI file, or either file of a NIfTI or Analyze pair, says of itself.

    Raises:
        InputError: missing, damaged, or not of 2 to 4 axes.
    """
    return _parse(path)[0]


def read(path: Path, options: ReadOptions = _PLAIN) -> StoredScan:
    """Read a NIfTI file, or a NIfTI or Analyze pair by either of its files. NaN and infinite values are kept.

    Raises:
        InputError: missing, damaged, too large for this machine, complex without the option ``magnitude``, or with a
            fourth axis of which nothing says what it holds.
    """
    found, block = _parse(path)
    if not block.path.is_file():
        raise InputError(f"{path} has no voxels beside it: the file {block.path.name} is missing; copy it there")
    return StoredScan(read_block(block, options), found)


def read_part(path: Path, place: tuple[slice, slice, slice]) -> Array:
    """Read a box of the first volume of a NIfTI file, and no more of the file than lies before the end of the box.

    Args:
        path: the file.
        place: the box in voxels of the file, each slice with its start and stop.

    Returns:
        (A, B, C) numbers, as :func:`read` gives them.

    Raises:
        InputError: missing, damaged, or complex.
    """
    return read_slab(_parse(path)[1], place[2].start, place[2].stop)[place[0], place[1]]


def read_geometry(path: Path) -> Geometry:
    """The grid of a NIfTI file, from its header alone.

    Raises:
        InputError: the header cannot be used.
    """
    return header(path).geometry


def axes(path: Path) -> tuple[int, ...]:
    """The axis lengths as the header states them, nothing squeezed.

    Raises:
        InputError: the header cannot be used.
    """
    return tuple(int(n) for n in _image(path).shape)


def write_segmentation(path: Path, labels: Array, geometry: Geometry) -> None:
    """Write a label map as NIfTI: uint8, affine and its code in sform and qform, the file whole or absent.

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
    _write(path, np.asarray(array, dtype=np.float32), geometry)


def write_scan(path: Path, array: Array, geometry: Geometry) -> None:
    """Write one channel of a scan: as whole numbers of 8 or 16 bits where that is exact, else as float32.

    Args:
        path: ends in .nii.gz or .nii.
        array: (X, Y, Z) numbers.
        geometry: the grid of the values.

    Raises:
        InputError: array and geometry disagree about the shape.
    """
    _write(path, array.astype(_narrowest(array)), geometry)


def write_shown(path: Path, array: Array, geometry: Geometry) -> None:
    """Write one channel of a scan small enough to travel: as :func:`write_scan`, or scaled to 16 bits.

    Fractions become steps of a 65,534th of the values' extent, unless a few extreme values would make these steps
    coarser than a 500th of what most values span.

    Args:
        path: ends in .nii.gz or .nii.
        array: (X, Y, Z) finite numbers.
        geometry: the grid of the values.

    Raises:
        InputError: array and geometry disagree about the shape.
    """
    kind = _narrowest(array)
    low, high = float(array.min()), float(array.max())
    step = (high - low) / _STEPS
    most = np.percentile(array.ravel(order="K")[:: max(1, array.size // 1_000_000)], (1, 99))
    if kind is not np.float32 or not 0 < step <= (most[1] - most[0]) / 500:
        _write(path, array.astype(kind, copy=False), geometry, quick=True)
        return
    whole = np.rint((array - low) / step - _STEPS // 2).astype(np.int16)
    _write(path, whole, geometry, quick=True, scale=(step, low + step * (_STEPS // 2)))


def write_colour(path: Path, colours: NDArray[np.uint8], geometry: Geometry) -> None:
    """Write a coloured picture as NIfTI of red, green and blue, 8 bits each.

    Args:
        path: ends in .nii.gz or .nii.
        colours: (3, X, Y, Z) uint8.
        geometry: the grid of the pixels.

    Raises:
        InputError: array and geometry disagree about the shape.
    """
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    _write(path, np.ascontiguousarray(np.moveaxis(colours, 0, -1)).view(kind)[..., 0], geometry, quick=True)


def _narrowest(array: Array) -> type[np.generic]:
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and np.array_equal(array, np.rint(array))):
        return np.float32
    low, high = float(array.min()), float(array.max())
    kinds: tuple[type[np.integer[Any]], ...] = (np.uint8, np.int16, np.uint16)
    return next((kind for kind in kinds if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max), np.float32)


def compress(source: Path, target: Path) -> None:
    """Write the bytes of a .nii file as .nii.gz, header and voxels unchanged."""
    with atomic_path(target) as part, part.open("wb") as raw, _gzip(raw) as out, source.open("rb") as read:
        while block := read.read(1 << 20):
            out.write(block)


def _write(
    path: Path, array: Array, geometry: Geometry, *, quick: bool = False, scale: tuple[float, float] | None = None
) -> None:
    if not is_nifti(path):
        raise InputError(f"cannot write {path}: the name must end in .nii.gz or .nii")
    if array.shape != geometry.shape:
        raise InputError(f"{path} needs an array of shape {geometry.shape}, got {array.shape}")
    if max(array.shape) > _LONGEST_AXIS:
        raise InputError(
            f"{path} would need {max(array.shape)} voxels along an axis, NIfTI holds {_LONGEST_AXIS}; cut it"
        )
    image = nib.Nifti1Image(array, geometry.affine)
    image.set_sform(geometry.affine, code=geometry.space)
    image.set_qform(geometry.affine, code=geometry.space)
    image.header.set_xyzt_units("mm")
    if scale is not None:
        image.header.set_slope_inter(*scale)
    with atomic_path(path) as part, part.open("wb") as raw:
        if path.name.lower().endswith(".gz"):
            with _gzip(raw, 1 if quick else 4) as out:
                image.to_stream(out)
        else:
            image.to_stream(raw)


def _gzip(raw: Any, level: int = 4) -> gzip.GzipFile:
    return gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=level)


@dataclass(frozen=True, eq=False)
class _Stated:
    """A header of nibabel's, its shape, and its affine from voxel index to RAS+ in its own unit of length."""

    header: Any
    shape: tuple[int, ...]
    affine: Array


def _parse(path: Path) -> tuple[Header, Block]:
    """What the header says, and where the voxels lie; both held against the size of the file."""
    image = _image(path)
    raw = image.header
    version = {nib.Nifti1Header: 1, nib.Nifti2Header: 2}.get(type(raw))
    shape = four_axes(tuple(image.shape), path)
    data = path if version else _beside(path, ".img")
    block = Block(data, raw.get_data_dtype(), shape, max(_offset(raw, path), _DATA_AT[version] if version else 0))
    if block.dtype.kind not in "iufcV" or block.dtype.hasobject:
        raise InputError(f"{path} holds values of the type {block.dtype}, which are no intensities; save numbers")
    slope, intercept = _scale(raw, path)
    block = Block(data, block.dtype, shape, block.offset, ((slope, intercept),))
    if data.is_file():
        check_promise(data, shape, block.dtype.itemsize, block.offset, ReadOptions(frames=(0,)))
    geometry = _geometry(image, shape, path)
    channels = 3 if block.is_colour else 1
    return Header(_format_name(image), block.describe_dtype(), geometry, shape[3], channels), block


def _image(path: Path) -> _Stated:
    check_file(path)
    pair = not is_nifti(path)
    source = _beside(path, ".hdr") if pair else path
    if pair:
        check_file(source)
    try:
        with _quiet(), np.errstate(all="ignore"):
            with opened(source) as stream:
                raw = stream.read(_HEADER_BYTES)
            return _as_image(raw, source, pair)
    except InputError:
        raise
    except (EOFError, gzip.BadGzipFile) as error:
        raise InputError(f"{path} {_CANNOT}{looks_like(source)}; check the file or export it anew") from error
    except BROKEN as error:
        told = f"({reason(error)}){looks_like(source, _KIND)}"
        raise InputError(f"cannot read {path} as NIfTI {told}; check the file or export it anew") from error


def _as_image(raw: bytes, source: Path, pair: bool) -> _Stated:
    if nib.Nifti2Header.may_contain_header(raw):
        kind = nib.nifti2.Nifti2PairHeader if pair else nib.Nifti2Header
    elif nib.Nifti1Header.may_contain_header(raw) or not pair:
        kind = nib.nifti1.Nifti1PairHeader if pair else nib.Nifti1Header
    else:
        return _analyze(raw, source)
    if len(raw) < kind.sizeof_hdr:
        raise EOFError(f"{len(raw)} bytes")
    found = kind(raw[: kind.sizeof_hdr])
    if int(found["intent_code"]) in _CIFTI_INTENTS:
        raise InputError(f"{source} is a CIFTI file: values on a surface, not a scan; export a volume as .nii.gz")
    shape = tuple(int(n) for n in found.get_data_shape())
    return _Stated(found, shape, np.array(found.get_best_affine(), dtype=np.float64))


def _analyze(raw: bytes, source: Path) -> _Stated:
    """Analyze 7.5, SPM99 and SPM2 by nibabel, with SPM's .mat beside it where there is one."""
    kind = nib.Spm2AnalyzeImage
    if not kind.header_class.may_contain_header(raw):
        raise EOFError("no header of an Analyze or NIfTI pair")
    mat = _beside(source, ".mat")
    files = {"header": FileHolder(fileobj=BytesIO(raw[:348])), "image": FileHolder(fileobj=BytesIO())}
    if mat.is_file() and mat.stat().st_size <= _MAT_BYTES:
        files["mat"] = FileHolder(fileobj=BytesIO(mat.read_bytes()))
    else:
        files["mat"] = FileHolder(fileobj=BytesIO())
    found = kind.from_file_map(files)
    stated = kind.header_class(raw[:348])  # the image's own copy has lost the scale and the place of the voxels
    return _Stated(stated, tuple(int(n) for n in found.shape), np.array(found.affine, dtype=np.float64))


def _beside(path: Path, ending: str) -> Path:
    """The other file of a pair: that which exists of ``NAME.img``, ``NAME.img.gz`` and their upper-case twins."""
    base = strip_extension(path)
    gz = ending + ".gz"
    order = (gz, ending) if is_gzip(path) else (ending, gz)
    names = [base + e for e in (*order, *(e.upper() for e in order))]
    return next((path.with_name(n) for n in names if path.with_name(n).is_file()), path.with_name(names[0]))


def _offset(raw: Any, path: Path) -> int:
    try:
        return int(raw.get_data_offset())
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path} states no usable place of its voxels ({reason(error)}); export it anew") from error


def _scale(raw: Any, path: Path) -> tuple[float, float]:
    try:
        slope, intercept = raw.get_slope_inter()
    except BROKEN as error:
        raise InputError(f"{path} states no usable scale of its values ({reason(error)}); export it anew") from error
    return 1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept)


def _geometry(image: _Stated, shape: tuple[int, int, int, int], path: Path) -> Geometry:
    affine = np.array(image.affine, dtype=np.float64)
    space = 1
    if isinstance(image.header, nib.Nifti1Header):
        affine[:3] *= _MM_PER_UNIT.get(int(image.header["xyzt_units"]) & 7, 1.0)
        space = int(image.header["sform_code"]) or int(image.header["qform_code"]) or 1
    try:
        return Geometry(shape[:3], affine, space)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _format_name(image: _Stated) -> str:
    names = {
        nib.Nifti1Header: "NIfTI-1",
        nib.Nifti2Header: "NIfTI-2",
        nib.nifti1.Nifti1PairHeader: "NIfTI-1 pair",
        nib.nifti2.Nifti2PairHeader: "NIfTI-2 pair",
    }
    return names.get(type(image.header), "Analyze 7.5 or SPM pair")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what nibabel says of an odd header; what cannot be read is said in our own message."""
    before, imageglobals.logger.disabled = imageglobals.logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        imageglobals.logger.disabled = before
