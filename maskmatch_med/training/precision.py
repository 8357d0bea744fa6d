"""In which precision a device trains."""

from __future__ import annotations

from typing import Final, Literal

import torch

from maskmatch_med.config import TrainConfig

Precision = Literal["full", "bf16"]
FABRIC: Final[dict[Precision, Literal["32-true", "bf16-mixed"]]] = {"full": "32-true", "bf16": "bf16-mixed"}
"""What Lightning Fabric calls them."""


def precision_of(config: TrainConfig, device: torch.device) -> Precision:
    """The precision that is asked for, or on ``auto`` the faster one of the device."""
    if config.precision != "auto":
        return config.precision
    return "bf16" if computes_in_bf16(device) else "full"


def computes_in_bf16(device: torch.device) -> bool:
    """Whether a device has units for products of bfloat16, so that they are faster than those of single precision.

    A CUDA card has from compute capability 8.0 on. A processor has AVX-512 BF16 or AMX; without, it emulates them more
    slowly than it computes in single precision.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    units = torch.cpu.get_capabilities()
    return bool(units.get("avx512_bf16") or units.get("amx_bf16"))
