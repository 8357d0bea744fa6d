from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.networks.nets import DynUNet
from torch.utils.flop_counter import FlopCounterMode

from maskmatch_med.errors import InputError
from maskmatch_med.io.labels import LabelMap
from maskmatch_med.planning import Fingerprint, Plan, describe, fingerprint, make_plan, override
from maskmatch_med.planning.fingerprint import ChannelStatistics, ScanFingerprint, is_ct
from maskmatch_med.planning.heuristics import isotropic_patch, mirror_axes, target_spacing
from maskmatch_med.planning.topology import forward_flops, make_network
from maskmatch_med.volume import Geometry, Volume


def study_of(shape: tuple[int, int, int], spacing: tuple[float, float, float], **changes: Any) -> Fingerprint:
    values: dict[str, Any] = {
        "channel_names": ("MRI",),
        "label_names": {"background": 0, "organ": 1},
        "labelled": 4,
        "unlabelled": 2,
        "pictures": False,
        "scans": (ScanFingerprint(shape_vox=shape, spacing_mm=spacing),) * 6,
    }
    return Fingerprint(**(values | changes))


HIPPOCAMPUS = study_of((35, 51, 36), (1.0, 1.0, 1.0))
ANISOTROPIC_CT = study_of(
    (512, 512, 100),
    (0.7, 0.7, 5.0),
    channel_names=("CT",),
    scans=tuple(
        ScanFingerprint(shape_vox=(512, 512, 500 // thickness), spacing_mm=(0.7, 0.7, float(thickness)))
        for thickness in (1, 5, 5, 5, 5, 5)
    ),
    foreground=(ChannelStatistics(mean=60.0, std=30.0, percentile_00_5=-50.0, percentile_99_5=180.0),),
    extents_mm=((70.0, 140.0, 50.0), (77.0, 147.0, 55.0), (63.0, 133.0, 45.0)),
)
PICTURES = study_of((256, 320, 1), (1.0, 1.0, 1.0), pictures=True, channel_names=("R", "G", "B"))


def test_hippocampus_on_a_processor_is_small_and_fast() -> None:
    plan = make_plan(HIPPOCAMPUS)
    assert plan.patch_vox == (32, 48, 32)
    assert plan.spacing_mm == (1.0, 1.0, 1.0)
    assert plan.network.features == (16, 32, 64, 128)
    assert plan.network.divisor == (8, 8, 8)
    assert plan.batch_size == 2
    assert plan.normalisation[0].scheme == "zscore"
    assert plan.mirror_axes == (0, 1, 2)
    assert plan.seconds_per_iteration < 0.6 / 1.5
    assert plan.training_memory_gib < 1.5


@pytest.mark.parametrize(("preset", "batch"), [("quick", 2), ("balanced", 4), ("best", 4)])
def test_small_patches_of_many_scans_make_a_larger_batch(preset: Any, batch: int) -> None:
    many = HIPPOCAMPUS.model_copy(update={"scans": HIPPOCAMPUS.scans * (160 // len(HIPPOCAMPUS.scans))})
    assert make_plan(many, preset=preset).batch_size == batch
    assert make_plan(HIPPOCAMPUS, preset=preset).batch_size == 2, "a few scans have no more to show"


def test_left_atrium_and_presets_grow() -> None:
    study = study_of((96, 71, 44), (1.25, 1.25, 1.25))
    balanced = make_plan(study)
    assert balanced.patch_vox == (64, 64, 40)
    costs = [make_plan(study, preset=preset).seconds_per_iteration for preset in ("quick", "balanced", "best")]
    assert costs == sorted(costs)
    assert costs[0] < costs[1] < costs[2]
    gpu = make_plan(study, budget="gpu")
    assert gpu.patch_vox == (96, 80, 48)
    assert gpu.network.features[0] == 32
    assert gpu.network.deep_supervision


def test_anisotropic_ct() -> None:
    plan = make_plan(ANISOTROPIC_CT)
    tenth = np.percentile([1, 5, 5, 5, 5, 5], 10)
    assert plan.spacing_mm == pytest.approx((0.7, 0.7, tenth))
    assert plan.normalisation[0].model_dump() == {
        "scheme": "ct",
        "mean": 60.0,
        "std": 30.0,
        "low": -50.0,
        "high": 180.0,
    }
    assert plan.network.kernels[0] == (3, 3, 1), "a coarse axis starts without convolution along it"
    assert plan.network.kernels[-1] == (3, 3, 3)
    assert plan.network.strides[1] == (2, 2, 1)
    edges_mm = np.multiply(plan.patch_vox, plan.spacing_mm)
    assert edges_mm.max() / edges_mm.min() < 1.5, "the patch is close to a cube in millimetres"
    assert plan.foreground_extent_vox == (100, 200, round(50 / tenth))
    assert plan.scaled_axes == (True, True, False)
    assert np.prod(plan.patch_vox) <= 64 * 64 * 48


def test_target_spacing_spares_axes_that_are_not_coarse_both_ways() -> None:
    few = np.array([[1.0, 1.0, 5.0], [1.0, 1.0, 2.0], [1.0, 1.0, 5.0]])
    thin, thick = np.array([[200.0, 200, 30]] * 3), np.array([[200.0, 200, 150]] * 3)
    assert target_spacing(few, thick).tolist() == [1, 1, 5]
    assert target_spacing(few, thin)[2] == pytest.approx(np.percentile([5, 2, 5], 10))
    finer = np.array([[1.0, 1.0, 0.2]] * 2 + [[1.0, 1.0, 5.0]] * 3)
    assert target_spacing(finer, np.array([[200.0, 200, 30]] * 5))[2] == 1.0, "never finer than the other axes"


def test_isotropic_patch_fills_what_is_left() -> None:
    patch = isotropic_patch(np.array([200.0, 200.0, 10.0]), np.array([1.0, 1.0, 1.0]), 64_000)
    np.testing.assert_allclose(patch, [80, 80, 10], rtol=1e-6)
    np.testing.assert_allclose(isotropic_patch(np.array([20.0, 9.0]), np.array([1.0, 3.0]), 10**6), [20, 9])


def test_pictures_are_2d_with_three_channels() -> None:
    plan = make_plan(PICTURES)
    assert plan.spatial_dims == 2
    assert plan.median_shape_vox == (256, 320)
    assert plan.patch_vox == (256, 256)
    assert plan.batch_size == 4
    assert len(plan.normalisation) == 3
    assert plan.mirror_axes == (0, 1)


def test_2d_slices_of_any_axis() -> None:
    plan = make_plan(study_of((1, 200, 180), (8.0, 0.9, 0.9), label_names={"background": 0, "left kidney": 1}))
    assert plan.spatial_dims == 2
    assert plan.median_shape_vox == (200, 180)
    assert plan.mirror_axes == (0, 1), "the left-right axis is the one that was dropped"


def test_mirroring_respects_sides() -> None:
    assert mirror_axes({"background": 0, "Left_Kidney": 1}, (0, 1, 2)) == (1, 2)
    assert mirror_axes({"background": 0, "kidney right": 1}, (0, 1, 2)) == (1, 2)
    for name in ("bright cleft", "Vertebra L1", "L5", "lung", "rhinal cortex"):
        assert mirror_axes({"background": 0, name: 1}, (0, 1, 2)) == (0, 1, 2), name
    for name in ("LeftKidney", "kidneyRight", "kidney_L", "lh hippocampus", "Lt. lung", "rib_left7", "R-MCA"):
        assert mirror_axes({"background": 0, name: 1}, (0, 1, 2)) == (1, 2), name
    assert mirror_axes({"background": 0, "Anterior": 1, "Posterior": 2}, (0, 1, 2)) == (0, 2)
    assert mirror_axes({"background": 0, "left lower lobe": 1}, (1, 2)) == (0,)


def test_ct_is_told_by_the_name_only() -> None:
    assert [is_ct(name) for name in ("CT", "ct", "CT venous", "CTA", "SPECT", "MRI", "structure")] == [True] * 3 + [
        False
    ] * 4
    unlabelled = ANISOTROPIC_CT.model_copy(update={"foreground": ()})
    assert make_plan(unlabelled).normalisation[0].scheme == "zscore"


@pytest.mark.parametrize("shape", [(3, 3, 3), (7, 200, 5), (8, 9, 10), (15, 31, 63), (512, 512, 1200), (40, 40, 2)])
@pytest.mark.parametrize("budget", ["cpu", "gpu"])
@pytest.mark.parametrize("preset", ["quick", "balanced", "best"])
def test_every_plan_is_sound(shape: tuple[int, int, int], budget: Any, preset: Any) -> None:
    plan = make_plan(study_of(shape, (0.8, 1.0, 1.7)), budget=budget, preset=preset)
    smallest = [p // d for p, d in zip(plan.patch_vox, plan.network.divisor, strict=True)]
    for size, edge, divisor in zip(shape, smallest, plan.network.divisor, strict=True):
        assert edge >= min(size, 4) or divisor == 1
    assert all(f % 16 == 0 for f in plan.network.features)
    assert len(plan.network.strides) >= 2


@pytest.mark.parametrize(
    ("patch", "spacing"), [((32, 48, 32), (1, 1, 1)), ((64, 64, 8), (1, 1, 4)), ((64, 64), (1, 1))]
)
def test_estimated_operations_are_those_of_the_network(patch: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    plan = make_network(patch, spacing, base=16, cap=64, max_stages=4)
    net = DynUNet(
        len(patch), 2, 3, plan.kernels, plan.strides, plan.strides[1:], filters=plan.features, norm_name="instance"
    )
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(2, 2, *patch))
    assert forward_flops(plan, patch, 2, 2) == pytest.approx(counter.get_total_flops(), rel=0.03)


def test_plan_round_trip_and_unknown_keys(tmp_path: Path) -> None:
    plan = make_plan(ANISOTROPIC_CT)
    path = tmp_path / "plan.json"
    plan.save(path)
    assert Plan.load(path) == plan
    path.write_text(path.read_text().replace('"batch_size"', '"batchsize"'))
    with pytest.raises(InputError, match=r"plan\.json.*(?s:.)*batchsize"):
        Plan.load(path)


def test_overrides_are_checked() -> None:
    plan = make_plan(ANISOTROPIC_CT)
    changed = override(plan, {"batch_size": "3", "normalisation.0.scheme": "zscore", "patch_vox": [64, 64, 16]})
    assert (changed.batch_size, changed.normalisation[0].scheme, changed.patch_vox) == (3, "zscore", (64, 64, 16))
    assert plan.batch_size == 2
    with pytest.raises(InputError, match=r"patch_vox \(33, 64, 16\) must be a multiple of"):
        override(plan, {"patch_vox": [33, 64, 16]})
    with pytest.raises(InputError, match=r"no 'patch'.*known: spatial_dims"):
        override(plan, {"patch": [32, 32, 32]})
    with pytest.raises(InputError, match="known: 0 to 0"):
        override(plan, {"normalisation.1.scheme": "ct"})
    with pytest.raises(InputError, match="nothing below it"):
        override(plan, {"batch_size.x": 1})


IMPOSSIBLE: dict[str, Any] = {
    "spacing 0": ("spacing_mm", [0, 1, 1]),
    "negative spacing": ("spacing_mm", [1, -1, 1]),
    "spacing that is no number": ("spacing_mm", [1, 1, float("nan")]),
    "endless spacing": ("spacing_mm", [1, 1, float("inf")]),
    "two spacings": ("spacing_mm", [1, 1]),
    "no such axis": ("mirror_axes", [5]),
    "negative axis": ("mirror_axes", [-1]),
    "an axis twice": ("mirror_axes", [0, 0]),
    "empty patch": ("patch_vox", [0, 64, 16]),
    "one voxel in the deepest stage": ("patch_vox", [16, 16, 4]),
    "kernels of another dimension": ("network.kernels", [[3, 3]] * 5),
    "one kernel of another dimension": ("network.kernels.1", [3, 3]),
    "even kernel": ("network.kernels.1", [3, 3, 2]),
    "kernel 0": ("network.kernels.1", [3, 3, 0]),
    "strides of another dimension": ("network.strides", [[1, 1]] + [[2, 2]] * 4),
    "one stride of another dimension": ("network.strides.1", [2, 2]),
    "stride 0": ("network.strides.1", [2, 2, 0]),
    "stride past the kernel": ("network.strides.1", [8, 2, 2]),
    "first stride": ("network.strides.0", [2, 2, 2]),
    "features 0": ("network.features", [16, 32, 0, 128, 128]),
    "no label": ("label_names", {}),
    "label 0 missing": ("label_names", {"organ": 1}),
    "no channel": ("channel_names", []),
    "median shape 0": ("median_shape_vox", [0, 1, 1]),
    "extent of two axes": ("foreground_extent_vox", [4, 4]),
    "endless mean": ("normalisation.0.mean", float("inf")),
    "low above high": ("normalisation.0.low", 1e6),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_impossible_values_are_refused_from_file_and_override(name: str, tmp_path: Path) -> None:
    plan = make_plan(ANISOTROPIC_CT)
    assert (plan.network.divisor, len(plan.network.features)) == ((16, 16, 4), 5)
    key, value = IMPOSSIBLE[name]
    with pytest.raises(InputError, match=key.split(".", maxsplit=1)[0]):
        override(plan, {key: value})
    values: Any = plan.model_dump(mode="json")
    *places, last = (int(part) if part.isdigit() else part for part in key.split("."))
    inner = values
    for place in places:
        inner = inner[place]
    inner[last] = value
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=r"plan\.json"):
        Plan.load(path)


def test_pixels_are_the_unit_of_pictures_alone() -> None:
    assert dict(describe(make_plan(PICTURES)))["Target spacing"].endswith(" px")
    slices = study_of((256, 320, 1), (1.0, 1.0, 1.0))
    assert dict(describe(make_plan(slices)))["Target spacing"].endswith(" mm")


def test_description_names_what_matters() -> None:
    rows = dict(describe(make_plan(ANISOTROPIC_CT)))
    assert rows["Channels"] == "CT: CT, clipped to -50 … 180, mean 60, std 30"
    assert rows["Target spacing"].startswith("0.7 × 0.7 × ")


def test_bad_budget_is_refused() -> None:
    with pytest.raises(InputError, match="budget 'tpu'"):
        make_plan(HIPPOCAMPUS, budget="tpu")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cannot plan 0 scans"):
        make_plan(HIPPOCAMPUS.model_copy(update={"scans": ()}))


@dataclass(frozen=True)
class FakeCase:
    image_paths: tuple[Path, ...]
    volume: Volume
    label: LabelMap | None = None
    is_raster: bool = False

    @property
    def judged(self) -> str:
        return "none" if self.label is None else "complete"

    def read_image(self) -> Volume:
        assert self.label is not None, "the data of an unlabelled scan must not be read"
        return self.volume

    def read_label(self) -> LabelMap | None:
        return self.label


@dataclass(frozen=True)
class FakeStudy:
    listed: list[FakeCase]
    root: Path = Path("somewhere")
    channel_names: tuple[str, ...] = ("CT",)
    label_names: dict[str, int] = field(default_factory=lambda: {"background": 0, "a": 1, "b": 2})

    def cases(self) -> list[FakeCase]:
        return self.listed


def test_fingerprint_measures_all_headers_and_labelled_intensities(tmp_path: Path) -> None:
    permuted = np.array([[0, 0, 3.0, 0], [-1.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 0, 1.0]])
    geometry = Geometry((6, 7, 8), permuted)
    data = np.arange(6 * 7 * 8, dtype=np.float32).reshape(6, 7, 8)
    data[0, 0, 0] = np.nan
    labels = np.zeros((6, 7, 8), np.uint8)
    labels[0:2, 0:3, 0:4], labels[2] = 1, 255
    labels[1, 1, 1] = 2
    nibabel.save(nibabel.Nifti1Image(data, permuted), tmp_path / "a.nii.gz")
    nibabel.save(nibabel.Nifti1Image(data[:5], np.eye(4)), tmp_path / "b.nii.gz")
    volume = Volume(data[None], geometry)
    study = FakeStudy(
        [
            FakeCase((tmp_path / "a.nii.gz",), volume, LabelMap(labels, geometry)),
            FakeCase((tmp_path / "b.nii.gz",), volume),
        ]
    )
    found = fingerprint(study)  # type: ignore[arg-type]
    assert (found.labelled, found.unlabelled, found.spatial_dims) == (1, 1, 3)
    assert [scan.shape_vox for scan in found.scans] == [(8, 6, 7), (5, 7, 8)]
    assert found.scans[0].spacing_mm == pytest.approx((3.0, 1.0, 2.0))
    assert found.pieces_mm == ()  # the label is not complete
    whole = LabelMap(np.where(labels == 255, 0, labels).astype(np.uint8), geometry)
    complete = fingerprint(FakeStudy([FakeCase((tmp_path / "a.nii.gz",), volume, whole)]))  # type: ignore[arg-type]
    ball, voxel = (math.cbrt(6 * count * 6.0 / math.pi) for count in (23, 1))
    assert complete.pieces_mm == (pytest.approx((ball + voxel) / 2),)
    assert found.extents_mm == (pytest.approx((4 * 3.0, 2 * 1.0, 3 * 2.0)),)
    inside = data[0:2, 0:3, 0:4].ravel()[1:].astype(np.float64)
    assert found.foreground[0].mean == pytest.approx(inside.mean())
    assert found.foreground[0].std == pytest.approx(inside.std())
    assert found.foreground[0].percentile_99_5 == pytest.approx(np.percentile(inside, 99.5))
    text = found.model_dump_json()
    assert Fingerprint.model_validate_json(text) == found
    assert "nii" not in text
    assert str(tmp_path) not in text
    with pytest.raises(InputError, match="has no images"):
        fingerprint(FakeStudy([]))  # type: ignore[arg-type]
