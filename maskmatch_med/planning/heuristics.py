"""From fingerprint to plan, by nnU-Net's heuristics within a budget of memory and time.

Source: Isensee et al., nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation, Nature
Methods 2021. Ours: the budgets (most of all those for a processor without accelerator), patches that are rounded down
on small budgets, mirroring that respects sides named in the labels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.config import Preset
from maskmatch_med.errors import InputError
from maskmatch_med.planning.fingerprint import Fingerprint, is_ct
from maskmatch_med.planning.plan import ChannelNormalisation, Plan
from maskmatch_med.planning.topology import forward_flops, make_network, seconds_per_iteration, training_memory_gib

Budget = Literal["cpu", "gpu"]
Floats = NDArray[np.float64]

_SIDES = (
    {"left", "right", "l", "r", "lt", "rt", "lh", "rh"},
    {"anterior", "posterior", "ventral", "dorsal"},
    {"superior", "inferior", "upper", "lower", "cranial", "caudal"},
)
_CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])")
_COARSE = 3.0
_COARSE_PERCENTILE = 10
_LARGEST_SHARE = 0.05


@dataclass(frozen=True)
class Allowance:
    """What one training step may cost.

    Args:
        patch_voxels: most voxels of a patch.
        batch: smallest batch; it grows where patches stay small.
        most: largest batch that it grows to.
        base, cap: features of the first stage, and the most of any.
        stages: most resolution stages.
        deep: deep supervision.
        round_up: round the patch up to the network's divisor (else down).
    """

    patch_voxels: int
    batch: int
    base: int
    cap: int
    stages: int
    deep: bool = False
    round_up: bool = False
    most: int = 12


ALLOWANCES: dict[tuple[Budget, int], dict[Preset, Allowance]] = {
    ("cpu", 3): {
        "quick": Allowance(48**3, 2, 16, 64, 4, most=2),
        "balanced": Allowance(64 * 64 * 48, 2, 16, 128, 5, most=4),
        "best": Allowance(80 * 80 * 64, 2, 16, 256, 6, deep=True, round_up=True, most=4),
    },
    ("cpu", 2): {
        "quick": Allowance(192**2, 4, 16, 128, 5, most=4),
        "balanced": Allowance(256**2, 4, 16, 256, 6, most=4),
        "best": Allowance(384**2, 6, 16, 512, 7, deep=True, round_up=True, most=6),
    },
    ("gpu", 3): {
        "quick": Allowance(96**3, 2, 32, 320, 6, deep=True, round_up=True),
        "balanced": Allowance(128**3, 2, 32, 320, 6, deep=True, round_up=True),
        "best": Allowance(160 * 160 * 128, 2, 32, 320, 6, deep=True, round_up=True),
    },
    ("gpu", 2): {
        "quick": Allowance(256**2, 8, 32, 512, 8, deep=True, round_up=True),
        "balanced": Allowance(512**2, 8, 32, 512, 8, deep=True, round_up=True),
        "best": Allowance(768**2, 8, 32, 512, 8, deep=True, round_up=True),
    },
}


def make_plan(fingerprint: Fingerprint, *, budget: Budget = "cpu", preset: Preset = "balanced") -> Plan:
    """Decide everything about spacing, normalisation, patch and network.

    Raises:
        InputError: the budget or preset is unknown, or the fingerprint has no scans.
    """
    dims = fingerprint.spatial_dims
    if not fingerprint.scans or (budget, dims) not in ALLOWANCES or preset not in ALLOWANCES[budget, dims]:
        raise InputError(
            f"cannot plan {len(fingerprint.scans)} scans for budget {budget!r} and preset {preset!r}: "
            "at least one scan, a budget of cpu or gpu and a preset of quick, balanced or best are needed"
        )
    allowance = ALLOWANCES[budget, dims][preset]
    spacings, shapes, world_axes = _axes_in_use(fingerprint)
    spacing = target_spacing(spacings, shapes)
    median = np.median(shapes * spacings / spacing, axis=0)
    raw_patch = isotropic_patch(median, spacing, allowance.patch_voxels)
    sizes = {"base": allowance.base, "cap": allowance.cap, "max_stages": allowance.stages}
    network = make_network(raw_patch.tolist(), spacing.tolist(), **sizes, deep=allowance.deep)
    patch = _rounded(raw_patch, network.divisor, up=allowance.round_up)
    batch = _batch_size(allowance, math.prod(patch), fingerprint)
    channels = len(fingerprint.channel_names)
    flops = forward_flops(network, patch, channels, batch)
    return Plan(
        spatial_dims=dims,
        channel_names=fingerprint.channel_names,
        label_names=fingerprint.label_names,
        spacing_mm=tuple(spacing.tolist()),
        patch_vox=patch,
        batch_size=batch,
        normalisation=tuple(_normalisation(fingerprint, index) for index in range(channels)),
        network=network,
        mirror_axes=mirror_axes(fingerprint.label_names, world_axes),
        median_shape_vox=tuple(max(1, round(n)) for n in median.tolist()),
        foreground_extent_vox=_extent(fingerprint, spacing),
        piece_mm=round(float(np.median(fingerprint.pieces_mm)), 2) if fingerprint.pieces_mm else 0.0,
        pictures=fingerprint.pictures,
        training_memory_gib=round(training_memory_gib(network, patch, channels, batch), 2),
        seconds_per_iteration=round(seconds_per_iteration(flops, budget), 4),
    )


def target_spacing(spacings_mm: Floats, shapes_vox: Floats) -> Floats:
    """The median spacing; a coarse axis takes its 10th percentile.

    An axis is coarse when its median spacing is more than three times the coarsest of the others and it has less than
    a third of the voxels of the shortest of the others. It is never made finer than the coarsest of the others.

    Args:
        spacings_mm, shapes_vox: (scans, axes).

    Returns:
        (axes,) mm, rounded to 1e-5.
    """
    target = np.median(spacings_mm, axis=0)
    voxels = np.median(shapes_vox, axis=0)
    worst = int(np.argmax(target))
    others = [axis for axis in range(target.size) if axis != worst]
    coarse = target[worst] > _COARSE * target[others].max() and _COARSE * voxels[worst] < voxels[others].min()
    if coarse:
        tenth = np.percentile(spacings_mm[:, worst], _COARSE_PERCENTILE)
        target[worst] = max(tenth, target[others].max())
    return np.round(target, 5)


def isotropic_patch(median_vox: Floats, spacing_mm: Floats, most_voxels: int) -> Floats:
    """The largest patch that is a cube in millimetres where the median scan allows it, and at most the median scan.

    Returns:
        (axes,) voxels, not rounded; their product is at most ``most_voxels``.
    """
    low, high = 0.0, float((median_vox * spacing_mm).max())
    if np.prod(median_vox) <= most_voxels:
        return np.maximum(median_vox, 1.0)
    for _ in range(60):
        edge = (low + high) / 2
        fits = np.prod(np.clip(edge / spacing_mm, 1.0, np.maximum(median_vox, 1.0))) <= most_voxels
        low, high = (edge, high) if fits else (low, edge)
    return np.clip(low / spacing_mm, 1.0, np.maximum(median_vox, 1.0))


def mirror_axes(label_names: Mapping[str, int], world_axes: Sequence[int]) -> tuple[int, ...]:
    """All axes, without those along which a label's name takes a side: a mirrored head of an organ is not its tail.

    Args:
        label_names: names to values.
        world_axes: for each spatial axis the world axis it follows: 0 left-right, 1 posterior-anterior,
            2 inferior-superior.
    """
    spaced = (_CAMEL_CASE.sub(" ", name).lower() for name in label_names)
    words = {word for name in spaced for word in re.split(r"[^a-z0-9]+", name)}
    words |= {word.strip("0123456789") for word in words if len(word) > 3}  # left2, but not the vertebra l2
    return tuple(axis for axis, world in enumerate(world_axes) if not words & _SIDES[world])


def _axes_in_use(fingerprint: Fingerprint) -> tuple[Floats, Floats, list[int]]:
    """(scans, axes) spacings and shapes, and the first scan's axes; in 2D each scan's singleton axis is left out."""
    keeps = [_kept_axes(scan.shape_vox, scan.spacing_mm, fingerprint.spatial_dims) for scan in fingerprint.scans]
    pairs = list(zip(fingerprint.scans, keeps, strict=True))
    spacings = np.array([[scan.spacing_mm[axis] for axis in keep] for scan, keep in pairs], dtype=np.float64)
    shapes = np.array([[scan.shape_vox[axis] for axis in keep] for scan, keep in pairs], dtype=np.float64)
    return spacings, shapes, keeps[0]


def _kept_axes(shape: tuple[int, ...], spacing: tuple[float, ...], dims: int) -> list[int]:
    if dims == 3:
        return [0, 1, 2]
    dropped = max((axis for axis in range(3) if shape[axis] == 1), key=lambda axis: (spacing[axis], axis))
    return [axis for axis in range(3) if axis != dropped]


def _rounded(patch: Floats, divisor: tuple[int, ...], *, up: bool) -> tuple[int, ...]:
    step = math.ceil if up else math.floor
    return tuple(max(1, step(round(n / d, 6))) * d for n, d in zip(patch.tolist(), divisor, strict=True))


def _batch_size(allowance: Allowance, patch_voxels: int, fingerprint: Fingerprint) -> int:
    """The allowance's batch, or as often that as patches fit into its voxels, up to 5 % of all and the most it allows.

    [ours] Four small patches taught more than two in as many steps, and in as much time (docs/results.md). In the few
    minutes of ``quick`` that was not tried, and steps count.
    """
    by_memory = allowance.batch * (allowance.patch_voxels // patch_voxels)
    by_data = round(_LARGEST_SHARE * fingerprint.voxels / patch_voxels)
    return max(allowance.batch, min(by_memory, by_data, allowance.most))


def _normalisation(fingerprint: Fingerprint, index: int) -> ChannelNormalisation:
    """Global CT statistics from the labelled foreground; z-score for all else, and for CT that has no label yet."""
    if not is_ct(fingerprint.channel_names[index]) or not fingerprint.foreground:
        return ChannelNormalisation(scheme="zscore")
    found = fingerprint.foreground[index]
    return ChannelNormalisation(
        scheme="ct",
        mean=round(found.mean, 4),
        std=round(max(found.std, 1e-3), 4),
        low=round(found.percentile_00_5, 4),
        high=round(found.percentile_99_5, 4),
    )


def _extent(fingerprint: Fingerprint, spacing: Floats) -> tuple[int, ...]:
    """Median bounding box of the labelled structures in voxels; empty without labels."""
    if not fingerprint.extents_mm:
        return ()
    first = fingerprint.scans[0]
    keep = _kept_axes(first.shape_vox, first.spacing_mm, fingerprint.spatial_dims)
    median = np.median(np.array(fingerprint.extents_mm), axis=0)[keep]
    return tuple(max(1, round(n)) for n in (median / spacing).tolist())
