"""CutMix: one box a pair, the same for all that belongs to an item."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maskmatch_med.views import CutMixDraw, apply_cutmix, draw_cutmix


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 5), st.lists(st.integers(1, 9), min_size=2, max_size=3), st.integers(0, 999))
def test_image_label_and_confidence_take_the_same_box(batch: int, edges: list[int], seed: int) -> None:
    shape = tuple(edges)
    draw = draw_cutmix(batch, shape, 0.8, generator(seed))
    origin = torch.arange(batch).view(batch, *[1] * len(shape)).expand(batch, *shape)
    image = torch.stack([origin, origin + 100], 1).float()
    mixed, labels = apply_cutmix(image, draw).numpy(), apply_cutmix(origin, draw).numpy()
    confidence = apply_cutmix(origin.double(), draw).numpy()
    valid = apply_cutmix(origin == 0, draw).numpy()
    np.testing.assert_array_equal(mixed[:, 0], labels)
    np.testing.assert_array_equal(mixed[:, 1], labels + 100)
    np.testing.assert_array_equal(confidence, labels)
    np.testing.assert_array_equal(valid, labels == 0)
    for item in range(batch):
        taken = np.argwhere(labels[item] != item)
        givers = set(labels[item].ravel().tolist()) - {item}
        assert givers <= {int(draw.partner[item])}
        if len(taken):
            assert len(taken) == np.prod(taken.max(0) - taken.min(0) + 1), "not one solid box"


def test_a_box_painted_by_hand() -> None:
    inside = torch.zeros(2, 1, 2, 3, dtype=torch.bool)
    inside[0, 0, 1, 1:] = True
    tensor = torch.tensor([[[1, 2, 3], [4, 5, 6]], [[10, 20, 30], [40, 50, 60]]])
    mixed = apply_cutmix(tensor, CutMixDraw(torch.tensor([1, 0]), inside))
    assert mixed.tolist() == [[[1, 2, 3], [4, 50, 60]], [[10, 20, 30], [40, 50, 60]]]


@pytest.mark.parametrize("shape", [(100, 100), (120, 80), (40, 40, 40), (64, 64, 16)])
@pytest.mark.parametrize("share", [(0.02, 0.4), (0.25, 0.25)])
def test_every_box_covers_its_share(shape: tuple[int, ...], share: tuple[float, float]) -> None:
    covered = np.concatenate(
        [draw_cutmix(8, shape, 1.0, generator(s), share).inside.flatten(1).double().mean(1).numpy() for s in range(25)]
    )
    rounding = np.prod([1 + 1 / (n * share[0] ** (1 / len(shape)) * 0.6) for n in shape])
    assert share[0] / rounding <= covered.min()
    assert covered.max() <= share[1] * rounding


@pytest.mark.parametrize("shape", [(50, 50), (20, 20, 20)])
def test_boxes_reach_every_side_alike(shape: tuple[int, ...]) -> None:
    often = torch.cat([draw_cutmix(8, shape, 1.0, generator(s)).inside for s in range(100)]).double().mean(0)[0]
    for axis, n in enumerate(shape):
        slices = often.movedim(axis, 0).flatten(1).mean(1)
        assert slices[0] > 0
        assert slices[0] == pytest.approx(float(slices[n - 1]), abs=0.02)


@pytest.mark.parametrize("probability", [0.0, 1.0, 0.5])
def test_probability_of_a_box(probability: float) -> None:
    boxes = torch.cat([draw_cutmix(8, (16, 16), probability, generator(s)).inside for s in range(100)])
    assert float(boxes.flatten(1).any(1).double().mean()) == pytest.approx(probability, abs=0.09 * (probability == 0.5))


def test_an_item_never_gives_to_itself() -> None:
    for batch in (2, 3, 7):
        for seed in range(20):
            partner = draw_cutmix(batch, (4, 4), 1.0, generator(seed)).partner
            assert not (partner == torch.arange(batch)).any()
            assert sorted(partner.tolist()) == list(range(batch))


def test_a_batch_of_one_is_left_alone() -> None:
    image = torch.randn(1, 2, 8, 8)
    draw = draw_cutmix(1, (8, 8), 1.0, generator(0))
    assert not draw.inside.any()
    assert torch.equal(apply_cutmix(image, draw), image)


def test_one_seed_one_draw() -> None:
    first, same = (draw_cutmix(4, (9, 9), 0.5, generator(3)) for _ in range(2))
    assert torch.equal(first.inside, same.inside)
    assert torch.equal(first.partner, same.partner)
