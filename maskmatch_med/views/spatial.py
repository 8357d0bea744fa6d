"""The weak view: one affine map a sample, drawn once and applied alike to image, label, validity and every scale.

A source crop is larger than the training patch, so that zoomed patches, and windows that see more context, are cut from
real voxels. The corners of rotated ones can fall outside the crop and are then 0, which validity tells. Both are
centred on the same point; their edges have the same parity, so that a draw that mirrors at most copies voxels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from maskmatch_med.config import SpatialConfig


@dataclass(frozen=True)
class SpatialDraw:
    """One affine map a sample.

    Args:
        matrix: (B, D, D), offset from the patch's centre in voxels of the patch → offset from the source's centre in
            voxels of the source, both in array-axis order.
    """

    matrix: Tensor

    @classmethod
    def identity(cls, batch: int, dims: int, device: torch.device | str = "cpu") -> SpatialDraw:
        """The map that changes nothing."""
        return cls(torch.eye(dims, device=device).expand(batch, dims, dims))

    def zoomed(self, factors: Sequence[float]) -> SpatialDraw:
        """The map of the window that lies at scale ``factors`` (one an axis): 0.7 sees more, 1.5 sees finer."""
        return SpatialDraw(self.matrix / torch.tensor(factors, device=self.matrix.device, dtype=self.matrix.dtype))


def draw_spatial(
    batch: int, spacing_mm: Sequence[float], mirror_axes: Sequence[int], config: SpatialConfig, generator: Generator
) -> SpatialDraw:
    """Draw mirroring, rotation and zoom for a batch; rotations are rigid in millimetres on anisotropic grids.

    On a grid whose coarsest axis has more than three times the finest spacing, rotation stays within the fine plane
    (Isensee et al. 2021).
    """
    dims = len(spacing_mm)
    spacing = torch.tensor(spacing_mm, dtype=torch.float32)
    matrices = []
    for _ in range(batch):
        matrix = torch.eye(dims)
        if _chance(config.zoom_probability, generator):
            low, high = config.zoom
            matrix = matrix / _uniform(low, high, generator)
        if _chance(config.rotation_probability, generator):
            rotation = _rotation(spacing_mm, config.rotation_degrees, generator)
            matrix = torch.diag(1 / spacing) @ rotation @ torch.diag(spacing) @ matrix
        signs = torch.ones(dims)
        for axis in mirror_axes:
            signs[axis] = -1.0 if _chance(0.5, generator) else 1.0
        matrices.append(matrix @ torch.diag(signs))
    return SpatialDraw(torch.stack(matrices))


def apply_spatial(source: Tensor, draw: SpatialDraw, patch_vox: Sequence[int], *, nearest: bool = False) -> Tensor:
    """Cut the drawn view out of a source crop.

    Args:
        source: (B, C, *source_vox) float.
        draw: the map of each sample.
        patch_vox: the view's voxels along each axis.
        nearest: for labels and masks; otherwise linear interpolation.

    Returns:
        (B, C, *patch_vox); 0 outside the source.
    """
    spare = [n - p for n, p in zip(source.shape[2:], patch_vox, strict=True)]
    centred = all(n >= 0 and n % 2 == 0 for n in spare)
    copied = [_mirrored(matrix) if centred else None for matrix in draw.matrix.cpu()]
    turned = [item for item, axes in enumerate(copied) if axes is None]
    if len(turned) == len(source):
        return _sampled(source, draw.matrix, patch_vox, nearest)
    view = source.new_empty(*source.shape[:2], *patch_vox)
    inner = (slice(None), *(slice(n // 2, n // 2 + p) for n, p in zip(spare, patch_vox, strict=True)))
    for item, axes in enumerate(copied):
        if axes is not None:
            view[item] = source[item][inner].flip(axes)
    if turned:
        view[turned] = _sampled(source[turned], draw.matrix[turned], patch_vox, nearest).to(view)
    return view


def _mirrored(matrix: Tensor) -> list[int] | None:
    """The axes of (C, *spatial) that a map mirrors; None where it does anything else."""
    signs = matrix.diagonal()
    if not torch.equal(matrix, torch.diag(signs)) or not bool((signs.abs() == 1).all()):
        return None
    return [axis + 1 for axis, sign in enumerate(signs.tolist()) if sign < 0]


def _sampled(source: Tensor, matrix: Tensor, patch_vox: Sequence[int], nearest: bool) -> Tensor:
    dims = len(patch_vox)
    device = source.device
    axes = [torch.arange(n, device=device, dtype=torch.float32) - (n - 1) / 2 for n in patch_vox]
    offsets = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, dims)
    with torch.autocast(device.type, enabled=False):  # half precision would round places to half a voxel
        points = offsets @ matrix.to(device).transpose(1, 2)
    size = torch.tensor(source.shape[2:], device=device, dtype=torch.float32)
    grid = (points * 2 / size).flip(-1).reshape(len(source), *patch_vox, dims)
    mode = "nearest" if nearest else "bilinear"
    return functional.grid_sample(source, grid.to(source.dtype), mode=mode, padding_mode="zeros", align_corners=False)


def source_shape(patch_vox: Sequence[int], widest: float) -> tuple[int, ...]:
    """Edges of the source crop that holds a patch ``widest`` times as large, with the patch's parity."""
    return tuple(p + 2 * math.ceil(p * max(widest - 1, 0) / 2) for p in patch_vox)


def _rotation(spacing_mm: Sequence[float], degrees: float, generator: Generator) -> Tensor:
    dims = len(spacing_mm)
    rotation = torch.eye(dims)
    for first in range(dims):
        for second in range(first + 1, dims):
            others = [spacing_mm[first], spacing_mm[second]]
            if max(others) > 3 * min(spacing_mm):
                continue
            angle = math.radians(_uniform(-degrees, degrees, generator))
            plane = torch.eye(dims)
            plane[first, first] = plane[second, second] = math.cos(angle)
            plane[first, second], plane[second, first] = -math.sin(angle), math.sin(angle)
            rotation = rotation @ plane
    return rotation


def _chance(probability: float, generator: Generator) -> bool:
    return bool(torch.rand((), generator=generator) < probability)


def _uniform(low: float, high: float, generator: Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))
