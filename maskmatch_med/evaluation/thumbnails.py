"""A small JPEG of one scan: its middle slices with the outline of the label, some 8 kB."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskmatch_med.evaluation.pictures import PALETTE, VIEWS, best_slice, turned
from maskmatch_med.io import LabelMap
from maskmatch_med.volume import Array, Volume

_HEIGHT = 132
_WIDEST = 330
_GAP = 4
_QUALITY = 80
_ENOUGH_VOXELS = 500_000
_AIR_HU = -500.0
_SOFT_TISSUE_HU = (-160.0, 240.0)
Pixels = NDArray[np.uint8]


def thumbnail(scan: Volume, label: LabelMap | None, classes: Mapping[str, int]) -> bytes:
    """Draw a scan as a JPEG: axial, coronal and sagittal slice side by side, or the one slice of a 2D picture.

    Args:
        scan: (C, X, Y, Z); the first channel is shown, three channels as colours.
        label: on the scan's grid; its outlines are drawn, and slices go where it shows most.
        classes: name to value, background among them or not.
    """
    orientation = scan.geometry.to_canonical()
    target = orientation.target
    shown = scan.array[:3] if scan.array.shape[0] == 3 else scan.array[:1]
    limits = [_limits(channel) for channel in shown]
    array = orientation.apply(shown)
    mask = None if label is None else orientation.apply(label.array)
    flat = [axis for axis, n in enumerate(target.shape) if n == 1]
    plates = []
    for axis in flat[:1] or (2, 1, 0):
        at = target.shape[axis] // 2 if mask is None else best_slice(mask, [mask], axis)
        _, (across, up), _, _ = VIEWS[axis]
        pixels = np.stack([_grey(turned(c, axis, at), *limit) for c, limit in zip(array, limits, strict=True)], axis=-1)
        aspect = target.spacing_mm[up] / target.spacing_mm[across]
        plates.append(_plate(pixels, None if mask is None else turned(mask, axis, at), aspect, classes))
    return _jpeg(_side_by_side(plates))


def _limits(channel: Array) -> tuple[float, float]:
    """What is drawn black and white: soft tissue where there is air in Hounsfield units, else all but the extremes."""
    flat = channel.ravel()[:: max(1, channel.size // _ENOUGH_VOXELS)]
    finite = flat[np.isfinite(flat)].astype(np.float64)
    low, high = np.percentile(finite, [0.5, 99.5]) if finite.size else (0.0, 1.0)
    return _SOFT_TISSUE_HU if low < _AIR_HU else (float(low), float(high))


def _grey(plane: Array, low: float, high: float) -> Pixels:
    values = np.nan_to_num(plane.astype(np.float64), nan=low, posinf=high, neginf=low)
    scaled = (values - low) / max(high - low, 1e-6)
    grey: Pixels = (np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return grey


def _plate(pixels: Pixels, mask: Array | None, aspect: float, classes: Mapping[str, int]) -> Pixels:
    rows, columns = pixels.shape[:2]
    width = max(8, min(_WIDEST, round(_HEIGHT * columns / (rows * aspect))))
    height = max(8, round(width * rows * aspect / columns)) if width == _WIDEST else _HEIGHT
    colour = Image.fromarray(np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels)
    drawn: Pixels = np.array(colour.resize((width, height), Image.Resampling.BICUBIC))
    for rank, value in enumerate(v for v in classes.values() if v):
        if mask is not None and (inside := mask == value).any():
            large = Image.fromarray((inside * np.uint8(255)).astype(np.uint8)).resize(
                (width, height), Image.Resampling.BILINEAR
            )
            drawn[_edge(np.array(large) > 127)] = _rgb(PALETTE[rank % len(PALETTE)])
    return drawn


def _edge(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The inner border of a region, one pixel wide."""
    padded = np.pad(inside, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    border: NDArray[np.bool_] = inside & ~core
    return border


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _side_by_side(plates: list[Pixels]) -> Pixels:
    height = max(plate.shape[0] for plate in plates)
    width = sum(plate.shape[1] for plate in plates) + _GAP * (len(plates) - 1)
    canvas = np.full((height, width, 3), 11, np.uint8)
    at = 0
    for plate in plates:
        top = (height - plate.shape[0]) // 2
        canvas[top : top + plate.shape[0], at : at + plate.shape[1]] = plate
        at += plate.shape[1] + _GAP
    return canvas


def _jpeg(pixels: Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="JPEG", quality=_QUALITY, subsampling=0, optimize=True)
    return stream.getvalue()
