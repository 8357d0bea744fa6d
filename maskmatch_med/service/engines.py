"""Which engine predicts with a model, and how it is opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from maskmatch_med.errors import InputError
from maskmatch_med.inference import EagerEngine, Engine, choose_engine
from maskmatch_med.inference.engines import CompiledEngine
from maskmatch_med.io import CaseFiles
from maskmatch_med.nets import ModelFolder
from maskmatch_med.planning import Plan
from maskmatch_med.study.records import file_sha256

_WORTH_CONVERTING = 4 * 2**20
"""Bytes of scan files from which a conversion of some ten seconds pays within the same command."""


def open_engine(
    folder: ModelFolder,
    name: str,
    device: torch.device,
    scans: Sequence[CaseFiles] = (),
    notice: Callable[[str], None] = lambda sentence: None,
) -> tuple[Plan, Engine]:
    """The model's plan and the engine that carries windows through its network.

    ``auto`` converts a model for OpenVINO where the scans are worth it, and opens what is converted already at once.

    Args:
        folder: of the model.
        name: auto, eager, compiled or openvino.
        device: where to compute.
        scans: what will be predicted, by whose size ``auto`` goes.
        notice: told when a conversion begins, and where OpenVINO is installed and does not work.

    Raises:
        StudyError: there is no finished model.
        InputError: the engine is unknown, not installed, does not work here, or is not made for the device.
    """
    plan, chosen = folder.plan(), choose_engine(name, device)
    torch.backends.cudnn.benchmark = True  # on a card convolutions take the fastest way, once measured
    if chosen == "compiled":
        return plan, CompiledEngine(folder.network(plan, device), device)
    if chosen == "eager":
        return plan, EagerEngine(folder.network(plan, device), device)
    worth_it = name == "openvino" or _bytes(scans) >= _WORTH_CONVERTING
    weights_sha256 = file_sha256(folder.weights_path)
    try:
        engine = _openvino(partial(folder.network, plan, channels_last=False), plan, weights_sha256, worth_it, notice)
    except (ImportError, RuntimeError, OSError) as error:  # a broken installation, or a processor that it cannot serve
        told = f"OpenVINO does not work here ({(str(error).strip() or type(error).__name__).splitlines()[-1]})"
        if name == "openvino":
            raise InputError(f"{told}; install it anew, or use another engine") from error
        notice(f"{told}: PyTorch predicts instead")
        engine = None
    return plan, engine or EagerEngine(folder.network(plan, device), device)


def _openvino(
    network: Callable[[], nn.Module], plan: Plan, weights_sha256: str, convert: bool, notice: Callable[[str], None]
) -> Engine | None:
    """The engine; None where the model would have to be converted and is not to be."""
    from maskmatch_med.inference.openvino_engine import is_converted, open_openvino  # noqa: PLC0415 - may be missing

    if not is_converted(plan, weights_sha256):
        if not convert:
            return None
        notice("the model is converted for this processor, once; that takes some seconds")

    return open_openvino(plan, weights_sha256, network)


def _bytes(scans: Sequence[CaseFiles]) -> int:
    """Of their files, packed as they are; a folder, as of DICOM, with all that lies in it."""
    files = [path for scan in scans for channel in scan.channels for path in ([channel, *channel.glob("*")])]
    return sum(path.stat().st_size for path in files if path.is_file())
