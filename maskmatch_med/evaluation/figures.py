"""The figure of scores, and the look that all figures share.

Everything is drawn with matplotlib's object interface alone, so that no state is shared.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from maskmatch_med.evaluation.units import SOLID, Units

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#8C6BB1")
"""Okabe and Ito's colours, told apart by all kinds of colour vision."""

INK = "#1f2933"
GRID = "#d5dbe1"
NEUTRAL = "#7b8794"
REFERENCE = "reference"
"""What the outer name of reference volumes is; it is drawn in grey."""


def dice_figure(scores: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Every case's Dice by structure: a dot a case, a box from quartile to quartile, the median as its line.

    Args:
        scores: by model, by structure, the Dice of each case. A single model may have the name "".
    """
    figure, axes = _grouped(scores)
    values = [v for found in scores.values() for dice in found.values() for v in dice]
    axes.set_ylim(min(0.5, np.floor(10 * min(values, default=0.5) - 0.2) / 10) if values else 0, 1.005)
    if axes.get_ylim()[0] < 0:
        axes.set_ylim(-0.02, 1.005)
    dress(axes, "", "Dice")
    if any(scores):
        legend(axes)
    figure.tight_layout()
    return figure


def volume_figure(volumes: Mapping[str, Mapping[str, Sequence[float]]], units: Units = SOLID) -> Figure:
    """Every case's volume, or area, by structure, drawn as :func:`dice_figure` draws scores.

    Args:
        volumes: by who made them ("reference", a model), by structure, the volume of each case.
        units: what it is counted in.
    """
    figure, axes = _grouped(volumes)
    shown = [v for found in volumes.values() for listed in found.values() for v in listed if v > 0]
    if shown and max(shown) > 100 * min(shown):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    dress(axes, "", f"{units.size}, {units.amount}")
    legend(axes)
    figure.tight_layout()
    return figure


def png_bytes(figure: Figure) -> bytes:
    """The figure as PNG."""
    stream = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def inline_svg(figure: Figure, label: str) -> str:
    """The figure as an SVG element without background, its ink in the colour of the page's text.

    Args:
        figure: drawn by one of the functions above.
        label: what it shows, for screen readers.
    """
    stream = io.BytesIO()
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = stream.getvalue().decode("utf-8")
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S)
    text = text.replace(INK, "currentColor").replace(GRID, f"var(--line, {GRID})")
    text = text.replace(PALETTE[0].lower(), f"var(--series, {PALETTE[0]})")
    return re.sub(r"<svg ", f'<svg role="img" aria-label="{label}" ', text, count=1)


def _grouped(values: Mapping[str, Mapping[str, Sequence[float]]]) -> tuple[Figure, Axes]:
    """Boxes and dots side by side: a place a structure, in it a colour for each of the outer names."""
    structures = list(dict.fromkeys(name for found in values.values() for name in found))
    models = [name for name in values if name != REFERENCE]
    figure = Figure(figsize=(max(5.0, 1.6 + 1.15 * len(structures) * max(1, len(models)) ** 0.6), 3.4), dpi=160)
    axes = figure.subplots()
    width = 0.72 / max(1, len(values))
    for rank, (name, found) in enumerate(values.items()):
        colour = NEUTRAL if name == REFERENCE else PALETTE[models.index(name) % len(PALETTE)]
        for place, structure in enumerate(structures):
            middle = place + (rank - (len(values) - 1) / 2) * width
            _box(axes, middle, width, list(found.get(structure, [])), colour)
        if name:
            axes.plot([], [], "o", color=colour, label=name)
    axes.set_xticks(range(len(structures)), structures)
    axes.set_xlim(-0.6, len(structures) - 0.4)
    return figure, axes


def _box(axes: Axes, middle: float, width: float, values: list[float], colour: str) -> None:
    if not values:
        return
    low, median, high = np.percentile(values, [25, 50, 75])
    half = width * 0.36
    axes.fill_between([middle - half, middle + half], low, high, color=colour, alpha=0.18, linewidth=0)
    axes.hlines(median, middle - half, middle + half, color=colour, linewidth=2)
    spread = np.linspace(-0.55, 0.55, len(values)) if len(values) > 1 else np.zeros(1)
    order = np.argsort(np.argsort(np.sin(np.arange(len(values)) * 12.9898)))
    axes.plot(middle + half * spread[order], values, "o", color=colour, markersize=3.6, alpha=0.75, markeredgewidth=0)


def dress(axes: Axes, horizontal: str, title: str) -> None:
    """Give a panel the look of all figures: no frame, faint horizontal lines, its title at the left."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=INK, length=0, labelsize=9)
    axes.set_xlabel(horizontal, color=INK, fontsize=9)
    axes.set_title(title, color=INK, fontsize=10, loc="left", fontweight="bold")


def legend(axes: Axes) -> None:
    """Say what the colours mean, where there is room."""
    legend = axes.legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="best")
    legend.set_in_layout(False)
