"""Gaussian noise for a batch, drawn where the batch lies."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def standard_normal(image: Tensor, generator: Generator) -> Tensor:
    """Standard normal numbers of the shape, precision and device of ``image``.

    Args:
        image: any shape.
        generator: source of randomness, on the CPU. Where the image lies elsewhere, the numbers are drawn there, by a
            generator that this one gives its seed.
    """
    if image.device != generator.device:
        seed = int(torch.randint(2**31, (), generator=generator))
        generator = Generator(image.device).manual_seed(seed)
    return torch.randn(image.shape, generator=generator, device=image.device, dtype=image.dtype)
