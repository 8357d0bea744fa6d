"""CutMix and copy-paste: a box of each item is replaced by the same box of another item.

Source: Yun et al., CutMix, ICCV 2019; area and probability as UniMatch (Yang et al., CVPR 2023) draws them. The box of
fixed size is that of Bai et al., Bidirectional copy-paste, CVPR 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor


@dataclass(frozen=True)
class CutMixDraw:
    """Which box of which partner each item receives.

    Args:
        partner: (B,) index of the item that gives.
        inside: (B, 1, *spatial) bool, true where the partner's voxels are taken.
    """

    partner: Tensor
    inside: Tensor


def draw_cutmix(
    batch: int,
    shape: Sequence[int],
    probability: float,
    generator: Generator,
    share: tuple[float, float] = (0.02, 0.4),
) -> CutMixDraw:
    """Draw one box an item, covering ``share`` of the view; with one item in the batch nothing is mixed.

    The aspects are divided by their geometric mean, so that they change the box's form and not its volume.
    """
    inside = torch.zeros(batch, 1, *shape, dtype=torch.bool)
    shift = int(torch.randint(1, max(batch, 2), (), generator=generator))
    partner = (torch.arange(batch) + shift) % batch
    for item in range(batch):
        drawn = torch.rand(2 + 2 * len(shape), generator=generator)
        if batch == 1 or drawn[0] >= probability:
            continue
        edge = (share[0] + (share[1] - share[0]) * float(drawn[1])) ** (1 / len(shape))
        aspects = 0.7 + 0.6 * drawn[2::2]
        aspects /= aspects.log().mean().exp()
        box: list[slice[int, int, None]] = []
        for n, aspect, place in zip(shape, aspects.tolist(), drawn[3::2].tolist(), strict=True):
            length = min(n, max(1, round(n * edge * aspect)))
            start = int((n - length + 1) * place)
            box.append(slice(start, start + length))
        inside[item, 0][tuple(box)] = True
    return CutMixDraw(partner, inside)


def apply_cutmix(tensor: Tensor, draw: CutMixDraw) -> Tensor:
    """Mix a batch (B, *spatial) or (B, C, *spatial): image, label, confidence and validity alike."""
    inside = draw.inside.to(tensor.device)
    if tensor.ndim == inside.ndim - 1:
        inside = inside[:, 0]
    return torch.where(inside, tensor[draw.partner.to(tensor.device)], tensor)


def draw_boxes(batch: int, shape: Sequence[int], edge: float, generator: Generator) -> Tensor:
    """Draw one box an item, ``edge`` of the view long along each axis, anywhere in it.

    Returns:
        (B, 1, *shape) bool, true inside the box.
    """
    inside = torch.zeros(batch, 1, *shape, dtype=torch.bool)
    lengths = [max(1, int(n * edge)) for n in shape]
    for item in range(batch):
        starts = [
            int(torch.randint(n - length + 1, (), generator=generator))
            for n, length in zip(shape, lengths, strict=True)
        ]
        inside[item, 0][tuple(slice(start, start + n) for start, n in zip(starts, lengths, strict=True))] = True
    return inside


def draw_copy_paste(batch: int, shape: Sequence[int], edge: float, generator: Generator) -> CutMixDraw:
    """Each item receives a box of :func:`draw_boxes` from the next item; a single item stays as it is."""
    inside = draw_boxes(batch, shape, edge, generator)
    return CutMixDraw((torch.arange(batch) + 1) % batch, inside)
