"""Networks from a plan: kernels and strides as planned, weights that come back, items that do not mix."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from maskmatch_med.errors import StudyError
from maskmatch_med.nets import build_network, heads, load_weights, save_weights
from maskmatch_med.planning.plan import ChannelNormalisation, NetworkPlan, Plan


def make_plan(dims: int, channels: int = 1, **network: Any) -> Plan:
    values: dict[str, Any] = {
        "features": (4, 6, 8),
        "kernels": ((3,) * dims,) * 3,
        "strides": ((1,) * dims, (2,) * dims, (2,) * dims),
    }
    return Plan(
        spatial_dims=2 if dims == 2 else 3,
        channel_names=tuple("abc"[:channels]),
        label_names={"background": 0, "organ": 1, "lesion": 2},
        spacing_mm=(1.0,) * dims,
        patch_vox=(16,) * dims,
        batch_size=2,
        normalisation=(ChannelNormalisation(),) * channels,
        network=NetworkPlan(**(values | network)),
        median_shape_vox=(16,) * dims,
    )


THICK = {"kernels": ((3, 3, 1), (3, 3, 3), (3, 3, 3)), "strides": ((1, 1, 1), (2, 2, 1), (2, 2, 2))}
PLANS = [
    pytest.param(make_plan(2), id="2d"),
    pytest.param(make_plan(2, 3, strides=((1, 1), (2, 2), (2, 1))), id="2d-rgb"),
    pytest.param(make_plan(3), id="3d"),
    pytest.param(make_plan(3, 2, **THICK), id="3d-thick"),
    pytest.param(make_plan(3, deep_supervision=True), id="3d-deep"),
]


def inputs(plan: Plan, batch: int = 2, shape: tuple[int, ...] | None = None) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, len(plan.channel_names), *(shape or plan.patch_vox), generator=generator)


def network(plan: Plan, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build_network(plan)


@pytest.mark.parametrize("plan", PLANS)
def test_logits_have_the_inputs_shape_one_channel_a_class(plan: Plan) -> None:
    net = network(plan).eval()
    for shape in (plan.patch_vox, tuple(2 * d for d in plan.network.divisor)):
        found = net(inputs(plan, 2, shape))
        assert found.shape == (2, 3, *shape)
        assert heads(found, plan)[0] is found


@pytest.mark.parametrize("plan", PLANS)
def test_kernels_and_strides_are_the_plans(plan: Plan) -> None:
    conv = nn.Conv2d if plan.spatial_dims == 2 else nn.Conv3d
    seen = {(m.out_channels, m.kernel_size, m.stride) for m in network(plan).modules() if isinstance(m, conv)}
    net = plan.network
    for features, kernel, stride in zip(net.features, net.kernels, net.strides, strict=True):
        assert (features, tuple(kernel), tuple(stride)) in seen
    up = nn.ConvTranspose2d if plan.spatial_dims == 2 else nn.ConvTranspose3d
    strides = [m.stride for m in network(plan).modules() if isinstance(m, up)]
    assert sorted(set(strides)) == sorted(set(map(tuple, net.strides[1:])))


def test_deep_supervision_puts_the_full_resolution_first() -> None:
    plan = make_plan(2, features=(4, 6, 8, 8), kernels=((3, 3),) * 4, strides=((1, 1), *[(2, 2)] * 3))
    deep_plan = make_plan(2, **plan.network.model_dump() | {"deep_supervision": True})
    torch.manual_seed(0)
    net = build_network(deep_plan).train()
    output = net(inputs(plan))
    assert output.shape == (2, 3, 3, 16, 16)
    first, second, third = heads(output, deep_plan)
    assert torch.allclose(first, net.eval()(inputs(plan)), atol=1e-5)
    for level, head in ((2, second), (4, third)):
        blocks = head.unfold(2, level, level).unfold(3, level, level)
        assert torch.equal(blocks, blocks[..., :1, :1].expand_as(blocks)), f"not drawn at 1/{level}"
        assert not torch.equal(head, first)


@pytest.mark.parametrize("plan", PLANS)
def test_an_item_does_not_feel_the_others_of_its_batch(plan: Plan) -> None:
    net = network(plan).train()
    assert not [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    image = inputs(plan)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    together, alone = net(image)[:1], net(image[:1])
    strange = net(torch.cat([image[:1], 100 + 50 * image[1:]]))[:1]
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.allclose(together, strange, atol=1e-5)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


@pytest.mark.parametrize("plan", PLANS)
def test_weights_come_back(plan: Plan, tmp_path: Path) -> None:
    first, second = network(plan, 0).eval(), network(plan, 1).eval()
    image = inputs(plan)
    assert not torch.equal(first(image), second(image))
    save_weights(first, tmp_path / "weights.safetensors")
    load_weights(second, tmp_path / "weights.safetensors")
    assert torch.equal(first(image), second(image))
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]


def test_saving_replaces_what_was_there(tmp_path: Path) -> None:
    plan, path = make_plan(2), tmp_path / "weights.safetensors"
    path.write_bytes(b"old")
    net = network(plan)
    save_weights(net, path)
    load_weights(network(plan, 1), path)


def test_weights_are_on_disk_before_they_take_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, done = tmp_path / "weights.safetensors", []
    path.write_bytes(b"old")
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda stream: (done.append(path.read_bytes()), sync(stream)))
    save_weights(network(make_plan(2)), path)
    assert done == [b"old"]


def test_a_failure_in_the_middle_keeps_the_old_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_weights(network(make_plan(2)), path)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


def test_who_may_read_other_files_of_a_model_may_read_its_weights(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(network(make_plan(2)), path)
    (tmp_path / "other").write_text("")
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("content", [b"", b"no weights", b"\xff" * 200])
def test_damaged_weights_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(StudyError) as caught:
        load_weights(network(make_plan(2)), path)
    assert str(path) in str(caught.value)


def test_cut_off_and_missing_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(StudyError, match=r"weights\.safetensors"):
        load_weights(network(make_plan(2)), path)
    save_weights(network(make_plan(2)), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StudyError, match=r"weights\.safetensors"):
        load_weights(network(make_plan(2)), path)


def test_weights_of_another_network_are_refused_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"something": torch.zeros(3)}, path)
    with pytest.raises(StudyError, match="another network"):
        load_weights(network(make_plan(2)), path)
    save_weights(network(make_plan(2)), path)
    with pytest.raises(StudyError, match="another network"):
        load_weights(network(make_plan(2, features=(4, 6, 10))), path)
    with pytest.raises(StudyError, match="another network"):
        load_weights(network(make_plan(3)), path)


@pytest.mark.parametrize("dims", [2, 3])
def test_every_plan_that_is_accepted_can_be_built(dims: int) -> None:
    plan = make_plan(dims, features=(4, 6, 8), kernels=((3,) * dims,) * 3, strides=((1,) * dims, *[(2,) * dims] * 2))
    assert network(plan).eval()(inputs(plan)).shape == (2, 3, *plan.patch_vox)
