"""2D pictures: PNG, JPEG, TIFF, GIF, BMP.

A picture is a single slice: x is the column, y is the row, the affine is diag(-1, -1, 1) as its pixels carry no length.
nnU-Net takes the first of the axes with the largest spacing as the one across slices and reads the third axis first, so
one millimetre in each direction is enough for it to see a 2D data set.
"""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from maskmatch_med.errors import InputError
from maskmatch_med.io.formats import Header, ReadOptions, StoredScan
from maskmatch_med.volume import Array, Geometry

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp")
LOSSY_SUFFIXES = (".jpg", ".jpeg")
_BROKEN = (
    Image.DecompressionBombError,
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    struct.error,
    zlib.error,
)
_IN_MEMORY = re.compile(r"(image file )?<_io\.BytesIO[^>]*>")
"""How Pillow names the file, whose bytes it gets."""
_MOST_PIXELS_A_BYTE = {"PNG": 8 * 1040, "GIF": 2740, "JPEG": 1040, "BMP": 130}
"""How many pixels a stored byte can become, by the compression of the format; TIFF has several without a bound."""
_GREY_MODES = {"1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "F"}


def is_raster(path: Path) -> bool:
    """Whether the file's name ends as that of a 2D picture does."""
    return path.suffix.lower() in SUFFIXES


def header(path: Path, options: ReadOptions) -> Header:
    """What a picture says of itself; it is decoded for that."""
    return read(path, options).header


def read(path: Path, options: ReadOptions) -> StoredScan:
    """Read a picture as (C, X, Y, 1) of its own type: C is 1 for grey modes and palettes of greys, else 3.

    Raises:
        InputError: missing, damaged, too large, or of several pages.
    """
    picture = open_picture(path)
    pixels = to_grey_or_rgb(picture)
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    array = np.ascontiguousarray(planes.transpose(2, 1, 0)[..., None])
    geometry = slice_geometry(array.shape[1], array.shape[2])
    name = f"{path.suffix.lstrip('.').upper()} picture"
    return StoredScan(array, Header(name, f"{picture.mode} {array.dtype}", geometry, channels=len(array)))


def slice_geometry(columns: int, rows: int) -> Geometry:
    """The grid of a picture of that size in pixels; a pixel measures one millimetre."""
    return Geometry((columns, rows, 1), np.diag([-1.0, -1.0, 1.0, 1.0]))


def to_grey_or_rgb(picture: Image.Image) -> Array:
    """The pixels as (rows, columns) for grey modes and palettes of greys, else (rows, columns, 3) uint8."""
    if picture.mode == "LA":
        return np.asarray(picture.getchannel("L"))
    if picture.mode == "1":
        return np.asarray(picture.convert("L"))
    if picture.mode in _GREY_MODES:
        return np.asarray(picture)
    if picture.mode == "RGBA":
        return np.asarray(picture)[..., :3]
    if picture.mode == "P":
        pixels = np.asarray(picture.convert("RGBA" if "transparency" in picture.info else "RGB"))[..., :3]
        return pixels[..., 0] if (pixels == pixels[..., :1]).all() else pixels
    return np.asarray(picture.convert("RGB"))


def open_picture(path: Path) -> Image.Image:
    """Decode a picture of one page, turned as its EXIF orientation asks.

    Raises:
        InputError: missing, damaged, too large, or of several pages.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(path.read_bytes())) as picture:  # a damaged length reads no further
                pages = getattr(picture, "n_frames", 1)
                if pages > 1:
                    raise InputError(f"{path} holds {pages} pages or frames; save each as a picture of its own")
                _check_promise(picture, path)
                picture.load()
                return ImageOps.exif_transpose(picture)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path} does not fit into memory; crop or downsample it") from error
    except _BROKEN as error:
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        reason = _IN_MEMORY.sub("it", reason)
        raise InputError(f"cannot read the picture {path} ({reason}); check the file or save it anew") from error


def _check_promise(picture: Image.Image, path: Path) -> None:
    """Refuse a picture whose header promises more pixels than its file can hold, before they are allocated."""
    most = _MOST_PIXELS_A_BYTE.get(picture.format or "")
    if most is not None and picture.width * picture.height > most * path.stat().st_size:
        size = f"{picture.width} × {picture.height}"
        raise InputError(f"{path} is cut off: its header promises {size} pixels, more than the file can hold")
