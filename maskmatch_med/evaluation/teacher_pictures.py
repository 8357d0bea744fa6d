"""One slice of a scan with what the teacher says of it, as PNG: its labels over the scan, or how sure it is."""

from __future__ import annotations

import io

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from maskmatch_med.evaluation.pictures import turned
from maskmatch_med.io.labels import UNJUDGED

Pixels = NDArray[np.uint8]
HEAT = "cividis"
"""A colour map that people with and without colour blindness read alike."""
_EDGE = 320
_OPACITY = 0.55


def label_picture(image: Pixels, labels: Pixels, colours: dict[int, str], aspect: float) -> bytes:
    """The scan in grey with its structures in colour.

    Args:
        image: (rows, columns) uint8.
        labels: (rows, columns) uint8; 255 outside the scan.
        colours: by value, ``#rrggbb``; other values stay grey.
        aspect: height of a pixel over its width.
    """
    drawn = np.repeat(image[..., None], 3, axis=-1).astype(np.float64)
    for value, colour in colours.items():
        inside = labels == value
        drawn[inside] = (1 - _OPACITY) * drawn[inside] + _OPACITY * np.array(_rgb(colour))
    return _png(drawn.astype(np.uint8), aspect)


def confidence_picture(confidence: Pixels, labels: Pixels, aspect: float) -> bytes:
    """How sure the teacher is, from dark (unsure) to bright; black outside the scan."""
    drawn = (255 * colormaps[HEAT](confidence)[..., :3]).astype(np.uint8)
    drawn[labels == UNJUDGED] = 0
    return _png(drawn, aspect)


def heat_colours(steps: int = 9) -> list[str]:
    """Colours of the heat map from unsure to sure, for a legend."""
    levels = colormaps[HEAT](np.linspace(0, 1, steps))[:, :3]
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in (255 * levels).astype(int)]


def upright(stack: Pixels, axis: int, at: int) -> Pixels:
    """A slice of canonical axes as rows and columns, as radiologists expect it."""
    return np.ascontiguousarray(turned(stack, axis, at))


def _png(pixels: Pixels, aspect: float) -> bytes:
    """Each voxel a block of pixels, so that nothing looks smoother than it is."""
    rows, columns = pixels.shape[0] * aspect, pixels.shape[1]
    zoom = _EDGE / max(rows, columns)
    size = (max(1, round(columns * zoom)), max(1, round(rows * zoom)))
    stream = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
