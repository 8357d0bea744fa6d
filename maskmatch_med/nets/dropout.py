"""Feature perturbation: some items of a batch lose whole channels of the encoder's features.

Source: Yang et al., Revisiting weak-to-strong consistency, CVPR 2023 (UniMatch): dropout of 0.5 on every feature map
that the encoder hands to the decoder. [ours] The maps also feed the next stage of the encoder, so that one forward
serves perturbed and unperturbed items.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Generator, Tensor, nn


@contextmanager
def dropped_channels(network: nn.Module, shares: Sequence[float], generator: Generator) -> Iterator[None]:
    """Silence channels after each stage of the encoder while the block runs; the others are scaled up.

    Args:
        network: holds the U-Net of :func:`build_network`.
        shares: for each item of the batch that will be shown, the share of channels to silence, in [0, 1).
        generator: the randomness, on the CPU.
    """
    with ExitStack() as hooks:
        if any(shares):
            keep = 1 - torch.tensor(list(shares))[:, None]
            seed = int(torch.randint(2**31, (), generator=generator))
            drawn = Generator().manual_seed(seed)

            def drop(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
                kept = torch.rand(output.shape[:2], generator=drawn) < keep
                scale = (kept / keep).to(output)
                return output * scale.view(*scale.shape, *(1,) * (output.ndim - 2))

            for stage in encoder_stages(network):
                hooks.enter_context(stage.register_forward_hook(drop))
        yield


def encoder_stages(network: nn.Module) -> list[nn.Module]:
    """The stages of the encoder, from full resolution to the bottleneck, of every U-Net in the module."""
    from monai.networks.nets import DynUNet  # noqa: PLC0415 - MONAI loads for seconds, and prediction may not need it

    nets = [module for module in network.modules() if isinstance(module, DynUNet)]
    return [stage for net in nets for stage in (net.input_block, *net.downsamples, net.bottleneck)]
