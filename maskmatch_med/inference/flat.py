"""Windows of one value, such as clipped air or padding: the network sees one of them, and is spared the others."""

from __future__ import annotations

from torch import Tensor

from maskmatch_med.inference.members import Members

_SAME = 1e-5
"""Normalised intensities that differ by less are one value: what rounding leaves of an interpolated constant."""


class FlatWindows:
    """What the network says of a window in which each channel has one value, computed once a value.

    Nothing is guessed: the output is that of such a window, whatever classes are in it.

    Args:
        members: the network.
        row_axis: the axis of the plan that lies first in windows and outputs.
    """

    def __init__(self, members: Members, row_axis: int) -> None:
        self._members, self._row_axis = members, row_axis
        self._last: tuple[Tensor, Tensor] | None = None

    def output(self, window: Tensor) -> Tensor | None:
        """Logits (channels, *patch) of a window (C, *patch), or None where it is not flat."""
        values = window.flatten(1)
        if not _near(values[:, 0], values[:, -1]):
            return None
        low, high = values.aminmax(dim=1)
        if not _near(low, high):
            return None
        if self._last is None or not _near(self._last[0], low):
            self._last = low, self._members(window[None], self._row_axis)[0]
        return self._last[1]


def _near(one: Tensor, other: Tensor) -> bool:
    return float((one - other).abs().max()) <= _SAME
