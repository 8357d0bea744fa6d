"""A plan, networks and batches small enough to step through in milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from maskmatch_med.methods import Batch
from maskmatch_med.nets import build_network
from maskmatch_med.planning.plan import ChannelNormalisation, NetworkPlan, Plan

torch.set_num_threads(1)
"""Networks this small are ten times slower on two threads than on one."""


def build_plan(dims: int, **changes: Any) -> Plan:
    network = NetworkPlan(
        features=(4, 6, 8),
        kernels=((3,) * dims,) * 3,
        strides=((1,) * dims, (2,) * dims, (2,) * dims),
        deep_supervision=changes.pop("deep_supervision", False),
    )
    values: dict[str, Any] = {
        "spatial_dims": dims,
        "channel_names": ("MR",),
        "label_names": {"background": 0, "organ": 1, "lesion": 2},
        "spacing_mm": (1.0,) * dims,
        "patch_vox": (16,) * dims,
        "batch_size": 2,
        "normalisation": (ChannelNormalisation(),),
        "network": network,
        "median_shape_vox": (16,) * dims,
    }
    return Plan(**(values | changes))


def build_batch(plan: Plan, source: tuple[int, ...], labelled: int = 2, unlabelled: int = 3, seed: int = 0) -> Batch:
    """Smooth blobs of three intensities, their labels with an unjudged corner, and scans with an edge."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, (labelled, *source))
    image = labels + rng.normal(0, 0.3, labels.shape)
    labels[(slice(None), *[slice(0, n // 2) for n in source])] = 255
    inside = np.ones((unlabelled, 1, *source), bool)
    inside[..., -source[-1] // 3 :] = False
    scans = rng.normal(size=(unlabelled, 1, *source)) * inside
    return Batch(
        labelled=torch.from_numpy(image[:, None].astype(np.float32)),
        labels=torch.from_numpy(labels.astype(np.uint8)),
        unlabelled=torch.from_numpy(scans.astype(np.float32)),
        inside=torch.from_numpy(inside),
        cases=tuple(f"case{i}" for i in range(labelled + unlabelled)),
    )


def build_net(plan: Plan, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_network(plan)


@pytest.fixture
def tiny_plan() -> Callable[..., Plan]:
    return build_plan


@pytest.fixture
def tiny_batch() -> Callable[..., Batch]:
    return build_batch


@pytest.fixture
def tiny_net() -> Callable[..., nn.Module]:
    return build_net
