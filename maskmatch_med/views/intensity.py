"""Intensity changes: noise, blur, brightness, contrast, low resolution and gamma, as nnU-Net draws them.

A draw holds one number an item and operation; 0 items drawn means 0 work done. Inputs are normalised images, so a
standard deviation of 1 is the scan's own. Source: Isensee et al., nnU-Net, Nature Methods 2021, supplement 4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

Range = tuple[float, float]


@dataclass(frozen=True)
class IntensityStrength:
    """Probability and range of each operation."""

    noise: tuple[float, Range] = (0.1, (0.0, 0.3))
    """Standard deviation of Gaussian noise."""
    blur: tuple[float, Range] = (0.2, (0.5, 1.0))
    """Standard deviation of a Gaussian blur in voxels."""
    brightness: tuple[float, Range] = (0.15, (0.75, 1.25))
    """Factor on the intensities."""
    contrast: tuple[float, Range] = (0.15, (0.75, 1.25))
    """Factor on the distance from the mean, range kept."""
    low_resolution: tuple[float, Range] = (0.15, (0.5, 1.0))
    """Factor of a nearest-neighbour downsampling that is undone linearly."""
    gamma: tuple[float, Range] = (0.3, (0.7, 1.5))
    """Exponent on intensities rescaled to [0, 1]; mean and deviation are restored."""


LABELLED = IntensityStrength()
STRONG = IntensityStrength(
    noise=(0.5, (0.05, 0.4)),
    blur=(0.4, (0.5, 1.5)),
    brightness=(0.6, (0.6, 1.4)),
    contrast=(0.6, (0.5, 1.5)),
    low_resolution=(0.25, (0.5, 1.0)),
    gamma=(0.6, (0.5, 2.0)),
)


@dataclass(frozen=True)
class IntensityDraw:
    """For each operation, the items drawn and their amount; noise comes from ``noise_seed`` so that it repeats."""

    amounts: dict[str, dict[int, float]]
    noise_seed: int


@dataclass(frozen=True)
class _Given:
    """What an operation may use besides its amount: a stream of noise, and which axes may be made coarser."""

    noise: Generator
    scaled_axes: tuple[bool, ...]


def draw_intensity(batch: int, strength: IntensityStrength, generator: Generator) -> IntensityDraw:
    """Draw which item of a batch meets which operation, and how strongly."""
    amounts: dict[str, dict[int, float]] = {}
    for name in _OPERATIONS:
        probability, (low, high) = getattr(strength, name)
        drawn = torch.rand(batch, 2, generator=generator)
        amounts[name] = {i: low + (high - low) * float(drawn[i, 1]) for i in range(batch) if drawn[i, 0] < probability}
    return IntensityDraw(amounts, int(torch.randint(2**31, (), generator=generator)))


def apply_intensity(image: Tensor, draw: IntensityDraw, scaled_axes: Sequence[bool] | None = None) -> Tensor:
    """Apply a draw to images (B, C, *spatial); items without an operation are returned as they are.

    Args:
        image: the images.
        draw: what to do to which of them.
        scaled_axes: for each spatial axis whether the low-resolution change may coarsen it; all by default. Thick
            through-plane axes are coarse already.
    """
    axes = (True,) * (image.ndim - 2) if scaled_axes is None else tuple(scaled_axes)
    items = list(image.unbind(0))
    given = _Given(Generator(device=image.device).manual_seed(draw.noise_seed), axes)
    for name, operation in _OPERATIONS.items():
        for index, amount in draw.amounts[name].items():
            items[index] = operation(items[index], amount, given)
    return torch.stack(items)


def _noise(item: Tensor, amount: float, given: _Given) -> Tensor:
    return item + amount * torch.randn(item.shape, generator=given.noise, device=item.device, dtype=item.dtype)


def _blur(item: Tensor, amount: float, _: _Given) -> Tensor:
    radius = max(1, round(3 * amount))
    offsets = torch.arange(-radius, radius + 1, device=item.device, dtype=item.dtype)
    kernel = torch.exp(-0.5 * (offsets / amount) ** 2)
    return _separable(item, kernel / kernel.sum())


def _separable(item: Tensor, kernel: Tensor) -> Tensor:
    """Convolve every spatial axis of (C, *spatial) with one kernel; borders are replicated."""
    radius = len(kernel) // 2
    for axis in range(1, item.ndim):
        if item.shape[axis] > 1:
            line = item.movedim(axis, -1)
            flat = functional.pad(line.reshape(-1, 1, line.shape[-1]), (radius, radius), mode="replicate")
            item = functional.conv1d(flat, kernel.view(1, 1, -1)).reshape(line.shape).movedim(-1, axis)
    return item


def _brightness(item: Tensor, amount: float, _: _Given) -> Tensor:
    return item * amount


def _contrast(item: Tensor, amount: float, _: _Given) -> Tensor:
    low, high = item.amin(_spatial(item), keepdim=True), item.amax(_spatial(item), keepdim=True)
    mean = item.mean(_spatial(item), keepdim=True)
    return torch.minimum(torch.maximum((item - mean) * amount + mean, low), high)


def _low_resolution(item: Tensor, amount: float, given: _Given) -> Tensor:
    shape = item.shape[1:]
    small = [max(1, round(n * amount)) if scaled else n for n, scaled in zip(shape, given.scaled_axes, strict=True)]
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    down = functional.interpolate(item[None], size=small, mode="nearest-exact")
    return functional.interpolate(down, size=tuple(shape), mode=mode, align_corners=False)[0]


def _gamma(item: Tensor, amount: float, _: _Given) -> Tensor:
    axes = _spatial(item)
    low = item.amin(axes, keepdim=True)
    span = (item.amax(axes, keepdim=True) - low).clamp_min(1e-7)
    bent = ((item - low) / span).pow(amount)
    bent = (bent - bent.mean(axes, keepdim=True)) / bent.std(axes, keepdim=True).clamp_min(1e-7)
    return bent * item.std(axes, keepdim=True) + item.mean(axes, keepdim=True)


def _spatial(item: Tensor) -> tuple[int, ...]:
    return tuple(range(1, item.ndim))


_OPERATIONS: dict[str, Callable[[Tensor, float, _Given], Tensor]] = {
    "noise": _noise,
    "blur": _blur,
    "brightness": _brightness,
    "contrast": _contrast,
    "low_resolution": _low_resolution,
    "gamma": _gamma,
}
