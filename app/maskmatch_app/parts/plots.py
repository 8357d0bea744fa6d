"""Plots of the results, as specifications that the browser draws; told apart by shape as well as by colour."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from maskmatch_med import service

_QUIET, _LOUD, _LOUD_TEXT = "#0b6e75", "#d55e00", "#a84300"
_COLOURS = ["#0b6e75", "#e69f00", "#56b4e9", "#d55e00", "#8b6fc0", "#4d6369"]
_SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"]
_ABREAST = 4


def distribution(found: Sequence[service.ScanVolume], unit: str) -> dict[str, Any]:
    """The volumes of each structure on a scale of its own: a dot a scan, the box from quarter to quarter."""
    tops = _tops(found)
    rows = [
        {
            "scan": one.case,
            "structure": one.structure,
            "amount": one.amount,
            "at": min(one.amount, tops[one.structure]),
            "beyond": f"▲ {one.amount:.3g}" if one.amount > tops[one.structure] else "",
            "kind": "far from the others" if one.outlier else "as the others" if one.complete else "judged in part",
            "place": _scatter(rank),
        }
        for rank, one in enumerate(found)
    ]
    kinds = {"domain": ["as the others", "far from the others", "judged in part"]}
    value = {"field": "at", "type": "quantitative", "title": unit, "scale": {"zero": False, "nice": True}}
    box = {
        "transform": [{"filter": "datum.kind != 'judged in part'"}],
        "mark": {"type": "boxplot", "extent": 1.5, "size": 44, "outliers": False, "color": "#b9cdd1", "opacity": 0.7},
        "encoding": {"y": value},
    }
    dots = {
        "mark": {"type": "point", "size": 42, "strokeWidth": 1.6},
        "encoding": {
            "y": value,
            "xOffset": {"field": "place", "type": "quantitative", "scale": {"domain": [-2, 2]}},
            "color": {
                "field": "kind",
                "scale": {**kinds, "range": [_QUIET, _LOUD, "#8a9aa0"]},
                "legend": {"orient": "bottom", "title": None},
            },
            "shape": {
                "field": "kind",
                "scale": {**kinds, "range": ["circle", "diamond", "cross"]},
                "legend": {"orient": "bottom", "title": None},
            },
            "tooltip": [
                {"field": "scan", "title": "Scan"},
                {"field": "structure", "title": "Structure"},
                {"field": "amount", "title": unit, "format": ".4~g"},
                {"field": "kind", "title": "Volume"},
            ],
        },
    }
    beyond = {
        "transform": [{"filter": "datum.beyond != ''"}],
        "mark": {"type": "text", "dy": -12, "fontSize": 12, "color": _LOUD_TEXT},
        "encoding": {"y": value, "text": {"field": "beyond"}},
    }
    return {
        "data": {"values": rows},
        "facet": _facet(dict.fromkeys(one.structure for one in found)),
        "columns": _ABREAST,
        "spec": {"width": 190, "height": 230, "layer": [box, dots, beyond]},
        "resolve": {"scale": {"y": "independent"}},
    }


def _facet(structures: Iterable[str]) -> dict[str, Any]:
    """A plot a structure, in this order."""
    header = {"labelFontSize": 13}
    return {"field": "structure", "type": "nominal", "title": None, "sort": list(structures), "header": header}


def cut_off(found: Sequence[service.ScanVolume]) -> int:
    """How many dots of :func:`distribution` stand at the upper edge, below their value."""
    tops = _tops(found)
    return sum(one.amount > tops[one.structure] for one in found)


def _tops(found: Sequence[service.ScanVolume]) -> dict[str, float]:
    """Of each structure the largest value that is drawn in its place, so that one far scan does not flatten the rest.

    It is the largest value that is no outlier and a span of those above it; there is no end where none is usual.
    """
    tops = {}
    for name in {one.structure for one in found}:
        usual = [one.amount for one in found if one.structure == name and not one.outlier]
        tops[name] = max(usual) + (max(usual) - min(usual) or max(usual)) if usual else math.inf
    return tops


def agreement(scores: Sequence[service.ModelScores]) -> dict[str, Any]:
    """The Dice of each scan, by structure and model."""
    rows = [
        {"model": one.model, "structure": row.class_name, "dice": row.dice, "scan": row.case}
        for one in scores
        for row in one.rows
        if not math.isnan(row.dice)
    ]
    models = [one.model for one in scores if one.rows]
    return {
        "data": {"values": rows},
        "height": {"step": 22},
        "mark": {"type": "point", "size": 46, "strokeWidth": 1.6, "opacity": 0.85},
        "encoding": {
            "x": {"field": "dice", "type": "quantitative", "title": "Dice", "scale": {"domain": [0, 1]}},
            "y": {
                "field": "structure",
                "type": "nominal",
                "title": None,
                "sort": list(dict.fromkeys(row["structure"] for row in rows)),
                "axis": {"labelLimit": 160},
            },
            "yOffset": {"field": "model", "sort": models},
            **_by("model", models),
            "tooltip": [
                {"field": "scan", "title": "Scan"},
                {"field": "model", "title": "Model"},
                {"field": "dice", "title": "Dice", "format": ".3f"},
            ],
        },
    }


def rounds(scores: Sequence[service.ModelScores], cases: Sequence[str], structures: Sequence[str]) -> dict[str, Any]:
    """Mean Dice on the same scans against the labels that each model was given, a line a structure."""
    rows = [
        {"labels": one.spent, "dice": dice, "structure": name, "model": one.model}
        for one in scores
        if one.spent is not None
        for name in structures
        if not math.isnan(dice := one.dice(name, cases))
    ]
    return {
        "data": {"values": rows},
        "height": 280,
        "mark": {"type": "line", "point": {"filled": True, "size": 80}},
        "encoding": {
            "x": {
                "field": "labels",
                "type": "quantitative",
                "title": "labels spent",
                "axis": {"tickMinStep": 1},
                "scale": {"zero": False, "nice": True, "padding": 20},
            },
            "y": {"field": "dice", "type": "quantitative", "title": "mean Dice", "scale": {"domain": [0, 1]}},
            **_by("structure", list(structures)),
            "tooltip": [
                {"field": "model", "title": "Model"},
                {"field": "structure", "title": "Structure"},
                {"field": "labels", "title": "Labels"},
                {"field": "dice", "title": "Dice", "format": ".3f"},
            ],
        },
    }


def _by(field: str, values: list[str]) -> dict[str, Any]:
    """Colour and shape by a field; colours repeat after six, with shapes that differ."""
    legend = {"orient": "bottom", "title": None, "columns": 4}
    shades = {"domain": values, "range": [_COLOURS[rank % len(_COLOURS)] for rank in range(len(values))]}
    signs = {"domain": values, "range": [_SHAPES[(rank + rank // 6) % len(_SHAPES)] for rank in range(len(values))]}
    return {
        "color": {"field": field, "scale": shades, "legend": legend},
        "shape": {"field": field, "scale": signs, "legend": legend},
    }


def _scatter(rank: int) -> float:
    """A place from -1 to 1 beside the middle, so that equal values do not hide each other; the same at each drawing."""
    return round((rank * 0.618034) % 1.0 * 2 - 1, 3)
