"""Voxels stored as one block of numbers, plain or gzipped: how NIfTI, Analyze, MGH and AFNI keep them.

What a header promises is held against the size of the file and the memory of the machine before anything is allocated.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import psutil
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, HeaderTypeError
from nibabel.volumeutils import apply_read_scaling
from nibabel.wrapstruct import WrapStructError

from maskmatch_med.errors import InputError
from maskmatch_med.io.formats import ReadOptions
from maskmatch_med.volume import Array

BROKEN = (
    ImageFileError,
    HeaderDataError,
    HeaderTypeError,
    WrapStructError,
    ArithmeticError,
    LookupError,
    OSError,
    EOFError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What a damaged file makes numpy, nibabel and the standard library raise."""
_GZIP_BEST_RATIO = 1040
_WORKING_BYTES = 8
"""Bytes a voxel that reading takes at its peak, beside the stored ones: a copy in float32 and one on its way."""
_PIECE = 1 << 22
_PIECES_AFTER = 16


@dataclass(frozen=True)
class Block:
    """Where the numbers of a file lie and what they stand for.

    Args:
        path: the file that holds them, gzipped where its name says so.
        dtype: as stored, with its byte order; a structure of R, G, B (and A) for colours.
        shape: (X, Y, Z, F), the first axis fastest.
        offset: bytes before the first number.
        scales: slope and intercept, one pair for all frames or one a frame.
    """

    path: Path
    dtype: np.dtype[Any]
    shape: tuple[int, int, int, int]
    offset: int = 0
    scales: tuple[tuple[float, float], ...] = ((1.0, 0.0),)

    @property
    def is_colour(self) -> bool:
        """Whether each voxel holds red, green and blue."""
        return self.dtype.names is not None

    @property
    def frame_bytes(self) -> int:
        """Bytes of one entry of the fourth axis."""
        return math.prod(self.shape[:3]) * self.dtype.itemsize

    def describe_dtype(self) -> str:
        """The stored type in words, such as ``"int16"``, ``"float32, big-endian"`` or ``"RGB uint8"``."""
        if self.dtype.names is not None:
            return f"{''.join(self.dtype.names)} {self.dtype[0].name}"
        return self.dtype.name + (", big-endian" if self.dtype.str.startswith(">") else "")


def four_axes(shape: tuple[int, ...], path: Path) -> tuple[int, int, int, int]:
    """The axes as (X, Y, Z, F): a slice has Z = 1, axes of length 1 after the third are dropped.

    Raises:
        InputError: an empty axis, fewer than two axes, or more than one axis after the third.
    """
    lengths = [int(n) for n in shape]
    if len(lengths) < 2 or min(lengths) < 1:
        raise InputError(f"{path} has axes {tuple(lengths)}; expected a slice (X, Y) or a volume (X, Y, Z)")
    spatial = [*lengths, 1][:3]
    others = [n for n in lengths[3:] if n != 1]
    if len(others) > 1:
        raise InputError(
            f"{path} has axes {tuple(lengths)}; expected a volume (X, Y, Z) or several of them (X, Y, Z, F)"
        )
    return spatial[0], spatial[1], spatial[2], others[0] if others else 1


def check_promise(path: Path, shape: tuple[int, ...], itemsize: int, offset: int, options: ReadOptions) -> None:
    """Refuse what cannot be true of this file or cannot fit this machine, before anything is allocated.

    Raises:
        InputError: the file is shorter than its header promises, or too large for this machine.
    """
    voxels = math.prod(shape)
    stored = path.stat().st_size * (_GZIP_BEST_RATIO if is_gzip(path) else 1)
    if offset < 0 or offset + voxels * itemsize > stored:
        raise InputError(f"{path} is cut off: its header promises {tuple(shape)} voxels, more than the file can hold")
    wanted = math.prod(shape[:3]) * (len(options.frames) if options.frames else math.prod(shape[3:]))
    if wanted * (itemsize + _WORKING_BYTES) > psutil.virtual_memory().total:
        raise InputError(f"{path} with {tuple(shape)} voxels does not fit into memory; crop or downsample it")


def read_block(block: Block, options: ReadOptions) -> Array:
    """The values as (C, X, Y, Z): exact in their stored type, scaled to a float where the file asks for it.

    Raises:
        InputError: cut off, damaged, too large, complex without the option, or frames that are not there.
    """
    if block.dtype.kind == "c" and not options.magnitude:
        raise InputError(f"{block.path} holds complex values; save their magnitude, or read that with --magnitude")
    frames = options.choose(block.path, block.shape[3])
    check_promise(block.path, block.shape, block.dtype.itemsize, block.offset, options)
    with damage_as_input_error(block.path), np.errstate(all="ignore"):
        channels = [part for frame in _stored_frames(block, frames) for part in frame]
        return channels[0][None] if len(channels) == 1 else np.stack(channels)


def read_slab(block: Block, start: int, stop: int) -> Array:
    """The slices ``start`` to ``stop`` (exclusive) across the third axis of the first frame, (X, Y, stop - start).

    A gzipped file is read no further than that, so its checksum is not verified.

    Raises:
        InputError: cut off before, damaged, or no plain numbers.
    """
    if block.dtype.kind not in "iuf":
        raise InputError(f"{block.path} holds {block.describe_dtype()} values; save one plain number a voxel")
    x, y = block.shape[:2]
    slice_bytes = x * y * block.dtype.itemsize
    with damage_as_input_error(block.path), np.errstate(all="ignore"), opened(block.path) as stream:
        _skip(stream, block.offset + start * slice_bytes, is_gzip(block.path))
        values = np.frombuffer(_exactly(stream, (stop - start) * slice_bytes), dtype=block.dtype)
        return _as_channels(values.reshape((x, y, stop - start), order="F"), block, 0)[0]


@contextmanager
def damage_as_input_error(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file raises into one sentence that names it."""
    try:
        yield
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path} does not fit into memory; crop or downsample it") from error
    except BROKEN as error:
        raise InputError(f"{path} is cut off or damaged ({reason(error)}); copy or export it anew") from error


def reason(error: BaseException) -> str:
    """The first line of an error, short enough for a sentence."""
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__


def is_gzip(path: Path) -> bool:
    """Whether the file's name says that it is gzipped."""
    return path.name.lower().endswith((".gz", ".mgz"))


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, decompressed where its name says that it is gzipped."""
    with gzip.open(path) if is_gzip(path) else path.open("rb") as stream:
        yield cast(IO[bytes], stream)


def _stored_frames(block: Block, frames: tuple[int, ...]) -> list[list[Array]]:
    """The channels of each wanted frame; a gzipped file is read to its end, so that its checksum is verified."""
    found: dict[int, list[Array]] = {}
    zipped = is_gzip(block.path)
    with opened(block.path) as stream:
        _skip(stream, block.offset, zipped)
        for frame in range(block.shape[3]):
            if frame not in frames:
                _skip(stream, block.frame_bytes, zipped)
                continue
            values = np.frombuffer(_exactly(stream, block.frame_bytes), dtype=block.dtype)
            found[frame] = _as_channels(values.reshape(block.shape[:3], order="F"), block, frame)
        if zipped:
            _read_on(stream)
    return [found[frame] for frame in frames]


def _as_channels(values: Array, block: Block, frame: int) -> list[Array]:
    if block.is_colour:
        return [np.ascontiguousarray(values[name]) for name in (block.dtype.names or ())[:3]]
    slope, intercept = block.scales[frame if len(block.scales) > 1 else 0]
    scaled = values if (slope, intercept) == (1.0, 0.0) else apply_read_scaling(values, slope, intercept)
    if scaled.dtype.kind == "c":
        scaled = np.abs(scaled)
    return [scaled.astype(scaled.dtype.newbyteorder("="), copy=False)]


def _read_on(stream: IO[bytes]) -> None:
    """Read what follows the voxels, so that gzip verifies its checksum; no further than a damaged file is worth."""
    for _ in range(_PIECES_AFTER):
        if not stream.read(_PIECE):
            return


def _exactly(stream: IO[bytes], count: int) -> bytearray:
    """The next ``count`` bytes; memory grows only as they arrive.

    Raises:
        EOFError: the file ends before.
    """
    data = bytearray()
    while len(data) < count:
        piece = stream.read(min(_PIECE, count - len(data)))
        if not piece:
            raise EOFError(f"{len(data)} of {count} bytes")
        data += piece
    return data


def _skip(stream: IO[bytes], count: int, zipped: bool) -> None:
    if not zipped:
        stream.seek(count, 1)
        return
    while count > 0:
        piece = stream.read(min(_PIECE, count))
        if not piece:
            raise EOFError("the file ends before its voxels")
        count -= len(piece)
