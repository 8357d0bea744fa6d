from __future__ import annotations

import math
import subprocess
import sys
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import correlate, zoom
from torch import Tensor, nn

from maskmatch_med.data.preprocess import preprocess
from maskmatch_med.errors import InputError
from maskmatch_med.inference import Prediction, PredictOptions, Predictor, keep_largest_component
from maskmatch_med.planning.plan import ChannelNormalisation, NetworkPlan, Plan
from maskmatch_med.volume import Geometry, Volume

Doubles = NDArray[np.float64]


def make_plan(spacing: tuple[float, ...], patch: tuple[int, ...], **changes: Any) -> Plan:
    dims = len(spacing)
    values: dict[str, Any] = {
        "spatial_dims": dims,
        "channel_names": ("MR",),
        "label_names": {"background": 0, "a": 1, "b": 2},
        "spacing_mm": spacing,
        "patch_vox": patch,
        "batch_size": 2,
        "normalisation": (ChannelNormalisation(scheme="zscore"),),
        "network": NetworkPlan(
            features=(4, 8, 8), kernels=((3,) * dims,) * 3, strides=((1,) * dims, (2,) * dims, (1,) * dims)
        ),
        "mirror_axes": tuple(range(dims)),
        "median_shape_vox": patch,
    }
    return Plan(**(values | changes))


def make_volume(shape: tuple[int, int, int], spacing: tuple[float, ...] = (1.0, 1.0, 1.0), seed: int = 0) -> Volume:
    """A smooth random scan."""
    noise = np.random.default_rng(seed).normal(size=shape)
    for axis in range(3):
        noise = correlate(noise, np.ones([3 if axis == other else 1 for other in range(3)]), mode="nearest")
    return Volume(noise[None].astype(np.float32), Geometry(shape, np.diag([*spacing, 1.0])))


class Thresholds(nn.Module):
    """Voxelwise: class 0 below -0.5, class 2 above 0.5, class 1 between, with soft edges."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([-3 * x, 1.5 - x * x, 3 * x], dim=1)


class Convolution(nn.Module):
    """One 3-wide convolution with an asymmetric kernel for each of three classes; zero padding."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        kind = nn.Conv3d if dims == 3 else nn.Conv2d
        self.layer = kind(1, 3, 3, padding=1, bias=True)
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for parameter in self.layer.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out


def softmax(logits: Doubles) -> Doubles:
    powers: Doubles = np.exp(logits - logits.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0))


def entropy_of(p: Doubles) -> Doubles:
    return np.asarray(-(p * np.log(np.maximum(p, 1e-300))).sum(axis=0))


def resized(image: Doubles, shape: tuple[int, ...], order: int) -> Doubles:
    if image.shape == shape:
        return image
    return np.asarray(zoom(image, np.divide(shape, image.shape), order=order, mode="nearest", grid_mode=True))


def naive_logits(image: Doubles, network: Convolution, patch: tuple[int, ...], starts: list[list[int]]) -> Doubles:
    """Windows, each convolved on its own with SciPy, averaged with a Gaussian: loops only."""
    weights = network.layer.weight.detach().double().numpy()
    bias = network.layer.bias.detach().double().numpy() if network.layer.bias is not None else np.zeros(3)
    profiles = [np.exp(-0.5 * ((np.arange(p) - (p - 1) / 2) / (p / 8)) ** 2) for p in patch]
    gauss = np.ones(patch)
    for axis, profile in enumerate(profiles):
        gauss = gauss * np.expand_dims(profile, [other for other in range(len(patch)) if other != axis])
    gauss = np.maximum(gauss / gauss.max(), 1e-3)
    total, count = np.zeros((3, *image.shape)), np.zeros(image.shape)
    for corner in product(*starts):
        window = tuple(slice(c, c + p) for c, p in zip(corner, patch, strict=True))
        for k in range(3):
            total[(k, *window)] += gauss * (
                correlate(image[window], weights[k, 0], mode="constant", cval=0.0) + bias[k]
            )
        count[window] += gauss
    return np.asarray(total / count)


def test_several_scales_against_a_naive_implementation() -> None:
    """Spacing changes, windows overlap, three scales: everything from SciPy in double precision and loops."""
    plan = make_plan((1.0, 1.0, 1.0), (12, 12, 12))
    volume = make_volume((20, 22, 18), (0.9, 1.0, 1.2))
    network = Convolution(3)
    options = PredictOptions(scales=(0.7, 1.0, 1.5), probabilities=True, uncertainty=True)
    found = Predictor(network, plan, options).predict(volume)

    image = volume.array[0].astype(np.float64)
    image = np.clip(image, *np.percentile(image, (0.05, 99.95)))
    image = (image - image.mean()) / image.std()
    shapes = {0.7: (13, 15, 15), 1.0: (18, 22, 22), 1.5: (27, 33, 32)}
    starts = {  # half of a window's edge is shared at scale 1, three sixteenths at the others
        0.7: [[0, 1], [0, 3], [0, 3]],
        1.0: [[0, 6], [0, 5, 10], [0, 5, 10]],
        1.5: [[0, 8, 15], [0, 7, 14, 21], [0, 7, 13, 20]],
    }
    members = []
    for scale, shape in shapes.items():
        logits = naive_logits(resized(image, shape, 3), network, plan.patch_vox, starts[scale])
        members.append(np.stack([resized(p, (20, 22, 18), 1) for p in softmax(logits)]))
    mean = np.mean(members, axis=0)
    assert found.probabilities is not None
    assert found.uncertainty is not None
    np.testing.assert_allclose(found.probabilities, mean, atol=2e-4)
    clear = np.sort(mean, axis=0)[-1] - np.sort(mean, axis=0)[-2] > 1e-3
    np.testing.assert_array_equal(found.labels[clear], mean.argmax(axis=0)[clear])
    mutual = (entropy_of(mean) - np.mean([entropy_of(p) for p in members], axis=0)) / math.log(3)
    np.testing.assert_allclose(found.uncertainty, mutual, atol=5e-4)
    assert found.uncertainty.min() >= 0
    assert 0.05 < found.uncertainty.max() <= 1


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("shape", [(7, 5, 6), (8, 8, 8), (21, 8, 13), (30, 5, 9)])
def test_voxelwise_network_needs_no_windows(shape: tuple[int, int, int], overlap: float) -> None:
    """Windows, padding and stitching must leave no trace when every voxel is judged by itself."""
    plan = make_plan((1.0, 1.0, 1.0), (8, 8, 8))
    volume = make_volume(shape)
    for importance in ("gaussian", "uniform"):
        options = PredictOptions(overlap=overlap, probabilities=True, importance=importance)
        found = Predictor(Thresholds(), plan, options).predict(volume)
        direct = Thresholds()(torch.from_numpy(preprocess(volume, plan).image)[None])[0]
        assert found.probabilities is not None
        np.testing.assert_allclose(found.probabilities, direct.softmax(0).numpy(), atol=1e-5)
        assert found.labels.dtype == np.uint8


def test_two_dimensions_and_padding() -> None:
    plan = make_plan((1.0, 1.0), (16, 16))
    volume = make_volume((37, 11, 1))
    found = Predictor(Convolution(2), plan, PredictOptions(probabilities=True, overlap=0.25)).predict(volume)
    image = preprocess(volume, plan).image[0].astype(np.float64)
    padded = np.pad(image, ((0, 0), (2, 3)))
    logits = naive_logits(padded, Convolution(2), (16, 16), [[0, 10, 21], [0]])[:, :, 2:13]
    assert found.probabilities is not None
    assert found.labels.shape == (37, 11, 1)
    np.testing.assert_allclose(found.probabilities[..., 0], softmax(logits), atol=1e-4)


def test_two_dimensions_at_another_spacing_and_several_scales() -> None:
    plan = make_plan((1.0, 1.0), (8, 8))
    volume = make_volume((30, 24, 1), (0.8, 1.3, 5.0))
    found = Predictor(Thresholds(), plan, PredictOptions(scales=(1.0, 1.5), probabilities=True)).predict(volume)
    image = preprocess(volume, make_plan((0.8, 1.3), (8, 8))).image[0].astype(np.float64)
    members = []
    for shape in ((24, 31), (36, 47)):
        x = resized(image, shape, 3)
        probabilities = softmax(np.stack([-3 * x, 1.5 - x * x, 3 * x]))
        members.append(np.stack([resized(p, (30, 24), 1) for p in probabilities]))
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities[..., 0], np.mean(members, axis=0), atol=2e-4)


def test_thin_axes_are_left_alone_by_scales() -> None:
    plan = make_plan((1.0, 1.0, 4.0), (8, 8, 4))
    volume = make_volume((12, 12, 6), (1.0, 1.0, 4.0))
    predictor, grid = Predictor(Thresholds(), plan), preprocess(volume, plan).grid
    assert predictor.scale_grid(grid.spacing_mm, grid.shape, 1.5).shape == (18, 18, 6)
    assert predictor.scale_grid(grid.spacing_mm, grid.shape, 1.0).shape == (12, 12, 6)
    assert predictor.scale_grid(grid.spacing_mm, grid.shape, 1.5, row_axis=2).shape == (6, 18, 18)


def test_constant_outputs_stay_constant_to_the_borders() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tensor([0.1, 0.7, 0.2]).reshape(1, 3, 1, 1, 1).expand(x.shape[0], 3, *x.shape[2:])

    plan = make_plan((1.3, 1.3, 1.3), (8, 8, 8))
    options = PredictOptions(scales=(0.7, 1.0, 1.5), mirror=True, uncertainty=True, probabilities=True)
    found = Predictor(Constant(), plan, options).predict(make_volume((19, 5, 11), (1.0, 0.7, 2.0)))
    expected = torch.tensor([0.1, 0.7, 0.2]).softmax(0).numpy()
    assert found.probabilities is not None
    assert found.uncertainty is not None
    np.testing.assert_allclose(found.probabilities, expected[:, None, None, None] * np.ones((19, 5, 11)), atol=1e-5)
    np.testing.assert_allclose(found.uncertainty, 0, atol=1e-5)


def turned(volume: Volume, order: tuple[int, ...], flips: tuple[bool, ...]) -> Volume:
    """The same scan with axes permuted and reversed, its affine turned by this function's own arithmetic."""
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    shape = [volume.geometry.shape[axis] for axis in order]
    for new, old in enumerate(order):
        turn[old, new] = -1 if flips[new] else 1
        turn[old, 3] = shape[new] - 1 if flips[new] else 0
    array = turned_array(volume.array, order, flips)
    return Volume(array, Geometry((shape[0], shape[1], shape[2]), volume.geometry.affine @ turn))


def turned_array(array: NDArray[Any], order: tuple[int, ...], flips: tuple[bool, ...]) -> NDArray[Any]:
    lead = array.ndim - 3
    moved = array.transpose(*range(lead), *[lead + axis for axis in order])
    return np.ascontiguousarray(moved[(..., *[slice(None, None, -1 if flip else 1) for flip in flips])])


@pytest.mark.parametrize("network", [Thresholds(), Convolution(3)], ids=["thresholds", "convolution"])
def test_every_orientation_predicts_the_same_world(network: nn.Module) -> None:
    plan = make_plan((1.1, 1.1, 1.1), (8, 8, 8))
    volume = make_volume((9, 13, 7), (1.0, 0.8, 1.3))
    options = PredictOptions(scales=(1.0, 1.5), uncertainty=True)
    predictor = Predictor(network, plan, options)
    expected = predictor.predict(volume)
    assert len(np.unique(expected.labels)) == 3
    assert expected.uncertainty is not None
    for order, flips in product(permutations(range(3)), product([False, True], repeat=3)):
        found = predictor.predict(turned(volume, order, flips))
        np.testing.assert_array_equal(found.labels, turned_array(expected.labels, order, flips))
        assert found.uncertainty is not None
        np.testing.assert_array_equal(found.uncertainty, turned_array(expected.uncertainty, order, flips))


def mirror_members(volume: Volume, plan: Plan, network: nn.Module) -> Doubles:
    """(members, K, X, Y, Z) logits of a scan of exactly one patch, mirrored by NumPy."""
    image = preprocess(volume, plan).image
    members = []
    for count in product([False, True], repeat=3):
        axes = tuple(1 + axis for axis in range(3) if count[axis])
        with torch.no_grad():
            out = network(torch.from_numpy(np.flip(image, axes).copy())[None])[0].numpy()
        members.append(np.flip(out, axes).astype(np.float64))
    return np.stack(members)


def test_mirroring_averages_logits_and_measures_disagreement() -> None:
    plan = make_plan((1.0, 1.0, 1.0), (8, 8, 8))
    volume, network = make_volume((8, 8, 8)), Convolution(3)
    options = PredictOptions(mirror=True, probabilities=True, uncertainty=True)
    found = Predictor(network, plan, options).predict(volume)
    members = mirror_members(volume, plan, network)
    assert found.probabilities is not None
    assert found.uncertainty is not None
    np.testing.assert_allclose(found.probabilities, softmax(members.mean(axis=0)), atol=1e-4)
    each = np.stack([softmax(member) for member in members])
    mutual = entropy_of(each.mean(axis=0)) - np.mean([entropy_of(p) for p in each], axis=0)
    np.testing.assert_allclose(found.uncertainty, mutual / math.log(3), atol=1e-4)
    partly = Predictor(network, plan.model_copy(update={"mirror_axes": (2,)}), options)
    assert partly.flips == [(), (2,)]


def test_one_member_gives_its_entropy() -> None:
    plan = make_plan((1.0, 1.0, 1.0), (8, 8, 8))
    found = Predictor(Thresholds(), plan, PredictOptions(uncertainty=True, probabilities=True)).predict(
        make_volume((9, 8, 10))
    )
    assert found.probabilities is not None
    assert found.uncertainty is not None
    expected = entropy_of(found.probabilities.astype(np.float64)) / math.log(3)
    np.testing.assert_allclose(found.uncertainty, expected, atol=1e-5)


def test_labels_do_not_depend_on_what_else_is_asked() -> None:
    plan = make_plan((1.2, 1.2, 1.2), (8, 8, 8))
    volume = make_volume((15, 12, 10))
    plain = Predictor(Convolution(3), plan, PredictOptions(mirror=True)).predict(volume)
    assert (plain.probabilities, plain.uncertainty) == (None, None)
    options = PredictOptions(mirror=True, uncertainty=True, probabilities=True, windows_per_forward=5)
    full = Predictor(Convolution(3), plan, options).predict(volume)
    np.testing.assert_array_equal(plain.labels, full.labels)


def test_slabs_leave_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan((1.2, 1.2, 1.2), (8, 8, 8))
    volume = make_volume((25, 12, 10))
    options = PredictOptions(scales=(1.0, 1.5), uncertainty=True, probabilities=True, mirror=True)

    def predicted() -> Prediction:
        return Predictor(Convolution(3), plan, options).predict(volume)

    whole = predicted()
    monkeypatch.setattr("maskmatch_med.inference.predictor._SLAB_NUMBERS", 1500)
    slabs = predicted()
    np.testing.assert_array_equal(whole.labels, slabs.labels)
    assert whole.probabilities is not None
    assert slabs.probabilities is not None
    np.testing.assert_allclose(whole.probabilities, slabs.probabilities, atol=1e-6)


def test_bad_options_and_networks_are_refused() -> None:
    for wrong in (
        {"scales": ()},
        {"scales": (1.0, 0.0)},
        {"scales": (1.0, 1.0)},
        {"overlap": 1.0},
        {"importance": "round"},
        {"windows_per_forward": 0},
    ):
        with pytest.raises(InputError):
            PredictOptions(**wrong)  # type: ignore[arg-type]
    plan = make_plan((1.0, 1.0, 1.0), (8, 8, 8))
    with pytest.raises(ValueError, match=r"must give logits \(1, 3, 8, 8, 8\), got torch.Size\(\[1, 1, 8, 8, 8\]\)"):
        Predictor(nn.Identity(), plan).predict(make_volume((8, 8, 8)))


@pytest.mark.parametrize(
    ("scales", "overlap", "wanted"),
    [
        ((1.0,), None, [0.5]),
        ((0.7,), None, [0.5]),
        ((0.85, 1.0, 1.2), None, [3 / 16, 0.5, 3 / 16]),
        ((0.7, 1.5), None, [0.5, 3 / 16]),
        ((0.85, 1.0, 1.2), 0.375, [0.375] * 3),
        ((1.0, 1.5), 0.0, [0.0, 0.0]),
    ],
)
def test_scales_beside_the_plans_own_overlap_less(
    scales: tuple[float, ...], overlap: float | None, wanted: list[float]
) -> None:
    options = PredictOptions(scales=scales, overlap=overlap)
    assert [options.overlap_at(scale) for scale in scales] == wanted


@pytest.mark.parametrize(
    ("spacing", "words"),
    [
        ((100.0, 100.0, 100.0), "60,000,000,000 of 1 x 1 x 1 mm, 1,000,000 times"),
        ((1e-3,) * 3, "would become 1 of 1 x"),
    ],
)
def test_a_scan_whose_header_states_another_unit_is_refused(spacing: tuple[float, ...], words: str) -> None:
    predictor = Predictor(Convolution(3), make_plan((1.0, 1.0, 1.0), (16, 16, 16)))
    with pytest.raises(InputError, match=words) as caught:
        predictor.predict(make_volume((50, 40, 30), spacing))
    assert "right size and unit" in str(caught.value)


@pytest.mark.parametrize("spacing", [(5.0, 5.0, 5.0), (0.1, 0.1, 0.1)])
def test_a_scan_much_coarser_or_finer_than_the_plan_is_predicted(spacing: tuple[float, ...]) -> None:
    predictor = Predictor(Thresholds(), make_plan((1.0, 1.0, 1.0), (16, 16, 16)))
    assert predictor.predict(make_volume((12, 10, 30), spacing)).labels.shape == (12, 10, 30)


@pytest.mark.parametrize(
    ("spacing", "options", "wanted"),
    [
        ((1.0, 1.0, 1.0), PredictOptions(), 8),
        ((1.0, 1.0, 1.0), PredictOptions(mirror=True), 64),
        ((1.0, 1.0, 1.0), PredictOptions(scales=(0.8, 1.0), overlap=0.0), 0.8**3 + 1),
        ((1.0, 1.0), PredictOptions(scales=(0.5, 1.0), overlap=0.5, mirror=True), 4 * (1 + 4)),
        ((1.0, 1.0, 5.0), PredictOptions(scales=(0.5, 1.0), overlap=0.5), 2 + 8),
    ],
)
def test_what_a_prediction_costs(spacing: tuple[float, ...], options: PredictOptions, wanted: float) -> None:
    plan = make_plan(spacing, (32,) * len(spacing))
    assert options.passes(plan) == pytest.approx(wanted)


def test_largest_component_by_hand() -> None:
    labels = np.array([[1, 0, 0, 2], [0, 1, 0, 0], [0, 0, 0, 2], [1, 0, 0, 2]], np.uint8)[..., None]
    found = keep_largest_component(labels, [1])
    assert found[..., 0].tolist() == [[1, 0, 0, 2], [0, 1, 0, 0], [0, 0, 0, 2], [0, 0, 0, 2]]
    assert keep_largest_component(labels, [1, 2])[0, 3, 0] == 0
    with pytest.raises(InputError, match="background"):
        keep_largest_component(labels, [0, 1])


_BIG = """
import sys, numpy as np, torch
sys.path.insert(0, {tests!r})
import test_predictor as t
from maskmatch_med.inference import PredictOptions, Predictor
from maskmatch_med.volume import Geometry, Volume
torch.set_num_threads(2)
names = {{"background": 0, "a": 1, "b": 2, "c": 3, "d": 4}}
plan = t.make_plan({spacing!r}, (96, 96, 96), label_names=names)
network = torch.nn.Sequential(
    torch.nn.Conv3d(1, 8, 3, stride=4, padding=1), torch.nn.ReLU(), torch.nn.ConvTranspose3d(8, 5, 4, stride=4)
)
scan = np.random.default_rng(0).standard_normal((1, 512, 512, 300), dtype=np.float32)
volume = Volume(scan, Geometry((512, 512, 300), np.diag([-0.8, -0.8, 1.0, 1.0])))
made = Predictor(network, plan, PredictOptions(overlap=0.25)).predict(volume)
assert made.labels.shape == (512, 512, 300) and made.labels.max() <= 4
status = open("/proc/self/status").read() if sys.platform == "linux" else ""
peak = [line for line in status.splitlines() if line.startswith("VmHWM")]
print(int(peak[0].split()[1]) / 2**20 if peak else 0.0)
"""


@pytest.mark.proof
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize("spacing", [(0.8, 0.8, 1.0), (1.2, 1.2, 1.2), (0.75, 0.75, 0.9)])
def test_a_large_scan_stays_inside_six_gib(spacing: tuple[float, ...]) -> None:
    """512 x 512 x 300 voxels, five classes, one scale: on its own grid, a coarser one, and a finer one."""
    script = _BIG.format(tests=str(Path(__file__).parent), spacing=spacing)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    peak_gib = float(done.stdout.strip().splitlines()[-1])
    print(f"spacing {spacing}: peak {peak_gib:.2f} GiB")
    assert 1 < peak_gib < 6 * 1e9 / 2**30
