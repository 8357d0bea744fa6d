"""Plots of the results: one scan far from the others does not flatten them."""

from __future__ import annotations

import pytest

from maskmatch_app.parts import plots
from maskmatch_med.service import ScanVolume


def _volume(case: str, amount: float, outlier: bool = False) -> ScanVolume:
    return ScanVolume(case, "liver", amount, "ml", None, "1", complete=True, outlier=outlier)


def test_an_outlier_is_drawn_at_the_edge_with_its_value() -> None:
    found = [*(_volume(f"s{n}", 10.0 + n) for n in range(5)), _volume("far", 900.0, outlier=True)]
    rows = {row["scan"]: row for row in plots.distribution(found, "ml")["data"]["values"]}
    assert (rows["far"]["at"], rows["far"]["amount"], rows["far"]["beyond"]) == (18.0, 900.0, "\u25b2 900")
    assert rows["s4"]["at"] == pytest.approx(14.0)
    assert plots.cut_off(found) == 1
    assert plots.cut_off(found[:-1]) == 0
