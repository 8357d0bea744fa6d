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
def test_the_bright_voxel_is_where_the_file_has_it(watch: Watch, server: Server, studies: Path, name: str) -> None:
    source = nibabel.load(studies.parent / "sources" / name / f"{name}.nii.gz")
    bright = headers.HEADERS[name]()[1]
    desk = Desk(watch)
    desk.open(server.address, "turned", name)
    desk.find(".window").select_option("full")
    for view in ("axial",) if name == "single_slice" else ("axial", "coronal", "sagittal"):
        desk.view(view)
        spot = desk.seek_bright_spot()
        desk.click(spot)
        place = desk.where()
        assert place is not None
        assert place.voxel == bright
        off_vox = np.linalg.inv(source.affine) @ [*place.point_mm, 1.0]
        np.testing.assert_allclose(off_vox[:3], bright, atol=0.56)
