"""Whether a file holds all the pixels that it announces, told without reading them."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from pydicom.dataset import FileDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

_UNDEFINED = 0xFFFFFFFF
_ITEM = 0xE000
_SHORT_HEADER, _LONG_HEADER = 8, 12
"""Bytes before the value of an element: without the type of its value, and with it."""


def is_cut_off(stream: BinaryIO, dataset: FileDataset) -> bool:
    """Whether a file ends before its pixels do, or has none.

    Args:
        stream: of the file, at the element of the pixels.
        dataset: what was read before it.
    """
    if dataset.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        return False  # what was read is not what the file holds; zlib finds out whether all is there
    implicit, little = dataset.original_encoding
    order = "<" if little else ">"
    start = stream.tell()
    end = stream.seek(0, os.SEEK_END)
    stream.seek(start)
    head = stream.read(_SHORT_HEADER if implicit else _LONG_HEADER)
    if len(head) < (_SHORT_HEADER if implicit else _LONG_HEADER):
        return True
    length = struct.unpack(f"{order}I", head[-4:])[0]
    return _items_cut_off(stream, end) if length == _UNDEFINED else start + len(head) + length > end


def _items_cut_off(stream: BinaryIO, end: int) -> bool:
    """The same for compressed pixels, which lie in items one behind the other, always little-endian."""
    while len(head := stream.read(_SHORT_HEADER)) == _SHORT_HEADER:
        group, element, length = struct.unpack("<HHI", head)
        if (group, element) != (0xFFFE, _ITEM):
            return False
        if stream.tell() + length > end:
            return True
        stream.seek(length, os.SEEK_CUR)
    return False
