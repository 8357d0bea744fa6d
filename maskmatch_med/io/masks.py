"""Masks stored as 2D pictures: how their grey levels or colours become classes, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskmatch_med.errors import InputError
from maskmatch_med.io.atomic import atomic_path
from maskmatch_med.io.labels import UNJUDGED, LabelMap, lone_255
from maskmatch_med.io.rasters import LOSSY_SUFFIXES, open_picture, slice_geometry, to_grey_or_rgb
from maskmatch_med.volume import Array

MAX_COLOURS = 64
_MAX_INDEX = 31
_LOSSY_MARGIN = 48
_GOLDEN_ANGLE = 0.618033988749895


@dataclass(frozen=True)
class MaskCode:
    """How the pixels of a set of masks become classes.

    Args:
        kind: ``index``: the grey level is the class, 255 is not judged. ``levels``: ``levels[k]`` is class k.
            ``colours``: ``colours[k]`` is class k.
        levels: grey level of each class, background first.
        colours: (red, green, blue) of each class, background first.
    """

    kind: Literal["index", "levels", "colours"] = "index"
    levels: tuple[int, ...] = ()
    colours: tuple[tuple[int, int, int], ...] = ()
    _codes: NDArray[np.int64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        packed = self.levels if self.kind == "levels" else [_pack(c) for c in self.colours]
        object.__setattr__(self, "_codes", np.array(packed, dtype=np.int64))

    @property
    def classes(self) -> int | None:
        """Number of classes, background included; None for index masks, whose values tell it."""
        return None if self.kind == "index" else len(self._codes)

    @classmethod
    def of(cls, paths: Sequence[Path]) -> MaskCode:
        """Find the one code of a set of masks.

        Colours: black is the background (without black the most frequent colour), the others follow in ascending
        order of red, green, blue. Grey levels: 0 and 255 alone are background and foreground; levels up to 31, with or
        without 255, are class numbers; other levels are classes in ascending order. In a picture with a palette of
        colours (not GIF) the stored index is the class.

        Raises:
            InputError: a mask cannot be read, grey and coloured masks are mixed, there are more than 64 colours, or a
                grey mask of 0 and 255 alone lies beside others of class numbers, among which 255 is not judged.
        """
        greys: dict[int, int] = {}
        colours: dict[int, int] = {}
        indexed, black_and_white = False, None
        for path in paths:
            pixels, has_palette = _read_mask_pixels(path)
            indexed |= has_palette
            counts = colours if pixels.ndim == 3 else greys
            values, numbers = np.unique(_packed(pixels), return_counts=True)
            if len(values) > MAX_COLOURS:
                raise InputError(
                    f"the mask {path} has {len(values)} colours or grey levels; expected one a class, "
                    "so save it without smoothing as PNG"
                )
            for value, number in zip(values.tolist(), numbers.tolist(), strict=True):
                counts[value] = counts.get(value, 0) + number
            if not has_palette and pixels.ndim == 2 and 255 in values and set(values.tolist()) <= {0, 255}:
                black_and_white = black_and_white or path
        if colours:
            for value, number in greys.items():
                grey = _pack((value, value, value))
                colours[grey] = colours.get(grey, 0) + number
            return cls._of_colours(colours)
        code = cls("index") if indexed else cls._of_levels(sorted(greys))
        if code.kind == "index" and black_and_white is not None:
            raise lone_255(black_and_white)
        return code

    @classmethod
    def _of_colours(cls, counts: dict[int, int]) -> MaskCode:
        if len(counts) > MAX_COLOURS:
            raise InputError(f"the masks have {len(counts)} colours; expected one a class, at most {MAX_COLOURS}")
        background = 0 if 0 in counts else max(sorted(counts), key=lambda value: counts[value])
        order = [background, *sorted(set(counts) - {background})]
        return cls("colours", colours=tuple((v >> 16, v >> 8 & 255, v & 255) for v in order))

    @classmethod
    def _of_levels(cls, levels: Sequence[int]) -> MaskCode:
        if set(levels) <= {0, 255} and 255 in levels:
            return cls("levels", levels=(0, 255))
        if max((v for v in levels if v != UNJUDGED), default=0) <= _MAX_INDEX:
            return cls("index")
        if len(levels) > MAX_COLOURS:
            raise InputError(f"the masks have {len(levels)} grey levels; expected one a class, at most {MAX_COLOURS}")
        return cls("levels", levels=tuple(levels))

    def decode(self, path: Path) -> LabelMap:
        """Read one mask as labels (X, Y, 1) on the grid of a picture.

        Raises:
            InputError: the mask cannot be read or holds a colour or level outside this code.
        """
        pixels, _ = _read_mask_pixels(path)
        if self.kind == "index":
            labels = self._decode_index(pixels, path)
        else:
            if self.kind == "colours" and pixels.ndim == 2:
                pixels = np.repeat(pixels[..., None], 3, axis=2)
            labels = self._decode_table(_packed(pixels), path, coloured=pixels.ndim == 3)
        array = np.ascontiguousarray(labels.T[..., None])
        return LabelMap(array, slice_geometry(array.shape[0], array.shape[1]))

    def _decode_index(self, pixels: Array, path: Path) -> NDArray[np.uint8]:
        if pixels.ndim == 3:
            raise InputError(f"the mask {path} is coloured, the other masks hold class numbers; save all in one way")
        if pixels.min() < 0 or pixels.max() > UNJUDGED:
            raise InputError(f"the mask {path} has levels {pixels.min()} to {pixels.max()}; expected 0 to 254")
        return pixels.astype(np.uint8)

    def _decode_table(self, packed: NDArray[np.int64], path: Path, *, coloured: bool) -> NDArray[np.uint8]:
        order = np.argsort(self._codes)
        place = np.searchsorted(self._codes[order], packed).clip(max=len(order) - 1)
        labels = order[place]
        unknown = self._codes[labels] != packed
        if unknown.any():
            value = int(packed[unknown].flat[0])
            shown = f"colour #{value:06x}" if coloured else f"grey level {value}"
            known = ", ".join(f"#{c:06x}" if coloured else str(c) for c in self._codes.tolist())
            raise InputError(f"the mask {path} has the {shown}, which is not among the classes' {known}")
        return np.asarray(labels, dtype=np.uint8)


def write_mask_png(path: Path, labels: Array, *, classes: int | None = None) -> None:
    """Write the labels of a single slice as PNG that :meth:`MaskCode.of` reads back.

    Two classes become grey 0 and 255. More classes, or voxels not judged, become a palette picture: the stored index is
    the class, the palette shows it in a colour of its own.

    Args:
        path: ends in .png.
        labels: (X, Y, 1) uint8, as read from a picture: x the column, y the row.
        classes: number of classes, background included; the largest label + 1 where not given.

    Raises:
        InputError: the labels are not a single slice, or the name does not end in .png.
    """
    labels = np.asarray(labels)
    if labels.ndim != 3 or labels.shape[2] != 1 or path.suffix.lower() != ".png":
        raise InputError(f"cannot write {path}: a PNG mask needs one slice (X, Y, 1), got shape {labels.shape}")
    rows = np.ascontiguousarray(labels[:, :, 0].T.astype(np.uint8))
    highest = int(rows.max())
    if max(classes or 0, highest + 1) <= 2:
        picture = Image.fromarray(rows * np.uint8(255))
    else:
        picture = Image.fromarray(rows)
        picture.putpalette(_palette())
    with atomic_path(path) as part:
        picture.save(part, format="PNG")


def _palette() -> bytes:
    """256 colours: black for the background, then hues a golden angle apart, none of them grey."""
    entries = [(0, 0, 0)]
    for index in range(1, 256):
        sector = (index * _GOLDEN_ANGLE) % 1.0 * 3
        rise, main = int(200 * (sector % 1.0)), int(sector)
        colour = [20, 20, 20]
        colour[main], colour[(main + 1) % 3] = 240 - rise // 2, 20 + rise
        entries.append((colour[0], colour[1], colour[2]))
    return bytes(value for entry in entries for value in entry)


def _read_mask_pixels(path: Path) -> tuple[Array, bool]:
    """The pixels of a mask, and whether they are indices into a palette of colours.

    (rows, columns) integers, or (rows, columns, 3) uint8 where a colour occurs.
    """
    picture = open_picture(path)
    pixels = to_grey_or_rgb(picture)
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    elif picture.mode == "P" and path.suffix.lower() != ".gif":
        return np.asarray(picture), True
    if pixels.dtype.kind == "f":
        if not np.array_equal(pixels, np.round(pixels)):
            raise InputError(f"the mask {path} holds fractions; expected whole class numbers")
        pixels = pixels.astype(np.int64)
    return (_without_jpeg_noise(pixels, path) if path.suffix.lower() in LOSSY_SUFFIXES else pixels), False


def _without_jpeg_noise(pixels: Array, path: Path) -> Array:
    """JPEG smears label values; only a black and white mask survives it, so nothing else is accepted."""
    grey = pixels.mean(axis=2) if pixels.ndim == 3 else pixels.astype(float)
    clear = (grey <= _LOSSY_MARGIN) | (grey >= 255 - _LOSSY_MARGIN)
    if clear.mean() < 0.95:
        raise InputError(f"the mask {path} is JPEG, which changes label values; save masks as PNG")
    return np.where(grey >= 128, 255, 0).astype(np.uint8)


def _packed(pixels: Array) -> NDArray[np.int64]:
    wide = pixels.astype(np.int64)
    return wide if pixels.ndim == 2 else wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _pack(colour: tuple[int, int, int]) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]
