"""The masked view: a grid of patches, most of them hidden, shared by the channels of an image.

[abstract] MaskMatch (Pan et al., arXiv 2312.08631): the student segments from the unmasked patches alone, "even with
30 % only". [fork] One grid an image, ratio 0.7, hidden voxels set to 0 after normalisation. [ours] Patches are
isotropic in millimetres, hidden voxels take noise like the image, and the number of hidden patches can be exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Generator, Tensor

from maskmatch_med.views.noise import standard_normal

Fill = Literal["mean", "zero", "noise"]


def mask_patch_vox(patch_mm: float, spacing_mm: Sequence[float], shape: Sequence[int]) -> tuple[int, ...]:
    """Edges in voxels of a mask patch of ``patch_mm`` millimetres, at least 1 and at most the view."""
    return tuple(min(n, max(1, round(patch_mm / s))) for s, n in zip(spacing_mm, shape, strict=True))


def default_patch_mm(patch_vox: Sequence[int], spacing_mm: Sequence[float], piece_mm: float = 0.0) -> float:
    """An eighth of the training patch's shortest edge in 3D [ours], a sixteenth in 2D [fork: 32 of 513 pixels].

    [ours] At most a quarter of a structure's diameter: what is hidden can be told from what is left of the same
    structure, and not of it alone that others of its kind lie somewhere.

    Args:
        patch_vox: voxels of the training patch.
        spacing_mm: of its voxels.
        piece_mm: diameter of a connected piece of a structure; 0 where it is not known.
    """
    shortest = min(n * s for n, s in zip(patch_vox, spacing_mm, strict=True))
    edge = shortest / (8 if len(patch_vox) == 3 else 16)
    return min(edge, piece_mm / 4) if piece_mm else edge


def draw_patch_mask(
    batch: int,
    shape: Sequence[int],
    patch_vox: Sequence[int],
    ratio: float,
    generator: Generator,
    exact_count: bool = True,
) -> Tensor:
    """Draw which patches stay visible.

    Args:
        batch: number of images.
        shape: voxels of the view along each axis.
        patch_vox: voxels of a mask patch along each axis; the last row of patches is cut off by the border.
        ratio: share of patches to hide.
        generator: source of randomness, on the CPU.
        exact_count: hide ``round(ratio * patches)`` of them, instead of one Bernoulli draw a patch.

    Returns:
        (B, 1, *shape) bool, true where visible.
    """
    cells = [-(-n // p) for n, p in zip(shape, patch_vox, strict=True)]
    count = torch.Size(cells).numel()
    drawn = torch.rand(batch, count, generator=generator)
    visible = drawn.argsort(1).argsort(1) >= round(ratio * count) if exact_count else drawn >= ratio
    mask = visible.view(batch, 1, *cells)
    for axis, (n, p) in enumerate(zip(shape, patch_vox, strict=True), start=2):
        mask = mask.repeat_interleave(p, dim=axis).narrow(axis, 0, n)
    return mask


def apply_patch_mask(image: Tensor, visible: Tensor, fill: Fill, generator: Generator) -> Tensor:
    """Fill the hidden voxels of (B, C, *spatial) with noise, each channel's mean over the image, or 0.

    Args:
        image: the view.
        visible: (B, 1, *spatial) bool.
        fill: ``noise`` [ours], Gaussian with each channel's mean and standard deviation, so that what is hidden is not
            flat and a network that normalises by an image's own deviation meets the one that it knows; ``mean``
            [ours]; ``zero`` [fork], which is the scan's mean after normalisation.
        generator: source of the noise, on the CPU.
    """
    axes = tuple(range(2, image.ndim))
    filled = image.mean(dim=axes, keepdim=True) if fill != "zero" else image.new_zeros(())
    if fill == "noise":
        deviation = image.std(dim=axes, keepdim=True, correction=0)
        filled = filled + deviation * standard_normal(image, generator)
    return torch.where(visible.to(image.device), image, filled)
