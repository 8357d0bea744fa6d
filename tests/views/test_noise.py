"""Noise for a batch: standard normal, repeatable, where the batch lies."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import kstest

from maskmatch_med.views import standard_normal


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_are_standard_normal_and_repeat_with_the_generator(dtype: torch.dtype) -> None:
    image = torch.full((2, 1, 40, 50), 7.0, dtype=dtype)
    found = standard_normal(image, torch.Generator().manual_seed(3))
    assert (found.shape, found.dtype, found.device) == (image.shape, dtype, image.device)
    assert kstest(found.flatten().double().numpy(), "norm").pvalue > 0.01
    assert torch.equal(found, standard_normal(image, torch.Generator().manual_seed(3)))
    assert not torch.equal(found, standard_normal(image, torch.Generator().manual_seed(4)))


def test_a_second_draw_of_the_same_generator_differs() -> None:
    image, generator = torch.zeros(1, 1, 8, 8), torch.Generator().manual_seed(3)
    assert not torch.equal(standard_normal(image, generator), standard_normal(image, generator))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_card_the_numbers_follow_from_the_generator_too() -> None:
    image = torch.zeros(2, 1, 40, 50, device="cuda")
    found = [standard_normal(image, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)]
    assert found[0].device == image.device
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
