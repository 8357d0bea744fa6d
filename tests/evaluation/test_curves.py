"""Learning curves: the legend of small panels stays clear of what it explains."""

from __future__ import annotations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from maskmatch_med.evaluation.curves import curve_figure


@pytest.mark.parametrize("models", [1, 6])
@pytest.mark.parametrize("scales", [2, 4])
def test_the_legend_of_a_panel_by_scale_covers_no_curve(models: int, scales: int):
    """Curves in every corner: no legend would have a free place beside them."""
    names = ["ensemble", *(f"{1 + i / 4:g}" for i in range(scales))]
    log = [
        {"seconds": float(i), "teacher_dice": {n: (i * (rank + 3)) % 10 / 10 for rank, n in enumerate(names)}}
        for i in range(40)
    ]
    figure = curve_figure({f"m{number}": log for number in range(models)})
    assert figure is not None
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert len(panels) == models
    for axes in panels:
        box = axes.get_legend().get_window_extent(canvas.get_renderer())
        assert box.y1 <= axes.get_window_extent().y1
        for line in axes.get_lines():
            assert axes.transData.transform(line.get_xydata())[:, 1].max() < box.y0
