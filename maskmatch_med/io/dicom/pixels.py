"""From stored numbers to values: decompression, sign, inversion for display undone, rescaling, colours."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import psutil
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

from maskmatch_med.errors import InputError
from maskmatch_med.io.archives import reason
from maskmatch_med.io.dicom import kinds
from maskmatch_med.io.dicom.decoding import read_header, stored_pixels
from maskmatch_med.io.dicom.frames import BROKEN, Coding, Frame, quiet
from maskmatch_med.io.dicom.source import DicomFile
from maskmatch_med.volume import Array

_INVERTED = "MONOCHROME1"
_PALETTE = "PALETTE COLOR"
_COLOUR_BITS = 8
"""Kept of each colour of a palette, as a display would."""
_EXACT_TYPES = (np.uint8, np.int16, np.uint16, np.int32)


def is_inverted(frame: Frame) -> bool:
    """Whether stored numbers grow from white to black and are turned round: not where they carry a unit."""
    return frame.coding.photometric == _INVERTED and frame.origin.modality not in kinds.QUANTITATIVE


def channels_of(coding: Coding) -> int:
    """Numbers a voxel: 3 for colours."""
    return 3 if coding.samples == 3 or coding.photometric == _PALETTE else 1


def value_type(frames: Sequence[Frame]) -> type[np.generic]:
    """The smallest type that holds every value exactly: an integer where rescaling leaves whole numbers, or float32."""
    low, high = 0.0, 0.0
    for coding in {frame.coding for frame in frames}:
        slope, intercept, bits, signed = coding.slope, coding.intercept, coding.bits, coding.signed
        if slope is None or not 0 < bits <= 32 or slope % 1 or intercept % 1:
            return np.float32
        if coding.photometric == _PALETTE:
            bits, signed = _COLOUR_BITS, False
        stored = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if signed else (0.0, 2.0**bits - 1)
        ends = [stored[0] * slope + intercept, stored[1] * slope + intercept]
        low, high = min(low, *ends), max(high, *ends)
    fits = (kind for kind in _EXACT_TYPES if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return next(fits, np.float32)


def read_values(frames: Sequence[Frame]) -> Array:
    """The values (C, X, Y, Z) of slices of one size, in their order.

    Raises:
        InputError: a file is damaged, of an unknown compression, or other than its header says; or too large.
    """
    columns, rows = frames[0].plane.shape
    kind = value_type(frames)
    shape = (channels_of(frames[0].coding), columns, rows, len(frames))
    if math.prod(shape) * 8 > psutil.virtual_memory().total:
        raise InputError(f"the scan of {frames[0].file} with {shape[1:]} voxels does not fit into memory; crop it")
    values = np.empty(shape, dtype=kind)
    by_file: dict[DicomFile, list[tuple[int, Frame]]] = {}
    for place, frame in enumerate(frames):
        by_file.setdefault(frame.file, []).append((place, frame))
    for file, placed in by_file.items():
        _fill(values, file, placed)
    return values


def fingerprint(frame: Frame) -> str:
    """A hash of a frame's values, by which copies are known.

    Raises:
        InputError: they cannot be read.
    """
    return hashlib.sha256(read_values([frame]).tobytes()).hexdigest()


def _fill(values: Array, file: DicomFile, placed: Sequence[tuple[int, Frame]]) -> None:
    """Put the frames of one file where they belong along the last axis."""
    try:
        with quiet():
            dataset = read_header(file)
            pictures = stored_pixels(file, dataset, [frame for _, frame in placed])
            for (place, frame), stored in zip(placed, pictures, strict=True):
                values[..., place] = _values(stored, frame, dataset).transpose(2, 1, 0)
    except InputError:
        raise
    except BROKEN as error:
        raise InputError(
            f"cannot read the pixels of {file} ({reason(error)}); check the file or export it anew"
        ) from error


def _values(stored: Array, frame: Frame, dataset: Dataset) -> Array:
    coding = frame.coding
    expected = frame.plane.shape[::-1]
    if stored.shape[:2] != expected:
        raise InputError(f"{frame.file} holds {stored.shape[:2]} pixels instead of {expected}; export it anew")
    if coding.photometric == _PALETTE:
        colours = np.asarray(apply_color_lut(stored, dataset))
        return colours >> (colours.dtype.itemsize * 8 - _COLOUR_BITS)
    if is_inverted(frame) and stored.dtype.kind in "iu":
        stored = -1 - stored if coding.signed else (1 << coding.bits) - 1 - stored
    return _rescaled(stored, coding, dataset).reshape(*expected, -1)


def _rescaled(stored: Array, coding: Coding, dataset: Dataset) -> Array:
    if coding.slope is None:
        return np.asarray(apply_modality_lut(stored, dataset))
    if (coding.slope, coding.intercept) == (1.0, 0.0):
        return stored
    return np.asarray(stored.astype(np.float64) * coding.slope + coding.intercept)
