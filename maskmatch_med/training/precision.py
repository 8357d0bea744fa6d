"""In which precision a device trains."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Final, Literal

import torch
from torch.nn import functional

from maskmatch_med.config import TrainConfig

Precision = Literal["full", "bf16"]
FABRIC: Final[dict[Precision, Literal["32-true", "bf16-mixed"]]] = {"full": "32-true", "bf16": "bf16-mixed"}
"""What Lightning Fabric calls them."""
_WORTH_IT: Final = 1.2
"""From this speed-up on bfloat16 is chosen: less is lost again where weights and losses are cast."""
_PROBES: Final = 5


def precision_of(config: TrainConfig, device: torch.device) -> Precision:
    """The precision that is asked for, or on ``auto`` the faster one of the device."""
    if config.precision != "auto":
        return config.precision
    return "bf16" if computes_in_bf16(device) else "full"


def computes_in_bf16(device: torch.device) -> bool:
    """Whether convolutions in bfloat16 are faster on a device than those in single precision.

    On CUDA cards from compute capability 8.0 on they are. A processor without AVX-512 BF16 or AMX emulates them. One
    that has them is asked for a convolution in both, once a process: some take twice as long in bfloat16.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    units = torch.cpu.get_capabilities()
    has_units = units.get("avx512_bf16") or units.get("amx_bf16")
    return bool(has_units) and bf16_speed_up() >= _WORTH_IT


@lru_cache(maxsize=1)
def bf16_speed_up() -> float:
    """How many times as fast as in single precision the processor convolves in bfloat16, forward and backward."""
    best = dict.fromkeys((torch.float32, torch.bfloat16), float("inf"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two would wait for each other where other programs keep a core busy
    for _ in range(_PROBES):
        for dtype in best:
            best[dtype] = min(best[dtype], _convolution_seconds(dtype))
    torch.set_num_threads(threads)
    return best[torch.float32] / best[torch.bfloat16]


def _convolution_seconds(dtype: torch.dtype) -> float:
    """Wall time of a 3 × 3 × 3 convolution of (2, 32, 24, 24, 24) to as many channels, and of its gradients."""
    image = torch.zeros(2, 32, 24, 24, 24, dtype=dtype).to(memory_format=torch.channels_last_3d).requires_grad_()
    kernel = torch.zeros(32, 32, 3, 3, 3, dtype=dtype, requires_grad=True)
    began = time.perf_counter()
    functional.conv3d(image, kernel, padding=1).sum().backward()  # type: ignore[no-untyped-call]
    return time.perf_counter() - began
