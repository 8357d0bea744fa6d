"""What every test shares: where the real scans lie, a tiny generated study, and one thread a process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from maskmatch_med.phantom import PhantomOptions, write_phantom
from maskmatch_med.service import plan_study
from maskmatch_med.study import ImportOptions, import_scans

torch.set_num_threads(1)
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def own_state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tests keep apart from the user's own state: their jobs wait for no training of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("state")
        patch.setenv("XDG_STATE_HOME", str(folder))
        patch.setenv("MASKMATCH_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans beside the repository; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"real scans are not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def phantom_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated scans of about 24 voxels an edge in nnU-Net's layout: 2 labelled, 3 unlabelled, 2 to test on."""
    root = tmp_path_factory.mktemp("phantom") / "source"
    return write_phantom(root, PhantomOptions(scans=5, labelled=2, test=2, shape=(24, 24, 24)))


@pytest.fixture(scope="session")
def planned_study(phantom_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of those scans with the plan of a very small network; shared, so only to be read."""
    root = tmp_path_factory.mktemp("planned") / "study"
    import_scans(phantom_source, root, ImportOptions(splits=phantom_source / "splits.json", labelled=2))
    plan_study(root, "quick", "cpu", {"patch_vox": "[16, 16, 16]", "network.features": "[4, 8, 8]"})
    return root


@pytest.fixture
def tiny_study(planned_study: Path, tmp_path: Path) -> Path:
    """A copy of :func:`planned_study` for one test."""
    return Path(shutil.copytree(planned_study, tmp_path / "study"))


@pytest.fixture(scope="session")
def held_out_scans(phantom_source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of the generated test scans and of their labels."""
    root = tmp_path_factory.mktemp("test_scans")
    for folder, ending in (("images", "_0000.nii.gz"), ("labels", ".nii.gz")):
        (root / folder).mkdir()
        for name in json.loads((phantom_source / "splits.json").read_text())["test"]:
            part = "imagesTr" if folder == "images" else "labelsTr"
            shutil.copy(phantom_source / part / f"{name}{ending}", root / folder / f"{name}{ending}")
    return root / "images", root / "labels"
