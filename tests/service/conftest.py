"""A small study of coloured pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskmatch_med.service import plan_study
from maskmatch_med.study import ImportOptions, import_scans


def draw_picture(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc on noise: (rows, columns, RGBA) and its mask (rows, columns) of 0 and 255."""
    rng = np.random.default_rng(seed)
    rows, columns = 40 + seed % 3, 52
    y, x = np.mgrid[:rows, :columns]
    disc = (y - rng.integers(12, 28)) ** 2 + (x - rng.integers(12, 40)) ** 2 < rng.integers(5, 9) ** 2
    picture = rng.integers(0, 90, (rows, columns, 4), dtype=np.uint8)
    picture[disc, :3] += 120
    picture[..., 3] = 255
    return picture, (disc * 255).astype(np.uint8)


@pytest.fixture(scope="session")
def picture_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``train`` with 4 pictures in ``images`` of which 2 have a mask in ``masks``, ``test`` with 2 that both have."""
    root = tmp_path_factory.mktemp("pictures")
    for part, seeds, labelled in (("train", range(4), 2), ("test", range(10, 12), 2)):
        for folder in ("images", "masks"):
            (root / part / folder).mkdir(parents=True)
        for index, seed in enumerate(seeds):
            picture, mask = draw_picture(seed)
            Image.fromarray(picture, "RGBA").save(root / part / "images" / f"cell{seed}.png")
            if index < labelled:
                Image.fromarray(mask).save(root / part / "masks" / f"cell{seed}.png")
    return root


@pytest.fixture
def picture_study(picture_source: Path, tmp_path: Path) -> Path:
    """A study of the training pictures, planned for a very small network."""
    root = tmp_path / "pictures"
    import_scans(picture_source / "train", root, ImportOptions(label_names=("disc",)))
    plan, _ = plan_study(root, "quick", "cpu")
    features = [4] + [8] * (len(plan.network.features) - 1)
    plan_study(root, "quick", "cpu", {"patch_vox": [32, 32], "network.features": features})
    return root
