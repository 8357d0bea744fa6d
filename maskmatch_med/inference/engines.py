"""Engines: what carries a window through the network. Tensor in, tensor out; which one is the machine's affair.

``eager`` is PyTorch as it is, in half precision on a CUDA device; ``compiled`` is ``torch.compile``, which replays
CUDA graphs there; ``openvino`` is OpenVINO's processor plugin in single precision
(:mod:`maskmatch_med.inference.openvino_engine`). ``auto`` takes OpenVINO on an x86 processor where it is installed,
else eager. Processors always compute in single precision, so that a model gives the same labels on each.
"""

from __future__ import annotations

import copy
import platform
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor, nn

from maskmatch_med.errors import InputError, MaskMatchError, lacks_memory

EngineName = Literal["auto", "eager", "compiled", "openvino"]
_X86 = {"x86_64", "amd64", "i386", "i686"}


def windows_at_once(device: torch.device) -> int:
    """Windows that pass the network together: two keep a processor's convolutions fast, a card is larger."""
    return 2 if device.type == "cpu" else 8


class Engine(Protocol):
    """Maps windows (B, C, *patch) on ``device`` to logits (B, K, *patch), of any B."""

    device: torch.device

    def __call__(self, windows: Tensor) -> Tensor:
        """Logits of some windows."""

    def on_processor(self) -> Engine:
        """The same network on the processor."""


class EagerEngine:
    """PyTorch as it is.

    Args:
        network: put into evaluation mode.
        device: where it runs.
    """

    def __init__(self, network: nn.Module, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._network = network.to(self.device)

    def __call__(self, windows: Tensor) -> Tensor:
        """See :class:`Engine`."""
        self._network.eval()
        with half_precision(self.device):
            logits: Tensor = self._network(windows)
        return logits

    def on_processor(self) -> Engine:
        """See :class:`Engine`."""
        return EagerEngine(_copied(self._network))


class CompiledEngine:
    """``torch.compile``; on a CUDA device its kernels are replayed as CUDA graphs.

    Compiled for one number of windows; fewer are filled up, until the device's memory does not hold that many: from
    then on as many pass as it held. On a processor it needs a C++ compiler.

    Args:
        network: put into evaluation mode.
        device: where it runs.
    """

    def __init__(self, network: nn.Module, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._network, self._at_once = network.to(self.device).eval(), windows_at_once(self.device)
        mode = "reduce-overhead" if self.device.type == "cuda" else "default"
        self._compiled: Any = torch.compile(self._network, dynamic=False, mode=mode)

    def __call__(self, windows: Tensor) -> Tensor:
        """See :class:`Engine`.

        Raises:
            MaskMatchError: the network cannot be compiled on this machine.
        """
        count = windows.shape[0]
        if count > self._at_once:
            return torch.cat([self(part) for part in torch.split(windows, self._at_once)])
        if count < self._at_once:
            windows = torch.cat([windows, windows.new_zeros(self._at_once - count, *windows.shape[1:])])
        try:
            with half_precision(self.device):
                return torch.clone(self._compiled(windows)[:count])
        except RuntimeError as error:
            if any(kind.__name__ == "BackendCompilerFailed" for kind in type(error).__mro__):
                told = str(error).strip().splitlines()[0]
                raise MaskMatchError(
                    f"the engine compiled cannot compile the network here ({told}); on a processor it needs a C++ "
                    "compiler, such as g++: install one, or use another engine"
                ) from error
            if not lacks_memory(error) or count == self._at_once:
                raise
            self._at_once = count
        return self(windows[:count])

    def on_processor(self) -> Engine:
        """See :class:`Engine`; without compiling anew."""
        return EagerEngine(_copied(self._network))


def _copied(network: nn.Module) -> nn.Module:
    """The network on the processor; of its device's memory, which may be full, this takes nothing."""
    there = [*network.parameters(), *network.buffers()]
    here = {id(one): nn.Parameter(one.detach().cpu(), one.requires_grad) for one in network.parameters()}
    return copy.deepcopy(network, {id(one): one.detach().cpu() for one in there} | here)


def half_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Autocast to half precision on a CUDA device; elsewhere nothing."""
    return torch.autocast("cuda", dtype=torch.float16) if device.type == "cuda" else nullcontext()


def choose_engine(name: str, device: torch.device) -> EngineName:
    """Turn ``auto`` into the engine for a device.

    Raises:
        InputError: there is no such engine, it is not installed, or it does not run on the device.
    """
    if name not in get_args(EngineName):
        raise InputError(f"the engine is one of {', '.join(get_args(EngineName))}, got {name!r}")
    there = find_spec("openvino") is not None
    if name == "auto":
        return "openvino" if there and device.type == "cpu" and platform.machine().lower() in _X86 else "eager"
    if name == "openvino" and not there:
        raise InputError("the engine openvino is not installed: pip install -c constraints.txt openvino")
    if name == "openvino" and device.type != "cpu":
        raise InputError(f"the engine openvino runs on the processor, not on {device}; add --device cpu")
    return "eager" if name == "eager" else "compiled" if name == "compiled" else "openvino"
