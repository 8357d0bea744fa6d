"""Whatever a file says of its axes, the voxel that a person sees and clicks is the voxel of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from maskmatch_med.service import ImportOptions, take_in
from tests.browser import headers
from tests.browser.desk import Desk
from tests.browser.hand import Hand, Sheet
from tests.browser.watch import Watch
from tests.served import Server

pytestmark = pytest.mark.proof


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study ``turned`` with one scan a header."""
    root = tmp_path_factory.mktemp("turned")
    for name in headers.HEADERS:
        source = root / "sources" / name
        source.mkdir(parents=True)
        headers.write(name, source / f"{name}.nii.gz")
        frames = (headers.FRAME,) if name == "four_axes" else None
        options = ImportOptions(label_names=("one", "two", "three"), frames=frames)
        intake = take_in(source, root / "studies" / "turned", options)
        assert intake.added == [name], intake
    return root / "studies"


@pytest.fixture(scope="module")
def server(studies: Path) -> Any:
    running = Server(studies).start()
    yield running
    running.stop()


@pytest.mark.parametrize("name", headers.HEADERS)
def test_the_voxel_that_is_seen_and_painted_is_that_of_the_file(
    watch: Watch, server: Server, studies: Path, name: str
) -> None:
    """In each plane the bright voxel is found on the screen, named, painted with one click, and taken back."""
    source = nibabel.load(studies.parent / "sources" / name / f"{name}.nii.gz")
    bright = headers.HEADERS[name]()[1]
    desk = Desk(watch).open(server.address, "turned", name)
    hand = Hand(desk, source.shape[:3])
    desk.find(".window").select_option("full")
    views = ("axial",) if name == "single_slice" else ("axial", "coronal", "sagittal")
    for label, view in enumerate(views, start=1):
        desk.view(view)
        spot = desk.seek_bright_spot()
        hand.take("brush", label, size=1)
        desk.click(spot)
        place = desk.where()
        assert place is not None
        assert place.voxel == bright
        off_vox = np.linalg.inv(source.affine) @ [*place.point_mm, 1.0]
        np.testing.assert_allclose(off_vox[:3], bright, atol=0.56)
        sheet = Sheet(source.shape[:3])
        sheet.note(bright, bright, label)
        sheet.compare(studies / "turned", name)
        if view != views[-1]:
            desk.find(".undo").click()
            Sheet(source.shape[:3]).compare(studies / "turned", name)
    hand.saved()
    hand.leave()
    sheet.compare_version(studies / "turned", name)
    stored = nibabel.load(studies / "turned" / "imagesTr" / f"{name}_0000.nii.gz")
    np.testing.assert_allclose(stored.affine, source.affine, atol=1e-5)
