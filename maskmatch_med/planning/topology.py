"""The shape of a U-Net for a patch, and what it costs.

Source of the rules: Isensee et al., nnU-Net, Nature Methods 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from maskmatch_med.planning.plan import FEWEST_STAGES, NetworkPlan

SMALLEST_EDGE = 4
"""No axis is pooled below this many voxels."""
_GIB = 2**30
_BYTES = 4
_TENSORS_PER_CONVOLUTION = 2.5
_COPIES_OF_WEIGHTS = 4
_BASE_GIB = 0.5
_TRAINING_FORWARDS = 3
_FLOPS_PER_SECOND = {"cpu": 1.0e11, "gpu": 2.0e13}


def make_network(
    patch_vox: Sequence[float], spacing_mm: Sequence[float], *, base: int, cap: int, max_stages: int, deep: bool = False
) -> NetworkPlan:
    """The stages for a patch.

    From stage to stage an axis is halved while it keeps at least 4 voxels and its spacing is within a factor 2 of the
    finest axis that can still be halved. A coarse axis is convolved with kernel 1 until the others' spacing has come
    within a factor 2 of its own. Features double from ``base`` up to ``cap``.

    Args:
        patch_vox: the patch, not yet rounded to the network's divisor.
        spacing_mm: voxel spacing of the patch.
        base: features of the first stage.
        cap: most features of any stage.
        max_stages: most stages, at least 3.
        deep: train with deep supervision.
    """
    size, spacing = list(patch_vox), list(spacing_mm)
    strides = [(1,) * len(size)]
    kernels = [_kernel(spacing)]
    while len(strides) < max_stages:
        halvable = [axis for axis, n in enumerate(size) if n >= 2 * SMALLEST_EDGE]
        if not halvable:
            break
        finest = min(spacing[axis] for axis in halvable)
        stride = tuple(2 if axis in halvable and spacing[axis] < 2 * finest else 1 for axis in range(len(size)))
        size = [n / s for n, s in zip(size, stride, strict=True)]
        spacing = [mm * s for mm, s in zip(spacing, stride, strict=True)]
        strides.append(stride)
        kernels.append(tuple(max(a, b) for a, b in zip(_kernel(spacing), kernels[-1], strict=True)))
    while len(strides) < FEWEST_STAGES:
        strides.append((1,) * len(size))
        kernels.append(kernels[-1])
    features = tuple(min(base * 2**stage, cap) for stage in range(len(strides)))
    return NetworkPlan(features=features, kernels=tuple(kernels), strides=tuple(strides), deep_supervision=deep)


def forward_flops(network: NetworkPlan, patch_vox: Sequence[int], channels: int, batch: int) -> float:
    """Floating point operations of one forward pass (two a multiply-add).

    Counted are two convolutions with the stage's kernel on the way down, and on the way up a transposed convolution and
    two convolutions with the kernel of the stage below (MONAI's choice), the first of them over the concatenation.
    """
    total, voxels, before = 0.0, float(math.prod(patch_vox)), channels
    last = len(network.features) - 1
    for stage, (features, kernel, stride) in enumerate(
        zip(network.features, network.kernels, network.strides, strict=True)
    ):
        voxels /= math.prod(stride)
        total += voxels * math.prod(kernel) * (before * features + features**2)
        if stage < last:
            total += voxels * math.prod(network.kernels[stage + 1]) * 3 * features**2
        if stage > 0:
            total += voxels * math.prod(stride) * before * features
        before = features
    return 2 * batch * total


def training_memory_gib(network: NetworkPlan, patch_vox: Sequence[int], channels: int, batch: int) -> float:
    """Estimated memory of a supervised training step in GiB.

    Formula: 0.5 + 4 bytes x (2.5 tensors a convolution [its output, its normalised output, half for gradients in
    flight] x features x voxels, over four convolutions a stage, two in the deepest) x batch + 4 bytes x 4 copies of the
    weights (weights, gradient, momentum, teacher). Semi-supervised recipes put about three such batches together.
    """
    voxels, activations, weights, before = float(math.prod(patch_vox)), 0.0, 0.0, channels
    last = len(network.features) - 1
    for stage, (features, kernel, stride) in enumerate(
        zip(network.features, network.kernels, network.strides, strict=True)
    ):
        voxels /= math.prod(stride)
        activations += voxels * features * (4 if stage < last else 2) * _TENSORS_PER_CONVOLUTION
        weights += math.prod(kernel) * (before * features + features**2 * (4 if stage < last else 1))
        before = features
    return _BASE_GIB + _BYTES * (activations * batch + weights * _COPIES_OF_WEIGHTS) / _GIB


def seconds_per_iteration(flops: float, budget: str) -> float:
    """Estimated seconds of one supervised step: three forward passes' operations at a fixed rate.

    The rates are 100 GFLOP/s for ``cpu`` (two cores of a 2020s server; measured 90 to 160) and 20 TFLOP/s for ``gpu``
    (a rough value for a current card with mixed precision). Semi-supervised recipes take about 2.5 times as long.
    """
    return _TRAINING_FORWARDS * flops / _FLOPS_PER_SECOND[budget]


def _kernel(spacing: Sequence[float]) -> tuple[int, ...]:
    finest = min(spacing)
    return tuple(3 if mm < 2 * finest else 1 for mm in spacing)
