"""NRRD (.nrrd, .nhdr with its data file) and MetaImage (.mha, .mhd with its data file), by SimpleITK.

ITK reads in a guarded child process, after :mod:`maskmatch_med.io.itk_headers` has held what the text of the header
promises against the size of the files. ITK's world is LPS+ millimetres: the signs of the first two axes are turned to
RAS+. A file that states no orientation is taken as LPS+, as ITK does. Lengths that an NRRD file states in metres or
micrometres become millimetres. The functions ``inspect`` and ``load`` run in the child.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.errors import InputError
from maskmatch_med.io.formats import Header, ReadOptions, StoredScan, check_file, looks_like
from maskmatch_med.io.guard import GUARD
from maskmatch_med.io.itk_headers import Promise, read_promise
from maskmatch_med.volume import Array, Geometry

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_COLOURS = (3, 4)
"""Numbers a voxel of uint8 that are red, green and blue, and perhaps alpha."""
_THIS = "maskmatch_med.io.itk"


def header(path: Path, options: ReadOptions) -> Header:
    """What an NRRD or MetaImage file says of itself.

    Raises:
        InputError: missing, damaged, data files that are not beside it, or not of 2 to 4 axes.
    """
    return _stated(path)[0]


def read(path: Path, options: ReadOptions) -> StoredScan:
    """Read an NRRD or MetaImage file, with its data file where it has one.

    Raises:
        InputError: as :func:`header`, too large for this machine, complex without the option ``magnitude``, or
            several numbers a voxel of which nothing says what they are.
    """
    found, promise = _stated(path, options.channels)
    if found.dtype.startswith("complex") and not options.magnitude:
        raise InputError(f"{path} holds complex values; save their magnitude, or read that with --magnitude")
    frames = options.choose(path, found.frames)
    colour = found.channels > 1
    _, array = GUARD.run(f"{_THIS}:load", path, promise.limits(), io=promise.reader, frames=frames, colour=colour)
    wanted = (len(frames) * found.channels, *found.geometry.shape)
    if array is None or array.shape != wanted:
        raise InputError(f"{path} gave values that do not fill its grid {found.geometry.shape}; export it anew")
    return StoredScan(array, found)


def inspect(path: Path, arguments: dict[str, Any]) -> tuple[dict[str, Any], None]:
    """In the child: what ITK makes of the header."""
    reader = _reader(path, arguments["io"])
    reader.ReadImageInformation()
    import SimpleITK as sitk  # noqa: N813, PLC0415 - only in the child

    return {
        "size": list(reader.GetSize()),
        "spacing": list(reader.GetSpacing()),
        "origin": list(reader.GetOrigin()),
        "direction": list(reader.GetDirection()),
        "components": reader.GetNumberOfComponents(),
        "type": sitk.GetPixelIDValueAsString(reader.GetPixelID()),
    }, None


def load(path: Path, arguments: dict[str, Any]) -> tuple[dict[str, Any], Array]:
    """In the child: the values as (C, X, Y, Z), of the frames or of the colours asked for."""
    import SimpleITK as sitk  # noqa: N813, PLC0415 - only in the child

    image = _reader(path, arguments["io"]).Execute()
    values = np.asarray(sitk.GetArrayViewFromImage(image))
    components = 1 if values.dtype.kind == "c" else image.GetNumberOfComponentsPerPixel()
    axes = values.ndim - (1 if components > 1 else 0)
    spatial = values.reshape((*values.shape[:axes], components)).transpose(*range(axes - 1, -1, -1), axes)
    grid = (*spatial.shape[:axes], 1)[:3] if axes < 4 else spatial.shape[:3]
    entries = np.moveaxis(spatial.reshape(*grid, -1), -1, 0)
    chosen = entries[:3] if arguments["colour"] else entries[list(arguments["frames"])]
    return {}, np.ascontiguousarray(np.abs(chosen) if chosen.dtype.kind == "c" else chosen)


def _reader(path: Path, reader: str) -> Any:
    import SimpleITK as sitk  # noqa: N813, PLC0415 - only in the child

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    found = sitk.ImageFileReader()
    found.SetImageIO(reader)
    found.SetFileName(str(path))
    return found


def _stated(path: Path, layers: int | None = None) -> tuple[Header, Promise]:
    """What the header says; so many numbers a voxel are no colour."""
    check_file(path)
    try:
        promise = read_promise(path)
    except InputError:
        raise
    except (ValueError, IndexError, KeyError) as error:
        raise InputError(
            f"{path} has no usable header ({str(error)[:120]}){looks_like(path)}; check the file or export it anew"
        ) from error
    facts, _ = GUARD.run(f"{_THIS}:inspect", path, promise.limits(), io=promise.reader)
    size, dtype = [int(n) for n in facts["size"]], _dtype_name(facts["type"])
    components = 1 if dtype.startswith("complex") else int(facts["components"])
    colour = components in _COLOURS and dtype == "uint8" and components != layers
    if not 2 <= len(size) <= 4 or (len(size) == 4 and components > 1):
        raise InputError(
            f"{path} has axes {tuple(size)} with {components} numbers a voxel; expected 2 to 4 axes in all"
        )
    frames = size[3] if len(size) == 4 else 1 if colour else components
    geometry = _geometry(facts, size, promise.mm_per_unit, path)
    named = f"{'RGBA'[:components]} {dtype}" if colour else dtype
    return Header(promise.format, named, geometry, frames, 3 if colour else 1, promise.placed), promise


def _geometry(facts: dict[str, Any], size: list[int], mm_per_unit: float, path: Path) -> Geometry:
    axes = len(size)
    used = min(axes, 3)
    direction: NDArray[np.float64] = np.array(facts["direction"], dtype=np.float64).reshape(axes, axes)
    spacing, origin = np.array(facts["spacing"], np.float64), np.array(facts["origin"], np.float64)
    lps = np.eye(4)
    lps[:used, :used] = (direction * spacing)[:used, :used]
    lps[:used, 3] = origin[:used]
    affine = _LPS_TO_RAS @ lps
    affine[:3] *= mm_per_unit
    shape = [*size, 1][:3]
    try:
        return Geometry((shape[0], shape[1], shape[2]), affine)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _dtype_name(text: str) -> str:
    """``"vector of 16-bit signed integer"`` gives ``"int16"``."""
    words = text.split()
    bits = next(word.removesuffix("-bit") for word in words if word.endswith("-bit"))
    if "complex" in words:
        return f"complex{2 * int(bits)}"
    if "float" in words:
        return f"float{bits}"
    return f"{'uint' if 'unsigned' in words else 'int'}{bits}"
