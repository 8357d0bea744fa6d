"""The masked view: patches counted one by one."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maskmatch_med.views import apply_patch_mask, default_patch_mm, draw_patch_mask, mask_patch_vox


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cells_of(visible: torch.Tensor, patch: tuple[int, ...]) -> list[list[bool]]:
    """For each item, whether each patch is visible; fails when a patch is half hidden."""
    items = []
    for item in visible[:, 0].numpy():
        starts = [range(0, n, p) for n, p in zip(item.shape, patch, strict=True)]
        cells = []
        for corner in product(*starts):
            cell = item[tuple(slice(c, c + p) for c, p in zip(corner, patch, strict=True))]
            assert cell.all() or not cell.any()
            cells.append(bool(cell.all()))
        items.append(cells)
    return items


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 14), st.integers(1, 5)), min_size=2, max_size=3),
    st.floats(0.05, 0.95),
    st.integers(0, 99),
)
def test_exact_count_hides_that_many_patches_of_every_image(
    axes: list[tuple[int, int]], ratio: float, seed: int
) -> None:
    shape, patch = tuple(n for n, _ in axes), tuple(p for _, p in axes)
    visible = draw_patch_mask(3, shape, patch, ratio, generator(seed))
    assert visible.shape == (3, 1, *shape)
    assert visible.dtype == torch.bool
    for cells in cells_of(visible, patch):
        assert len(cells) == math.prod(math.ceil(n / p) for n, p in axes)
        assert cells.count(False) == round(ratio * len(cells))


@pytest.mark.parametrize(("shape", "patch"), [((64, 64), (4, 4)), ((24, 24, 12), (3, 3, 2))])
def test_bernoulli_hides_the_ratio_on_average_and_the_count_varies(
    shape: tuple[int, ...], patch: tuple[int, ...]
) -> None:
    items = cells_of(draw_patch_mask(40, shape, patch, 0.7, generator(1), exact_count=False), patch)
    hidden = np.array([cells.count(False) for cells in items])
    cells = len(items[0])
    error = math.sqrt(0.7 * 0.3 / (40 * cells))
    assert hidden.mean() / cells == pytest.approx(0.7, abs=5 * error)
    assert hidden.std() == pytest.approx(math.sqrt(cells * 0.7 * 0.3), rel=0.5)


def test_every_patch_is_hidden_equally_often() -> None:
    items = np.array(cells_of(draw_patch_mask(600, (4, 4), (1, 1), 0.7, generator(2)), (1, 1)))
    np.testing.assert_allclose((~items).mean(0), 11 / 16, atol=5 * math.sqrt(0.25 / 600))


def test_images_of_a_batch_are_masked_differently_and_a_seed_repeats() -> None:
    first, same = (draw_patch_mask(2, (32, 32), (4, 4), 0.7, generator(5)) for _ in range(2))
    assert torch.equal(first, same)
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize(
    ("patch_mm", "spacing", "shape", "expected"),
    [
        (8.0, (1.0, 1.0, 4.0), (64, 64, 16), (8, 8, 2)),
        (6.0, (0.5, 0.75), (64, 64), (12, 8)),
        (2.0, (0.7, 0.7, 5.0), (64, 64, 16), (3, 3, 1)),
        (500.0, (1.0, 1.0), (48, 32), (48, 32)),
    ],
)
def test_patches_are_cubes_in_millimetres(
    patch_mm: float, spacing: tuple[float, ...], shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert mask_patch_vox(patch_mm, spacing, shape) == expected


def test_default_edge() -> None:
    assert default_patch_mm((512, 640), (1.0, 1.0)) == 32
    assert default_patch_mm((112, 112, 80), (1.0, 1.0, 1.0)) == 10
    assert default_patch_mm((64, 64, 16), (1.0, 1.0, 3.0)) == 6
    assert default_patch_mm((512, 640), (1.0, 1.0), piece_mm=20) == 5
    assert default_patch_mm((112, 112, 80), (1.0, 1.0, 1.0), piece_mm=60) == 10


@pytest.mark.parametrize("shape", [(6, 8), (6, 4, 5)])
def test_hidden_voxels_of_all_channels_take_the_channels_mean(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).normal(3, 2, (2, 3, *shape)).astype(np.float32)
    visible = draw_patch_mask(2, shape, (2,) * len(shape), 0.7, generator(3))
    found = apply_patch_mask(torch.from_numpy(image), visible, "mean", generator(1)).numpy()
    for item, channel in product(range(2), range(3)):
        seen = visible[item, 0].numpy()
        np.testing.assert_array_equal(found[item, channel][seen], image[item, channel][seen])
        mean = image[item, channel].astype(np.float64).mean()
        np.testing.assert_allclose(found[item, channel][~seen], mean, rtol=1e-5)
        assert (~seen).any()


def test_the_mean_is_zero_for_a_scan_with_zero_mean() -> None:
    image = torch.tensor([[[[1.0, -1.0], [2.0, -2.0]]]])
    visible = torch.tensor([[[[True, False], [False, True]]]])
    assert apply_patch_mask(image, visible, "mean", generator(1)).tolist() == [[[[1.0, 0.0], [0.0, -2.0]]]]


def test_noise_has_each_channels_mean_and_deviation_and_zero_is_zero() -> None:
    image = torch.from_numpy(np.random.default_rng(0).normal((3, -2), (0.5, 4), (64, 64, 2)).astype(np.float32))
    image = image.permute(2, 0, 1)[None]
    visible = draw_patch_mask(1, (64, 64), (4, 4), 0.7, generator(3))
    noise = apply_patch_mask(image, visible, "noise", generator(1))[0]
    hidden = ~visible[0, 0]
    for channel, (mean, deviation) in enumerate([(3, 0.5), (-2, 4)]):
        drawn = noise[channel][hidden]
        assert drawn.mean().item() == pytest.approx(mean, abs=4 * deviation / len(drawn) ** 0.5)
        assert drawn.std().item() == pytest.approx(deviation, rel=0.06)
    assert torch.equal(noise[:, ~hidden], image[0][:, ~hidden])
    assert torch.equal(apply_patch_mask(image, visible, "noise", generator(1))[0], noise)
    assert apply_patch_mask(image, visible, "zero", generator(1))[0][:, hidden].unique().tolist() == [0]
