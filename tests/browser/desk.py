"""The desk on which a scan lies, as a person uses it: real mouse moves and clicks, found by what is on the screen."""

from __future__ import annotations

import io
import re
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.browser.watch import Watch

Voxel = tuple[int, int, int]
_WHERE = re.compile(r"voxel (\d+), (\d+), (\d+) +(\S+), (\S+), (\S+) mm +value (\S+)")
_WHERE_IN_PICTURE = re.compile(r"pixel (\d+), (\d+) +value (\S+)")
_READY_MS = 90_000
_EDGE = 12
"""Pixels at the rim of the canvas where letters of directions stand."""


@dataclass(frozen=True)
class Place:
    """What the desk says of the voxel under the pointer or the crosshair.

    Args:
        voxel: its index in the file.
        point_mm: in world millimetres; of a picture, which has none, the pixel.
        value: of the scan.
    """

    voxel: Voxel
    point_mm: tuple[float, float, float]
    value: float


class Desk:
    """The desk in a page.

    Args:
        watch: the page.
    """

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.page = watch.page
        self.canvas = self.page.locator("canvas[aria-label='The scan']")

    def open(self, address: str, study: str, scan: str) -> Desk:
        """Open a scan by its address, and wait until it is shown."""
        self.page.goto(f"{address}/label?study={study}&scan={scan}")
        return self.ready()

    def ready(self) -> Desk:
        """Wait until the scan is shown."""
        self.find(".desk[data-state=ready]").wait_for(timeout=_READY_MS)
        return self

    def find(self, selector: str) -> Any:
        """Parts of the page."""
        return self.page.locator(selector)

    def is_flat(self) -> bool:
        """Whether the scan is one slice, so that there is no view or slice to choose."""
        return self.find(".desk[data-flat]").count() > 0

    def view(self, name: str) -> None:
        """Turn to ``axial``, ``coronal``, ``sagittal``, ``multi`` or ``solid``; a flat scan has one view."""
        if not self.is_flat():
            self.find(f"button[data-view={name}]").click()

    def slices(self) -> int:
        """How many slices the present view has."""
        return int(self.find(".slice").get_attribute("max")) + 1

    def slide(self, index: int) -> None:
        """Move the slider to a slice, counted as the slider does; a flat scan has one."""
        if not self.is_flat():
            self.find(".slice").fill(str(index))

    def where(self) -> Place | None:
        """What the line below the scan says."""
        told = self.find(".where").inner_text()
        if (pixel := _WHERE_IN_PICTURE.search(told)) is not None:
            x, y, value = (float(one) for one in pixel.groups())
            return Place((int(x), int(y), 0), (x, y, 0.0), value)
        match = _WHERE.search(told)
        if match is None:
            return None
        numbers = [float(one) for one in match.groups()]
        voxel = (int(numbers[0]), int(numbers[1]), int(numbers[2]))
        return Place(voxel, (numbers[3], numbers[4], numbers[5]), numbers[6])

    def picture(self) -> NDArray[np.int16]:
        """(rows, columns, 3) int16: what the canvas shows."""
        raw = Image.open(io.BytesIO(self.canvas.screenshot())).convert("RGB")
        return np.asarray(raw).astype(np.int16)

    def bright_spot(self) -> tuple[float, float] | None:
        """Where something bright and grey is on the canvas: x and y of its middle in pixels of the page."""
        seen = self.picture()[_EDGE:-_EDGE, _EDGE:-_EDGE]
        grey = (seen.max(-1) - seen.min(-1)) < 25
        rows, columns = np.nonzero(grey & (seen.min(-1) > 140))
        if rows.size < 20:
            return None
        box = self.canvas.bounding_box()
        middle = [(int(one.min()) + int(one.max()) + 1) / 2 + _EDGE for one in (columns, rows)]
        return box["x"] + middle[0], box["y"] + middle[1]

    def seek_bright_spot(self) -> tuple[float, float]:
        """Leaf through the slices of the present view until the bright voxel is seen; gives its place on the page."""
        count = self.slices()
        self.page.mouse.move(4, 4)
        for index in range(count):
            self.slide(index)
            if (spot := self.bright_spot()) is not None:
                return spot
        raise AssertionError(f"none of {count} slices shows the bright voxel")

    def click(self, spot: tuple[float, float]) -> None:
        """Click with the mouse."""
        self.page.mouse.move(*spot)
        self.page.mouse.down()
        self.page.mouse.up()
        time.sleep(0.15)
