"""The ruler: a drag tells the distance in the world between the voxels that it runs between."""

from __future__ import annotations

import re
from collections.abc import Iterator

import nibabel
import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from maskmatch_med.service import ImportOptions, take_in
from tests.browser.desk import Desk
from tests.browser.hand import Hand
from tests.browser.watch import Watch
from tests.served import Server

pytestmark = pytest.mark.proof
SHAPE, SPACING = (26, 22, 14), (1.0, 1.0, 2.5)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A study ``oblique`` of a scan turned by 20 degrees, and a study ``flat`` of a picture."""
    root = tmp_path_factory.mktemp("ruler")
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (20, -10, 5), degrees=True).as_matrix() * SPACING
    values = np.random.default_rng(5).integers(0, 600, SHAPE).astype(np.int16)
    (root / "scan").mkdir()
    nibabel.save(nibabel.Nifti1Image(values, affine), root / "scan" / "turned.nii.gz")
    (root / "picture").mkdir()
    Image.fromarray(values[:, :, 0].T.astype(np.uint8)).save(root / "picture" / "cells.png")
    for source, study in (("scan", "oblique"), ("picture", "flat")):
        assert take_in(root / source, root / "studies" / study, ImportOptions(label_names=("one",))).added
    running = Server(root / "studies").start()
    yield running
    running.stop()


def _told(desk: Desk) -> tuple[float, str] | None:
    match = re.search(r"ruler (\S+) (mm|px)", desk.find(".where").inner_text())
    return None if match is None else (float(match[1]), match[2])


def _paints_nothing(desk: Desk) -> bool:
    return desk.find(".undo").is_disabled()


@pytest.mark.parametrize("view", ["axial", "coronal", "sagittal"])
def test_the_length_is_that_in_the_world(watch: Watch, server: Server, view: str) -> None:
    desk = Desk(watch).open(server.address, "oblique", "turned")
    hand = Hand(desk, SHAPE).turn(view).take("ruler")
    assert hand.plane is not None
    middle = [n // 2 for n in SHAPE]
    ends = [[n if a == hand.plane.axis else n + sign * (2 + a) for a, n in enumerate(middle)] for sign in (-1, 1)]
    before = desk.picture()
    hand.stroke(*((end[0], end[1], end[2]) for end in ends))
    length = np.linalg.norm(np.subtract(*ends) * SPACING)
    told = _told(desk)
    assert told is not None
    assert told[0] == pytest.approx(length, abs=0.6), "as exact as the mouse is set on voxels of 2.5 mm"
    assert told[1] == "mm"
    desk.page.mouse.move(4, 4)
    desk.page.wait_for_timeout(300)
    drawn = desk.picture()
    cyan = (drawn[..., 2] - drawn[..., 0] > 60).sum() - (before[..., 2] - before[..., 0] > 60).sum()
    assert cyan > 100, "the line stays on its slice"
    assert _paints_nothing(desk)
    desk.page.keyboard.press("b")
    assert _told(desk) is None, "put away with what it has measured"


def test_a_picture_is_measured_in_pixels(watch: Watch, server: Server) -> None:
    desk = Desk(watch).open(server.address, "flat", "cells")
    hand = Hand(desk, (*SHAPE[:2], 1)).turn("axial").take("ruler")
    hand.stroke((4, 5, 0), (16, 10, 0))
    told = _told(desk)
    assert told is not None
    assert told[0] == pytest.approx(13, abs=0.15)
    assert told[1] == "px"
