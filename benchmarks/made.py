"""What the speed benchmarks work on: a plan, a network and a scan that need no data and no training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from maskmatch_med.nets import ModelFolder, build_network, save_weights
from maskmatch_med.planning.plan import ChannelNormalisation, NetworkPlan, Plan
from maskmatch_med.volume import Geometry, Volume


def plan_of(patch: tuple[int, int, int] = (48, 48, 48), classes: int = 3) -> Plan:
    """A 3D plan of the size that a processor is given."""
    return Plan(
        spatial_dims=3,
        channel_names=("MR",),
        label_names={"background": 0} | {f"structure {k}": k for k in range(1, classes)},
        spacing_mm=(1.0, 1.0, 1.0),
        patch_vox=patch,
        batch_size=2,
        normalisation=(ChannelNormalisation(scheme="zscore"),),
        network=NetworkPlan(
            features=(16, 32, 64, 128), kernels=((3, 3, 3),) * 4, strides=((1, 1, 1), *((2, 2, 2),) * 3)
        ),
        mirror_axes=(0, 1, 2),
        median_shape_vox=patch,
    )


def network_of(plan: Plan) -> nn.Module:
    """MONAI's network with drawn weights, as it is, in evaluation mode."""
    torch.manual_seed(0)
    return build_network(plan, channels_last=False).eval()


def scan_of(shape: tuple[int, int, int]) -> Volume:
    """Smooth noise of 1 mm spacing."""
    noise = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    return Volume(gaussian_filter(noise, 2.0)[None], Geometry(shape, np.diag([-1.0, -1.0, 1.0, 1.0])))


def model_of(plan: Plan, root: Path) -> ModelFolder:
    """A model folder with the plan and drawn weights."""
    root.mkdir(parents=True, exist_ok=True)
    folder = ModelFolder(root)
    plan.save(folder.plan_path)
    save_weights(network_of(plan), folder.weights_path)
    return folder
