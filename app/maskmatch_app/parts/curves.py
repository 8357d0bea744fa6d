"""The curves of a training: each loss, the validation Dice and the share of confident pseudo-labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

_POINTS = 120
_HEIGHT = 280
_TERMS = {
    "loss": ("all together", "#14262b"),
    "loss_supervised": ("labels", "#0b6e75"),
    "loss_strong": ("strong view", "#e69f00"),
    "loss_masked": ("masked view", "#56b4e9"),
    "loss_mean_teacher": ("mean teacher", "#d55e00"),
}
"""Of each loss its word and a colour that colour-blind people tell from the others."""
_LEGEND = {"padding": 0, "offset": 4, "labelLimit": 240, "labelFontSize": 12, "labelColor": "#4d6369", "symbolSize": 60}
_AXIS = {"labelColor": "#4d6369", "titleColor": "#4d6369", "titleFontSize": 12}
_SHARES = {"val_dice": ("validation Dice", "#0b6e75"), "confident": ("confident pseudo-labels", "#e69f00")}


def curves(model: str, lines: Sequence[Mapping[str, Any]]) -> None:
    """Two plots beside each other. Their description stays the same, so new points move them without a flicker.

    Args:
        model: tells the plots of one training from those of another.
        lines: of the training's log, oldest first.
    """
    left, right = st.columns(2, gap="medium")
    parts = {name for line in lines for name in line if name.startswith("loss_")}
    terms = {name: word for name, word in _TERMS.items() if name in parts or len(parts) > 1}
    with left:
        _plot(f"losses of {model}", "Loss of each term", thinned(lines, terms), terms)
    shares = thinned(lines, _SHARES)
    with right:
        if shares["minutes"]:
            _plot(f"shares of {model}", "Dice and confidence", shares, _SHARES, top=1.0)
        else:
            st.caption(
                "The share of confident pseudo-labels appears when the training turns to the unlabelled scans, the "
                "validation Dice where ten scans or more have a complete label."
            )


def thinned(lines: Sequence[Mapping[str, Any]], names: Mapping[str, tuple[str, str]]) -> dict[str, list[Any]]:
    """At most 120 points a curve, each the mean of its neighbours: columns ``minutes``, ``value`` and ``what``."""
    columns: dict[str, list[Any]] = {"minutes": [], "value": [], "what": []}
    for name, (word, _) in names.items():
        points = [(line["seconds"] / 60, float(line[name])) for line in lines if name in line]
        size = -(-len(points) // _POINTS) or 1
        for first in range(0, len(points), size):
            group = points[first : first + size]
            columns["minutes"].append(round(sum(x for x, _ in group) / len(group), 3))
            columns["value"].append(round(sum(y for _, y in group) / len(group), 4))
            columns["what"].append(word)
    return columns


def _plot(
    key: str,
    title: str,
    columns: dict[str, list[Any]],
    names: Mapping[str, tuple[str, str]],
    top: float | None = None,
) -> None:
    shown = [pair for pair in names.values() if pair[0] in set(columns["what"])]
    colours = {"domain": [word for word, _ in shown], "range": [colour for _, colour in shown]}
    scale = {"scale": {"domain": [0, top]}} if top is not None else {"scale": {"zero": True}}
    spec = {
        "title": {"text": title, "anchor": "start", "fontSize": 13, "fontWeight": 600},
        "mark": {"type": "line", "strokeWidth": 2, "point": {"filled": True, "size": 16}},
        "height": _HEIGHT,
        "config": {"axis": _AXIS},
        "encoding": {
            "x": {"field": "minutes", "type": "quantitative", "title": "minutes"},
            "y": {"field": "value", "type": "quantitative", "title": None, **scale},
            "color": {
                "field": "what",
                "type": "nominal",
                "scale": colours,
                "legend": {"title": None, "orient": "top", "columns": 2, **_LEGEND},
            },
        },
    }
    st.vega_lite_chart(columns, spec, key=key, width="stretch")
