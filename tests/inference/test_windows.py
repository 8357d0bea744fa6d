from __future__ import annotations

import numpy as np
import pytest
import torch

from maskmatch_med.errors import InputError
from maskmatch_med.inference.windows import (
    FLOOR,
    Importance,
    Stitcher,
    importance_map,
    pad_to,
    place_windows,
    window_starts,
)

SHAPES = [((8, 8, 8), (8, 8, 8)), ((17, 9, 23), (8, 4, 6)), ((31, 10), (16, 7)), ((40, 40, 5), (16, 16, 4))]


def test_starts_one_can_count() -> None:
    assert window_starts(10, 4, 0.5) == [0, 2, 4, 6]
    assert window_starts(10, 4, 0) == [0, 3, 6]
    assert window_starts(8, 4, 0) == [0, 4]
    assert window_starts(4, 4, 0.75) == [0]
    assert window_starts(5, 4, 0.5) == [0, 1]
    assert window_starts(3, 1, 0.9) == [0, 1, 2]


@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.75, 0.9])
@pytest.mark.parametrize(("size", "patch"), [(100, 32), (33, 32), (7, 3), (256, 48)])
def test_neighbours_share_what_was_asked(size: int, patch: int, overlap: float) -> None:
    starts = window_starts(size, patch, overlap)
    steps = np.diff(starts)
    assert starts[0] == 0
    assert starts[-1] == size - patch
    assert (steps > 0).all()
    assert ((patch - steps >= overlap * patch - 1e-9) | (steps == 1)).all()
    evenly = (size - patch) / max(1, len(starts) - 2) if len(starts) > 2 else size
    assert evenly > int(patch * (1 - overlap)) or len(starts) <= 2, "one window less would not do"


@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize(("shape", "patch"), SHAPES)
@pytest.mark.parametrize("kind", ["gaussian", "uniform"])
def test_stitching_the_cut_windows_gives_the_image_back(
    shape: tuple[int, ...], patch: tuple[int, ...], overlap: float, kind: Importance
) -> None:
    image = torch.randn(2, *shape, generator=torch.Generator().manual_seed(3))
    stitcher = Stitcher(2, shape, importance_map(patch, kind), torch.device("cpu"))
    for window in place_windows(shape, patch, overlap):
        stitcher.add(window, image[(slice(None), *window)])
    torch.testing.assert_close(stitcher.mean(), image, rtol=1e-5, atol=1e-6)


def test_two_windows_by_hand() -> None:
    """Outputs 1 and 3 of uniform weight: 1 where only the first lies, 2 where both do, 3 where only the second does."""
    stitcher = Stitcher(1, (6,), importance_map((4,), "uniform"), torch.device("cpu"))
    for value, window in zip((1.0, 3.0), place_windows((6,), (4,), 0.5), strict=True):
        stitcher.add(window, torch.full((1, 4), value))
    assert stitcher.mean()[0].tolist() == [1, 1, 2, 2, 3, 3]


def test_importance_against_the_formula() -> None:
    found = importance_map((16, 9)).double().numpy()
    x, y = np.arange(16) - 7.5, np.arange(9) - 4.0
    gauss = np.exp(-0.5 * (x / 2) ** 2)[:, None] * np.exp(-0.5 * (y / 1.125) ** 2)[None]
    expected = np.maximum(gauss / gauss.max(), FLOOR)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found.min() == pytest.approx(1e-3)


def test_padding_is_central_and_only_where_it_is_needed() -> None:
    image = torch.arange(1.0, 7.0).reshape(1, 3, 2)
    padded, window = pad_to(image, (3, 5))
    assert padded.tolist() == [[[0, 1, 2, 0, 0], [0, 3, 4, 0, 0], [0, 5, 6, 0, 0]]]
    assert torch.equal(padded[(slice(None), *window)], image)
    same, _ = pad_to(image, (2, 2))
    assert same is image


def test_impossible_overlap_is_refused() -> None:
    with pytest.raises(InputError, match=r"overlap of 1\.0"):
        place_windows((8,), (4,), 1.0)
