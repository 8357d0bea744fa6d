"""FreeSurfer MGH/MGZ, AFNI (.HEAD/.BRIK) and MINC, by nibabel.

MGH and AFNI headers are parsed here and their voxels read as blocks. MINC 1 is NetCDF and MINC 2 is HDF5, which a C
library reads: both are read in a guarded child process. The function ``load_minc`` runs in the child.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.brikhead import AFNIHeaderError, AFNIImageError
from nibabel.freesurfer.mghformat import MGHError

from maskmatch_med.errors import InputError
from maskmatch_med.io.blocks import BROKEN, Block, check_promise, four_axes, opened, read_block, reason
from maskmatch_med.io.formats import Header, ReadOptions, StoredScan, check_file, looks_like, strip_extension
from maskmatch_med.io.guard import GUARD, Limits
from maskmatch_med.volume import Array, Geometry

_MGH_ENDINGS = (".mgh", ".mgz", ".mgh.gz")
_MGH_HEADER_BYTES = 284
_AFNI_HEADER_BYTES = 1 << 24
_MINC_EXPANSION = 64
_ANY = ReadOptions(frames=(0,))


def header(path: Path, options: ReadOptions) -> Header:
    """What an MGH, AFNI or MINC file says of itself.

    Raises:
        InputError: missing, damaged, or not of 2 to 4 axes.
    """
    if path.name.lower().endswith(".mnc"):
        return _minc(path, None)[0]
    return _parse(path)[0]


def read(path: Path, options: ReadOptions) -> StoredScan:
    """Read an MGH, AFNI or MINC file; an AFNI scan by either of its two files.

    Raises:
        InputError: as :func:`header`, too large for this machine, or with a fourth axis of which nothing says what it
            holds.
    """
    if path.name.lower().endswith(".mnc"):
        found = header(path, options)
        array = _minc(path, options.choose(path, found.frames))[1]
        if array is None:
            raise InputError(f"{path} gave no values; check the file or export it anew")
        return StoredScan(array, found)
    stated, block = _parse(path)
    return StoredScan(read_block(block, options), stated)


def load_minc(path: Path, arguments: dict[str, Any]) -> tuple[dict[str, Any], Array | None]:
    """In the child: the header of a MINC file, and its values (F, X, Y, Z) where frames are asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image: Any = nib.load(path)
        if not isinstance(image, nib.Minc1Image | nib.Minc2Image):
            raise ValueError(f"it is no MINC file but {type(image).__name__}")
        shape = tuple(int(n) for n in image.shape)
        names = image.dataobj.minc_file._dim_names
        if len(shape) > 3 and str(names[0]).endswith("space"):
            raise ValueError(f"its axes are {names}; only time may come before space")
        facts = {
            "shape": [*shape[1:], shape[0]] if len(shape) == 4 else list(shape),
            "affine": np.asarray(image.affine).tolist(),
            "dtype": str(image.get_data_dtype()),
            "name": "MINC2" if isinstance(image, nib.Minc2Image) else "MINC1",
        }
        if arguments["frames"] is None:
            return facts, None
        values = np.asarray(image.dataobj)
        frames = values if len(shape) == 4 else values[None]
        return facts, np.ascontiguousarray(frames[list(arguments["frames"])])


def _minc(path: Path, frames: tuple[int, ...] | None) -> tuple[Header, Array | None]:
    check_file(path)
    with path.open("rb") as stream:
        start = stream.read(4)
    if start[:3] != b"CDF" and start != b"\x89HDF":
        raise InputError(
            f"{path} is cut off or no MINC file at all{looks_like(path)}; check the file or export it anew"
        )
    if start == b"\x89HDF" and find_spec("h5py") is None:
        raise InputError(
            f"{path} is a MINC2 file, which needs the package h5py: install maskmatch-med[minc] or save it as .nii.gz"
        )
    size = path.stat().st_size
    facts, array = GUARD.run(
        "maskmatch_med.io.neuro:load_minc", path, Limits.of(size, size * _MINC_EXPANSION), frames=frames
    )
    shape = four_axes(tuple(facts["shape"]), path)
    found = Header(facts["name"], facts["dtype"], _geometry(shape[:3], np.array(facts["affine"]), path), shape[3])
    return found, array


def _parse(path: Path) -> tuple[Header, Block]:
    check_file(path)
    with _refusals(path):
        if path.name.lower().endswith(_MGH_ENDINGS):
            name, raw, block = "MGH", *_mgh(path)
        else:
            name, raw, block = "AFNI", *_afni(path)
        affine = np.array(raw.get_affine(), dtype=np.float64)
    check_promise(block.path, block.shape, block.dtype.itemsize, block.offset, _ANY)
    return Header(name, block.describe_dtype(), _geometry(block.shape[:3], affine, path), block.shape[3]), block


def _mgh(path: Path) -> tuple[Any, Block]:
    with opened(path) as stream:
        start = stream.read(_MGH_HEADER_BYTES)
    if len(start) < _MGH_HEADER_BYTES:
        raise EOFError(f"{len(start)} bytes")
    raw = nib.freesurfer.mghformat.MGHHeader(start)
    shape = four_axes(tuple(raw.get_data_shape()), path)
    return raw, Block(path, raw.get_data_dtype(), shape, _MGH_HEADER_BYTES)


def _afni(path: Path) -> tuple[Any, Block]:
    head = _of_pair(path, (".HEAD",))
    data = _of_pair(path, (".BRIK", ".BRIK.gz"))
    check_file(head)
    with head.open("rb") as stream:
        text = stream.read(_AFNI_HEADER_BYTES).decode("latin-1")
    raw = nib.brikhead.AFNIHeader.from_fileobj(StringIO(text))
    shape = four_axes(tuple(int(n) for n in raw.get_data_shape()), path)
    if not data.is_file():
        raise InputError(f"{path} has no voxels beside it: the file {data.name} is missing; copy it there")
    scaling = raw.get_data_scaling()
    factors = [1.0] if scaling is None else [float(f) for f in np.ravel(scaling)]
    if len(factors) not in {1, shape[3]}:
        raise ValueError(f"{len(factors)} scales for {shape[3]} frames")
    return raw, Block(data, raw.get_data_dtype(), shape, 0, tuple((factor, 0.0) for factor in factors))


def _of_pair(path: Path, endings: tuple[str, ...]) -> Path:
    base = strip_extension(path)
    names = [base + e for ending in endings for e in (ending, ending.lower())]
    return next((path.with_name(n) for n in names if path.with_name(n).is_file()), path.with_name(names[0]))


def _geometry(shape: tuple[int, int, int], affine: Array, path: Path) -> Geometry:
    try:
        return Geometry(shape, affine)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Turn what a damaged header raises into one sentence."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except (*BROKEN, AFNIHeaderError, AFNIImageError, MGHError) as error:
        raise InputError(
            f"cannot read the header of {path} ({reason(error)}){looks_like(path)}; check the file or export it anew"
        ) from error
