"""Learning curves: what a training's log says, one panel a term."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maskmatch_med.evaluation.figures import INK, PALETTE, dress, legend

Log = Sequence[Mapping[str, Any]]
_TITLES = {
    "val_dice": "validation Dice",
    "confident": "confident share of unlabelled voxels",
    "loss": "loss, all terms",
    "learning_rate": "learning rate",
}
_BY_SCALE = "teacher_dice"
_MOST_POINTS = 1500
_ROW_SHARE = 0.13
"""Of a panel's height, what a row of its legend takes."""


def curve_figure(logs: Mapping[str, Log]) -> Figure | None:
    """A panel each: validation Dice, the teacher's Dice by scale, the confident share, the loss and each of its terms.

    Args:
        logs: by model, the lines of its ``log.jsonl`` as dictionaries. Time is ``seconds``, else ``step`` or
            ``iteration``; what is plotted are ``val_dice``, ``teacher_dice`` (by scale), ``confident`` and all keys
            that begin with ``loss``.

    Returns:
        ``None`` where there is nothing to draw.
    """
    terms = list(dict.fromkeys(key for log in logs.values() for line in log for key in line if key.startswith("loss")))
    panels = [key for key in ("val_dice", "confident", *terms) if any(series(log, key)[0] for log in logs.values())]
    scaled = [model for model, log in logs.items() if any(isinstance(line.get(_BY_SCALE), dict) for line in log)]
    if not panels and not scaled:
        return None
    count = len(panels) + len(scaled)
    columns = 2 if count == 4 else min(3, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(11.0 * columns / 3 if columns != 2 else 9.0, 2.7 * rows), dpi=110)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, key in zip(grid, panels, strict=False):
        _term(axes, key, logs)
    for axes, model in zip(grid[len(panels) :], scaled, strict=False):
        _scales(axes, logs[model], model if len(logs) > 1 else "")
    for axes in grid[count:]:
        axes.set_visible(False)
    if len(logs) > 1 and panels:
        legend(max(grid[: len(panels)], key=lambda axes: len(axes.get_legend_handles_labels()[0])))
    figure.tight_layout()
    return figure


def series(log: Log, key: str) -> tuple[list[float], list[float], str]:
    """Times, values and the unit of time of one key; empty where the log has no such number."""
    clock = next((name for name in ("seconds", "step", "iteration") if any(name in line for line in log)), "step")
    pairs = [(float(line[clock]), float(line[key])) for line in log if _has(line, clock) and _has(line, key)]
    longest = max((time for time, _ in pairs), default=0.0)
    scale, unit = (60.0, "minutes") if clock == "seconds" and longest > 120 else (1.0, clock)
    return [time / scale for time, _ in pairs], [number for _, number in pairs], unit


def _term(axes: Axes, key: str, logs: Mapping[str, Log]) -> None:
    unit = ""
    for rank, (model, log) in enumerate(logs.items()):
        times, values, unit_here = series(log, key)
        if times:
            _curve(axes, times, values, PALETTE[rank % len(PALETTE)], model)
            unit = unit_here
    dress(axes, unit, _TITLES.get(key, key.replace("loss_", "loss: ").replace("_", " ")))
    if key == "val_dice":
        axes.set_ylim(top=1.0)
    elif key == "confident":
        axes.set_ylim(0, 1.02)


def _scales(axes: Axes, log: Log, model: str) -> None:
    """The teacher's Dice on labelled scans, one line a scale, and that of the scales' mean."""
    names = list(dict.fromkeys(name for line in log for name in line.get(_BY_SCALE) or {}))
    unit = ""
    for rank, name in enumerate(names):
        flat = [{**line, "value": (line.get(_BY_SCALE) or {}).get(name)} for line in log]
        times, values, unit = series(flat, "value")
        step = max(1, -(-len(values) // _MOST_POINTS))
        called, style = ("all scales", "dashed") if name == "ensemble" else (f"scale {name}", "solid")
        axes.plot(times[::step], values[::step], color=PALETTE[rank % len(PALETTE)], linestyle=style, label=called)
    dress(axes, unit, "teacher's Dice by scale" + (f", {model}" if model else ""))
    _legend_above(axes, len(names))


def _legend_above(axes: Axes, count: int) -> None:
    """A legend in two columns over the curves, which give way to it."""
    room = _ROW_SHARE * -(-count // 2) + 0.05
    low, high = axes.get_ylim()
    axes.set_ylim(low, low + (high - low) / (1 - room))
    kept = axes.legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="upper left", ncols=2, borderaxespad=0.2)
    kept.set_in_layout(False)


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
    step = -(-len(values) // _MOST_POINTS)
    axes.plot(times[::step], values[::step], color=colour, linewidth=0.6, alpha=0.25)
    axes.plot(times[::step], mean[::step], color=colour, linewidth=1.7, label=model)


def _has(line: Mapping[str, Any], key: str) -> bool:
    found = line.get(key)
    return isinstance(found, int | float) and bool(np.isfinite(found))
