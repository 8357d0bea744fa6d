"""From stored bytes to stored numbers.

Plain and run-length coded pixels are read here. JPEG, JPEG-LS and JPEG 2000 are decoded by libraries written in C and
C++, which a damaged file can crash; they run in the guarded child process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
)

from maskmatch_med.io.archives import reason
from maskmatch_med.io.dicom.frames import BROKEN, Frame
from maskmatch_med.io.dicom.source import DicomFile
from maskmatch_med.io.guard import GUARD, Limits
from maskmatch_med.volume import Array

_DECODED_BY_LIBRARIES = frozenset({*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes})
_BYTES_A_SAMPLE = 4


def read_header(file: DicomFile) -> Dataset:
    """All attributes but the pixels."""
    with file.open() as stream:
        dataset = pydicom.dcmread(stream, stop_before_pixels=True, force=True)
    _name_syntax(dataset)
    return dataset


def stored_pixels(file: DicomFile, header: Dataset, frames: Sequence[Frame]) -> Iterable[Array]:
    """The stored numbers (rows, columns) or (rows, columns, 3) of some frames of a file, in their order.

    Raises:
        InputError: the decoder refused the file, crashed, or needed more time or memory than it may.
    """
    indices = [max(frame.index, 0) for frame in frames]
    if not needs_a_library(header):
        return _decoded(file, indices)
    columns, rows = frames[0].plane.shape
    return decoded_in_child(file, indices, columns * rows * frames[0].coding.samples)


def needs_a_library(header: Dataset) -> bool:
    """Whether the pixels are decoded by a library written in C or C++."""
    return header.file_meta.get("TransferSyntaxUID") in _DECODED_BY_LIBRARIES


def decoded_in_child(file: DicomFile, indices: Sequence[int], samples: int) -> Array:
    """Some frames of a file, each of so many numbers, stacked along a first axis.

    Raises:
        InputError: the decoder refused the file, crashed, or needed more time or memory than it may.
    """
    limits = Limits.of(file.path.stat().st_size, len(indices) * samples * _BYTES_A_SAMPLE)
    _, values = GUARD.run(
        "maskmatch_med.io.dicom.decoding:decode_in_child", file.path, limits, member=file.member, indices=list(indices)
    )
    return np.empty(0) if values is None else values


def decode_in_child(path: Path, arguments: dict[str, Any]) -> tuple[dict[str, Any], Array]:
    """What the guarded child process does: decode some frames of a file, stacked along a first axis.

    Raises:
        ValueError: it cannot be decoded; the message is that of a decoder which says what it does not support.
    """
    try:
        return {}, np.stack(list(_decoded(DicomFile(path, arguments["member"]), arguments["indices"])))
    except MemoryError:
        raise
    except RuntimeError as error:
        lines = (line.strip() for line in str(error).splitlines())
        raise ValueError(next((line for line in lines if "support" in line), "they cannot be decompressed")) from error
    except BROKEN as error:
        raise ValueError(reason(error)) from error


def _decoded(file: DicomFile, indices: Sequence[int]) -> Iterator[Array]:
    with file.open() as stream:
        dataset = pydicom.dcmread(stream, force=True)
    _name_syntax(dataset)
    yield from iter_pixels(dataset, indices=indices)


def _name_syntax(dataset: Dataset) -> None:
    """Say how the values are stored where a file without a preamble does not."""
    if not dataset.file_meta.get("TransferSyntaxUID"):
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
