"""Build the plan's U-Net and keep its weights."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save
from torch import Tensor, nn

from maskmatch_med.errors import StudyError
from maskmatch_med.nets.layout import channels_last_on_processor
from maskmatch_med.planning.plan import Plan


def build_network(plan: Plan, *, channels_last: bool = True) -> nn.Module:
    """The plan's U-Net with instance normalisation, which keeps masked and rescaled inputs from touching statistics.

    Input (B, C, *spatial), each axis a multiple of ``plan.network.divisor``. Output: logits (B, K, *spatial), or
    while training with deep supervision (B, H, K, *spatial), the full-resolution head first.

    Source: Isensee et al., nnU-Net, Nature Methods 2021, as MONAI's ``DynUNet``.

    Args:
        plan: names channels, classes, kernels, strides and features.
        channels_last: work channels last on a processor, see :mod:`maskmatch_med.nets.layout`; with the same weights.
    """
    from monai.networks.nets import DynUNet  # noqa: PLC0415 - MONAI loads for seconds, and a kept engine needs none

    net = plan.network
    network = DynUNet(
        spatial_dims=plan.spatial_dims,
        in_channels=len(plan.channel_names),
        out_channels=plan.classes,
        kernel_size=net.kernels,
        strides=net.strides,
        upsample_kernel_size=net.strides[1:],
        filters=net.features,
        norm_name=("INSTANCE", {"affine": True}),
        deep_supervision=net.deep_supervision,
        deep_supr_num=max(1, min(2, len(net.features) - 2)),
    )
    return channels_last_on_processor(network) if channels_last else network


def heads(output: Tensor, plan: Plan) -> tuple[Tensor, ...]:
    """The logits of each head, full resolution first; one head where deep supervision is off."""
    return output.unbind(1) if output.ndim == plan.spatial_dims + 3 else (output,)


def save_weights(network: nn.Module, path: Path) -> None:
    """Write the weights as safetensors, synced to disk, whole or not at all.

    A tensor that a network holds under several names, as ``DynUNet`` does, is written once. The same weights give the
    same bytes.
    """
    once = {tensor.data_ptr(): (name, tensor) for name, tensor in sorted(network.state_dict().items())}
    partial = path.with_suffix(".partial")
    try:
        # Not by save_file, whose file nobody else may read.
        packed = save({name: tensor.detach().cpu().contiguous() for name, tensor in once.values()})
        with partial.open("wb") as stream:
            stream.write(packed)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load_weights(network: nn.Module, path: Path, device: torch.device | str = "cpu") -> None:
    """Read weights that :func:`save_weights` wrote; nothing in the file is ever executed.

    Raises:
        StudyError: the file is missing, damaged, or belongs to another network.
    """
    try:
        load_model(network, path, device=str(device))
    except (OSError, SafetensorError) as error:
        raise StudyError(
            f"cannot read the weights {path}: {error}; copy the model folder again, or train it"
        ) from error
    except RuntimeError as error:
        raise StudyError(
            f"the weights {path} belong to another network than the plan describes; restore the plan.json they were "
            "trained with"
        ) from error
