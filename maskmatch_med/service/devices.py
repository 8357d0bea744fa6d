"""Which device to compute on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from maskmatch_med.errors import InputError, TrainingError, lacks_memory


def budget_of(device: str) -> Literal["cpu", "gpu"]:
    """Which size of plan a device can train."""
    return "gpu" if resolve_device(device).type == "cuda" else "cpu"


def resolve_device(device: str) -> torch.device:
    """Turn ``auto`` into the best device there is.

    Raises:
        InputError: the device is unknown or not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"unknown device {device!r}; use auto, cpu, cuda or mps") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {device!r} is asked for, but this machine offers no CUDA GPU; use cpu")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device {device!r} is asked for, but this machine's GPUs are 0 to {torch.cuda.device_count() - 1}"
        )
    if found.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"device {device!r} is asked for, but this machine offers no Apple GPU; use cpu")
    if found.type not in {"cpu", "cuda", "mps"}:
        raise InputError(f"device {device!r} cannot be used; use auto, cpu, cuda or mps")
    return found


@contextmanager
def memory_explained(what: str, todo: str) -> Iterator[None]:
    """Turn an accelerator's lack of memory into one sentence.

    Raises:
        TrainingError: the device's memory was used up inside the block.
    """
    try:
        yield
    except RuntimeError as error:
        if not lacks_memory(error) or "CPUAllocator" in str(error):
            raise
        raise TrainingError(f"the GPU has too little free memory for {what}; {todo}") from error
