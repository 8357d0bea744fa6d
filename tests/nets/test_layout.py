"""Channels last changes how a network computes, not what."""

from __future__ import annotations

import copy

import pytest
import torch
from monai.networks.nets import DynUNet
from torch import nn

from maskmatch_med.nets.layout import channels_last_on_processor, lay_out_weights


def plain(dims: int, channels: int) -> nn.Module:
    """A U-Net as MONAI builds it, with scales and shifts that are not 1 and 0."""
    torch.manual_seed(dims)
    kernels = [(3,) * dims] * 3
    net = DynUNet(
        spatial_dims=dims,
        in_channels=channels,
        out_channels=3,
        kernel_size=kernels,
        strides=[1, 2, 2],
        upsample_kernel_size=[2, 2],
        filters=[8, 16, 16],
        norm_name=("INSTANCE", {"affine": True}),
    )
    for name, parameter in net.named_parameters():
        if "norm" in name:
            nn.init.normal_(parameter, 0.7, 0.3)
    return net


@pytest.mark.parametrize(("dims", "channels"), [(2, 1), (2, 3), (3, 1), (3, 2)])
@pytest.mark.parametrize("batch", [1, 3])
def test_answers_and_gradients_are_those_of_the_plain_network(dims: int, channels: int, batch: int) -> None:
    reference = plain(dims, channels)
    laid = channels_last_on_processor(copy.deepcopy(reference))
    image = torch.randn(batch, channels, *(16, 12, 8)[:dims], generator=torch.Generator().manual_seed(0))
    wanted, found = reference(image), laid(image)
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-4)
    wanted.square().mean().backward()
    found.square().mean().backward()
    expected = {name: parameter.grad for name, parameter in reference.named_parameters()}
    for name, parameter in laid.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], atol=1e-4, rtol=1e-3)


def test_features_stay_channels_last_on_the_way_through() -> None:
    laid = channels_last_on_processor(plain(3, 1))
    seen = []
    for module in laid.modules():
        if isinstance(module, nn.LeakyReLU):
            module.register_forward_hook(lambda _, __, out: seen.append(out.is_contiguous(memory_format=LAST)))
    laid(torch.randn(2, 1, 16, 16, 16))
    assert seen
    assert all(seen)


def test_one_voxel_is_refused_as_by_the_plain_network() -> None:
    laid = channels_last_on_processor(nn.Sequential(nn.InstanceNorm3d(2, affine=True)))
    with pytest.raises(ValueError, match="one voxel"):
        laid(torch.ones(2, 2, 1, 1, 1))


LAST = torch.channels_last_3d


def test_kernels_laid_out_learn_the_same() -> None:
    """Values, gradients and an optimiser's step are those of kernels in the default layout."""
    image = torch.randn(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    nets = [channels_last_on_processor(plain(3, 1)) for _ in range(2)]
    lay_out_weights(nets[1], torch.device("cpu"))
    kernels = [parameter for parameter in nets[1].parameters() if parameter.ndim == 5]
    assert all(kernel.is_contiguous(memory_format=LAST) for kernel in kernels)
    for net in nets:
        optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, eps=1e-3, fused=True)
        net(image).square().mean().backward()
        optimiser.step()
    assert all(kernel.is_contiguous(memory_format=LAST) for kernel in kernels)
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_weights_keep_their_names_and_items_their_own_statistics() -> None:
    reference = plain(3, 1)
    laid = channels_last_on_processor(copy.deepcopy(reference))
    assert laid.state_dict().keys() == reference.state_dict().keys()
    images = torch.randn(2, 1, 8, 8, 8)
    laid.eval()
    alone = laid(images[:1])
    together = laid(torch.cat([images[:1], 100 * images[1:]]))[:1]
    torch.testing.assert_close(alone, together, atol=1e-4, rtol=1e-4)
