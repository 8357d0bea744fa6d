"""A hand with a mouse over the painter: it knows where each voxel lies on the screen, and draws from one to another."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from maskmatch_med.service import label_history, open_draft
from tests.browser.desk import Desk, Voxel

_ROWS, _COLUMNS = 9, 14
"""Where the mouse looks at the scan to learn how its voxels lie: in the middle part of the canvas, as wide as high."""
_HOVER_S = 0.02
_SAVED_S = 30.0


@dataclass(frozen=True)
class Plane:
    """Where the voxels of a view lie in the page.

    Args:
        axis: the axis of the file across the view.
        origin: x and y in the page of the voxel with the index 0 along both other axes.
        steps: (2, 2), the step in the page for one voxel along each of the other axes, in their order.
    """

    axis: int
    origin: NDArray[np.float64]
    steps: NDArray[np.float64]

    def spot(self, voxel: Sequence[float]) -> tuple[float, float]:
        """The middle of a voxel in the page."""
        along = [voxel[axis] for axis in range(3) if axis != self.axis]
        x, y = self.origin + np.asarray(along, float) @ self.steps
        return float(x), float(y)


class Hand:
    """The mouse over a painter in one view.

    Args:
        desk: with the scan.
        shape: of the scan.
    """

    def __init__(self, desk: Desk, shape: tuple[int, ...]) -> None:
        self.desk = desk
        self.page = desk.page
        self.shape = shape
        self.plane: Plane | None = None

    def turn(self, view: str) -> Hand:
        """Turn to a view, and find out where its voxels lie by moving over it."""
        self.desk.view(view)
        self.page.wait_for_timeout(300)
        self.plane = self._measured()
        return self

    def take(self, tool: str, label: int | None = None, size: int | None = None) -> Hand:
        """Take a tool, a structure and a size."""
        if label is not None:
            self.desk.find(f"button[data-label='{label}']").click()
        self.desk.find(f"button[data-tool={tool}]").click()
        if size is not None:
            self.desk.find(".size").fill(str(size))
        return self

    def go(self, index: int) -> Hand:
        """Move the slider until the slice of the file is in view."""
        count = self.desk.slices()
        for at in (index, count - 1 - index):
            self.desk.slide(at)
            if self._slice() == index:
                return self
        raise AssertionError(f"the slider does not lead to slice {index} of the file")

    def stroke(self, *voxels: Voxel) -> None:
        """Press on the first voxel, draw through the others and let go."""
        self.press(*voxels)
        self.page.mouse.up()

    def press(self, *voxels: Voxel) -> None:
        """Press on the first voxel, draw through the others, and hold on."""
        assert self.plane is not None, "turn to a view first"
        spots = [self.plane.spot(voxel) for voxel in voxels]
        self.page.mouse.move(*spots[0])
        self.page.mouse.down()
        for spot in spots[1:]:
            self.page.mouse.move(*spot, steps=2)

    def saved(self) -> None:
        """Wait until the painter says that all is saved."""
        self.desk.find(".saved[data-state=saved]").wait_for(timeout=_SAVED_S * 1000)

    def leave(self) -> None:
        """Turn to another page."""
        self.page.get_by_test_id("stSidebarNav").get_by_role("link", name="Home").click()
        self.desk.find(".desk").wait_for(state="detached")

    def _slice(self) -> int:
        self.page.mouse.move(*self._middle())
        time.sleep(_HOVER_S)
        place = self.desk.where()
        assert place is not None
        assert self.plane is not None
        return place.voxel[self.plane.axis]

    def _middle(self) -> tuple[float, float]:
        box = self.desk.canvas.bounding_box()
        wobble = 1 + time.monotonic() % 1  # so that the pointer moves each time
        return box["x"] + box["width"] / 2 + wobble, box["y"] + box["height"] / 2

    def _measured(self) -> Plane:
        box = self.desk.canvas.bounding_box()
        width = min(box["width"], 1.2 * box["height"])
        across = box["x"] + (box["width"] - width) / 2 + width * (np.arange(_COLUMNS) + 0.5) / _COLUMNS
        down = box["y"] + box["height"] * (np.arange(_ROWS) + 0.5) / _ROWS
        self.page.mouse.move(4, 4)
        spots, voxels, before = [], [], self.desk.where()
        for y in down:
            for x in across:
                self.page.mouse.move(x, y)
                time.sleep(_HOVER_S)
                place = self.desk.where()
                if place is not None and place != before:  # beside the scan nothing new is told
                    spots.append((x, y))
                    voxels.append(place.voxel)
                before = place
        return _fitted(np.array(spots), np.array(voxels), self.shape)


def _fitted(spots: NDArray[np.float64], voxels: NDArray[np.int64], shape: tuple[int, ...]) -> Plane:
    """The plane on which pointers at ``spots`` are over ``voxels``; those at the rim may lie beside the scan."""
    spread = [np.unique(voxels[:, axis]).size for axis in range(3)]
    axis = int(np.argmin(spread))
    others = [one for one in range(3) if one != axis]
    assert min(spread[one] for one in others) > 1, "the line below the scan does not follow the mouse"
    inside = np.all([(voxels[:, one] > 0) & (voxels[:, one] < shape[one] - 1) for one in others], axis=0)
    spots, found = spots[inside], voxels[inside][:, others].astype(float)
    lines = np.column_stack([spots, np.ones(len(spots))])
    solution = np.linalg.lstsq(lines, found, rcond=None)[0]
    assert np.abs(lines @ solution - found).max() < 0.75, "the voxels on the screen do not lie on a grid"
    steps = np.linalg.inv(solution[:2])
    return Plane(axis, -solution[2] @ steps, steps)


class Sheet:
    """What must have been painted: the labels and what is judged, as the strokes make them.

    Args:
        shape: of the scan.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.labels = np.zeros(shape, np.uint8)
        self.judged = np.zeros(shape, bool)

    def row(self, hand: Hand, start: Voxel, end: Voxel, label: int) -> None:
        """Draw a straight row of voxels along one axis with a brush of one voxel, and note it."""
        hand.stroke(start, end)
        self.note(start, end, label)

    def note(self, start: Voxel, end: Voxel, label: int) -> None:
        """Note a row."""
        place = tuple(slice(min(a, b), max(a, b) + 1) for a, b in zip(start, end, strict=True))
        self.labels[place] = label
        self.judged[place] = True

    def compare(self, root: Path, case: str, wait_s: float = _SAVED_S) -> None:
        """Compare the draft on the disk, voxel by voxel, once it has had time to arrive."""
        limit = time.monotonic() + wait_s
        while True:
            draft = open_draft(root, case)
            same = np.array_equal(draft.labels, self.labels) and np.array_equal(draft.judged, self.judged)
            if same or time.monotonic() > limit:
                break
            time.sleep(0.3)
        np.testing.assert_array_equal(draft.labels, self.labels)
        np.testing.assert_array_equal(draft.judged, self.judged)

    def compare_version(self, root: Path, case: str, wait_s: float = _SAVED_S) -> None:
        """Compare the newest version of the label as nibabel reads it, once there is one that was not there before."""
        limit = time.monotonic() + wait_s
        while not (found := label_history(root, case)) or not self.is_version(root, case, found[0].version):
            assert time.monotonic() < limit, f"no version of {case} holds what was painted: {found}"
            time.sleep(0.3)

    def is_version(self, root: Path, case: str, version: str) -> bool:
        """Whether a version holds these voxels, 255 where nobody has judged, with the affine of the scan."""
        label = nibabel.load(root / "history" / case / f"{version}.nii.gz")
        scan = nibabel.load(root / "imagesTr" / f"{case}_0000.nii.gz")
        painted = np.where(self.judged, self.labels, 255)
        same = np.array_equal(np.asarray(label.dataobj), painted)
        return same and np.allclose(label.affine, scan.affine, atol=1e-5)
