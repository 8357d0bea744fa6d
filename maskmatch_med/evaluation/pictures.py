"""Pictures of cases: slices through the structures with the contours of prediction and reference.

Slices lie as a radiologist expects them: the front of the body up in axial slices, the head up in the others, the
patient's right side on the left of the picture. A 2D picture stands upright as the original.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from maskmatch_med.errors import InputError
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.volume import Array, Geometry, Volume

Labels = NDArray[np.uint8]
PALETTE = ("#56B4E9", "#E69F00", "#D12E8B", "#A2E8A2", "#0074FF", "#74FFFF", "#46A274", "#8B7400")
"""Colours of structures on grey pictures, in the order of the classes; a test holds that colour-blind people tell them
apart."""
_PAPER = "#0d1117"
_TEXT = "#e6edf3"
_WIDEST_INCHES = 10.2
"""What a page shows without shrinking the text in the picture."""
VIEWS = {2: ("axial", (0, 1), "R", "L"), 1: ("coronal", (0, 2), "R", "L"), 0: ("sagittal", (1, 2), "A", "P")}
"""By canonical axis: the view's name, the axes across and up, and what lies at its left and right."""


@dataclass(frozen=True, eq=False)
class CasePicture:
    """One case to show.

    Args:
        title: such as "Worst case: phantom_027".
        image: the scan; the first channel is shown, three channels as colours.
        reference: (X, Y, Z) uint8 on the scan's grid; None where there is none.
        predictions: by model, (X, Y, Z) uint8 on the scan's grid.
        notes: by model, a line beside its name, such as "Dice 0.81".

    Raises:
        InputError: a mask does not lie on the scan's grid, or there is no prediction.
    """

    title: str
    image: Volume
    reference: Labels | None
    predictions: Mapping[str, Labels]
    notes: Mapping[str, str]

    def __post_init__(self) -> None:
        if not self.predictions:
            raise InputError(f"{self.title}: there is no prediction to show")
        for name, mask in (("reference", self.reference), *self.predictions.items()):
            if mask is not None and mask.shape != self.image.geometry.shape:
                raise InputError(
                    f"{self.title}: the mask of {name} has shape {mask.shape}, the scan {self.image.geometry.shape}"
                )


@dataclass(frozen=True, eq=False)
class _View:
    """One slice, turned for display: arrays (rows, columns), row 0 at the top."""

    name: str
    ends: tuple[str, str]
    picture: Array
    reference: Labels
    predictions: Mapping[str, Labels]
    aspect: float


def case_figure(case: CasePicture, classes: Mapping[str, int]) -> Figure:
    """Draw one case: a row a model, a column a view; solid lines predict, dashed lines are the reference.

    Args:
        case: what to show.
        classes: name to value; each has the same colour in every picture.
    """
    views = _views(case)
    widths = [view.picture.shape[1] / (view.picture.shape[0] * view.aspect) for view in views]
    height = min(3.0, _WIDEST_INCHES / sum(widths))
    rows = len(case.predictions)
    size = (max(4.2, height * sum(widths) + 0.3), height * rows + 0.5 * rows + 0.45)
    figure = Figure(figsize=size, dpi=110, facecolor=_PAPER)
    grid = figure.subplots(rows, len(views), squeeze=False, width_ratios=widths)
    for row, (model, _) in enumerate(case.predictions.items()):
        for column, view in enumerate(views):
            _draw(grid[row, column], view, model, classes)
        note = case.notes.get(model, "")
        title = f"{model}   {note}" if note else model
        grid[row, 0].set_title(title, color=_TEXT, fontsize=10, loc="left", fontweight="bold")
    _key(figure, classes, with_reference=case.reference is not None)
    figure.subplots_adjust(0.01, 0.36 / size[1], 0.99, 1 - 0.3 / size[1], wspace=0.02, hspace=0.14)
    return figure


def _views(case: CasePicture) -> list[_View]:
    orientation = case.image.geometry.to_canonical()
    target: Geometry = orientation.target
    image = orientation.apply(case.image.array)
    shape = case.image.geometry.shape
    reference = orientation.apply(np.zeros(shape, np.uint8) if case.reference is None else case.reference)
    predictions = {name: orientation.apply(mask) for name, mask in case.predictions.items()}
    image = _windowed(image)
    flat = [axis for axis, n in enumerate(target.shape) if n == 1]
    views = []
    for axis in flat[:1] or (2, 1, 0):
        at = best_slice(reference, list(predictions.values()), axis)
        name, (across, up), left, right = VIEWS[axis]
        aspect = target.spacing_mm[up] / target.spacing_mm[across]
        shown = {model: turned(mask, axis, at) for model, mask in predictions.items()}
        planes = np.stack([turned(channel, axis, at) for channel in image], axis=-1)
        ends = ("", "") if flat else (left, right)
        views.append(_View("" if flat else name, ends, planes, turned(reference, axis, at), shown, aspect))
    return views


def turned(array: Array, axis: int, at: int) -> Array:
    """One canonical slice as rows and columns: up is front or head, left is the patient's right (or the front)."""
    turned: Array = np.take(array, at, axis=axis).T[::-1, ::-1]
    return turned


def best_slice(reference: Labels, predictions: Sequence[Labels], axis: int) -> int:
    """The slice that shows most structures, each weighed by its share of voxels there."""
    others = tuple(other for other in range(3) if other != axis)
    weight = np.zeros(reference.shape[axis])
    shown = reference if ((reference > 0) & (reference != UNJUDGED)).any() else np.maximum.reduce(list(predictions))
    for label in np.unique(shown[(shown > 0) & (shown != UNJUDGED)]):
        share = (shown == label).sum(axis=others)
        weight += np.sqrt(share / share.max())
    return int(weight.argmax()) if weight.any() else reference.shape[axis] // 2


def _windowed(image: Array) -> Array:
    """The channels (C, X, Y, Z) scaled to 0..1 between their 0.5th and 99.5th percentile; one or three of them."""
    shown = image[:3] if image.shape[0] >= 3 else image[:1]
    scaled = []
    for channel in shown:
        finite = channel[np.isfinite(channel)]
        low, high = np.percentile(finite, [0.5, 99.5]) if finite.size else (0.0, 1.0)
        scaled.append(np.clip((np.nan_to_num(channel) - low) / max(high - low, 1e-6), 0, 1))
    return np.stack(scaled)


def _draw(axes: Axes, view: _View, model: str, classes: Mapping[str, int]) -> None:
    picture = view.picture if view.picture.shape[-1] == 3 else view.picture[..., 0]
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, aspect=view.aspect, interpolation="lanczos")
    for rank, value in enumerate(classes.values()):
        colour = PALETTE[rank % len(PALETTE)]
        for mask, style, width in ((view.predictions[model], "solid", 1.5), (view.reference, "dashed", 1.2)):
            inside = mask == value
            if inside.any():
                # A border of background lets the contour close at the edge of the picture.
                padded = np.pad(inside.astype(np.float32), 1)
                rows, columns = (np.arange(-1, n + 1) for n in inside.shape)
                shade = colour if style == "solid" else "white"
                axes.contour(columns, rows, padded, [0.5], colors=[shade], linewidths=width, linestyles=style)
    axes.set_xlim(-0.5, view.picture.shape[1] - 0.5)
    axes.set_ylim(view.picture.shape[0] - 0.5, -0.5)
    axes.set_axis_off()
    places = ((0.015, 0.5, view.ends[0], "left"), (0.985, 0.5, view.ends[1], "right"), (0.5, 0.02, view.name, "center"))
    for x, y, text, side in places:
        label = axes.text(x, y, text, color=_TEXT, fontsize=8, ha=side, transform=axes.transAxes)
        label.set_path_effects([withStroke(linewidth=2.5, foreground=_PAPER)])


def _key(figure: Figure, classes: Mapping[str, int], *, with_reference: bool) -> None:
    lines = [
        Line2D([], [], color=PALETTE[rank % len(PALETTE)], linewidth=2, label=name) for rank, name in enumerate(classes)
    ]
    if with_reference:
        lines.append(Line2D([], [], color="white", linewidth=1.3, linestyle="dashed", label="reference"))
    figure.legend(
        handles=lines, loc="lower left", ncols=len(lines), frameon=False, fontsize=8.5, labelcolor=_TEXT, borderpad=0.1
    )
