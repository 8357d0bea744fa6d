"""Figures of scores and learning curves, drawn with matplotlib's object interface alone (no shared state)."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#8C6BB1")
"""Okabe and Ito's colours, told apart by all kinds of colour vision."""

_INK = "#1f2933"
_GRID = "#d5dbe1"
Log = Sequence[Mapping[str, Any]]


def dice_figure(scores: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Every case's Dice by structure: a dot a case, a box from quartile to quartile, the median as its line.

    Args:
        scores: by model, by structure, the Dice of each case. A single model may have the name "".
    """
    structures = list(dict.fromkeys(name for found in scores.values() for name in found))
    figure = Figure(figsize=(max(5.0, 1.6 + 1.15 * len(structures) * max(1, len(scores)) ** 0.6), 3.4), dpi=160)
    axes = figure.subplots()
    width = 0.72 / max(1, len(scores))
    for rank, (model, found) in enumerate(scores.items()):
        colour = PALETTE[rank % len(PALETTE)]
        for place, name in enumerate(structures):
            middle = place + (rank - (len(scores) - 1) / 2) * width
            _box(axes, middle, width, list(found.get(name, [])), colour)
        if model:
            axes.plot([], [], "o", color=colour, label=model)
    axes.set_xticks(range(len(structures)), structures)
    axes.set_xlim(-0.6, len(structures) - 0.4)
    values = [v for found in scores.values() for dice in found.values() for v in dice]
    axes.set_ylim(min(0.5, np.floor(10 * min(values, default=0.5) - 0.2) / 10) if values else 0, 1.005)
    if axes.get_ylim()[0] < 0:
        axes.set_ylim(-0.02, 1.005)
    _dress(axes, "", "Dice")
    if any(scores):
        _legend(axes)
    figure.tight_layout()
    return figure


def curve_figure(logs: Mapping[str, Log]) -> Figure | None:
    """Learning curves: validation Dice where there is any, then one panel a loss term, against training time.

    Args:
        logs: by model, the lines of its ``log.jsonl`` as dictionaries. Time is ``seconds``, else ``step``; terms are
            all keys that begin with ``loss``, and ``val_dice``.

    Returns:
        ``None`` where there is nothing to draw.
    """
    terms = list(dict.fromkeys(key for log in logs.values() for line in log for key in line if key.startswith("loss")))
    panels = [key for key in ("val_dice", *terms) if any(_series(log, key)[0] for log in logs.values())]
    if not panels:
        return None
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(11.0 * columns / 3 if columns != 2 else 9.0, 2.7 * rows), dpi=110)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, key in zip(grid, panels, strict=False):
        for rank, (model, log) in enumerate(logs.items()):
            times, values, unit = _series(log, key)
            if times:
                _curve(axes, times, values, PALETTE[rank % len(PALETTE)], model)
        _dress(axes, unit, _title(key))
        if key == "val_dice":
            axes.set_ylim(top=1.0)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    _legend(grid[0])
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
    text = text.replace(_INK, "currentColor").replace(_GRID, f"var(--line, {_GRID})")
    text = text.replace(PALETTE[0].lower(), f"var(--series, {PALETTE[0]})")
    return re.sub(r"<svg ", f'<svg role="img" aria-label="{label}" ', text, count=1)


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


def _curve(axes: Axes, times: list[float], values: list[float], colour: str, model: str) -> None:
    """The values, faint where there are many, under their running mean."""
    window = max(1, len(values) // 25)
    if window == 1:
        axes.plot(
            times, values, color=colour, linewidth=1.6, label=model, marker="o" if len(times) < 12 else None, ms=3
        )
        return
    kernel = np.ones(window)
    mean = np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")
    axes.plot(times, values, color=colour, linewidth=0.6, alpha=0.25)
    axes.plot(times, mean, color=colour, linewidth=1.7, label=model)


def _series(log: Log, key: str) -> tuple[list[float], list[float], str]:
    clock = "seconds" if any("seconds" in line for line in log) else "step"
    pairs = [(float(line[clock]), float(line[key])) for line in log if _has(line, clock) and _has(line, key)]
    longest = max((time for time, _ in pairs), default=0.0)
    scale, unit = (60.0, "minutes") if clock == "seconds" and longest > 120 else (1.0, clock)
    return [time / scale for time, _ in pairs], [number for _, number in pairs], unit


def _has(line: Mapping[str, Any], key: str) -> bool:
    found = line.get(key)
    return isinstance(found, int | float) and bool(np.isfinite(found))


def _title(key: str) -> str:
    names = {"val_dice": "validation Dice", "loss": "loss, all terms"}
    return names.get(key, key.replace("loss_", "loss: ").replace("_", " "))


def _dress(axes: Axes, horizontal: str, title: str) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, length=0, labelsize=9)
    axes.set_xlabel(horizontal, color=_INK, fontsize=9)
    axes.set_title(title, color=_INK, fontsize=10, loc="left", fontweight="bold")


def _legend(axes: Axes) -> None:
    legend = axes.legend(frameon=False, fontsize=8.5, labelcolor=_INK, loc="best")
    legend.set_in_layout(False)
