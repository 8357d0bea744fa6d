"""What the model card states of the scans and their intensities."""

from __future__ import annotations

from typing import Any

from maskmatch_med.config import TrainConfig
from maskmatch_med.planning.plan import ChannelNormalisation, NetworkPlan, Plan
from maskmatch_med.training.card import model_card

PLAN = Plan(
    spatial_dims=3,
    channel_names=("CT", "PET"),
    label_names={"background": 0, "organ": 1},
    spacing_mm=(0.7, 0.7, 3.0),
    patch_vox=(16, 16, 16),
    batch_size=2,
    normalisation=(
        ChannelNormalisation(scheme="ct", mean=60, std=30, low=-50, high=180),
        ChannelNormalisation(scheme="zscore"),
    ),
    network=NetworkPlan(
        features=(4, 8, 8), kernels=((3, 3, 3),) * 3, strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)), deep_supervision=False
    ),
    median_shape_vox=(200, 210, 40),
    foreground_extent_vox=(50, 60, 20),
)


def card(**scans: Any) -> str:
    counts = {"labelled": 4, "partial": 1, "unlabelled": 9, "validation": 0}
    values = {"seconds": 60.0, "iterations": 7, "device": "cpu", "finished": True, "validation": None}
    return model_card("m", PLAN, TrainConfig(), {**values, "data": counts, "scans": scans})


def test_the_card_states_spacing_shape_and_intensities():
    text = card()
    assert "resampled to 0.7 × 0.7 × 3 mm" in text
    assert "median shape 200 × 210 × 40 voxels" in text
    assert "labelled structures span 50 × 60 × 20" in text
    assert "CT clipped to -50 … 180, mean 60, standard deviation 30; PET: each scan to mean 0" in text
    assert " from " not in text.split("Scans:")[1].splitlines()[0]


def test_pictures_are_counted_in_pixels():
    kernels, strides = ((3, 3),) * 3, ((1, 1), (2, 2), (2, 2))
    network = PLAN.network.model_copy(update={"kernels": kernels, "strides": strides})
    flat = {
        "spatial_dims": 2,
        "pictures": True,
        "spacing_mm": (1.0, 1.0),
        "patch_vox": (32, 32),
        "median_shape_vox": (256, 320),
    }
    plan = PLAN.model_copy(update={"network": network, "foreground_extent_vox": (20, 20), **flat})
    counts = {"labelled": 4, "partial": 1, "unlabelled": 9, "validation": 0}
    values = {"seconds": 60.0, "iterations": 7, "device": "cpu", "finished": True, "validation": None, "data": counts}
    text = model_card("m", plan, TrainConfig(), values)
    assert "resampled to 1 × 1 px" in text
    assert "median shape 256 × 320 pixels" in text
    assert not {"mm", "voxels"} & set(text.replace(";", " ").split())


def test_the_card_states_the_ranges_that_a_run_recorded():
    ranges = {
        "spacing_mm": {"least": [0.5, 0.5, 1], "greatest": [0.9, 0.9, 5]},
        "shape_vox": {"least": [100, 110, 20], "greatest": [512, 512, 90]},
    }
    text = card(**ranges)
    assert (
        "; spacing from 0.5 × 0.5 × 1 to 0.9 × 0.9 × 5 mm; shape from 100 × 110 × 20 to 512 × 512 × 90 voxels" in text
    )
