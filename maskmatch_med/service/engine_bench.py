"""Which engine is the fastest on this machine, measured on a network of the usual size with drawn weights."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

import torch
from torch import Tensor

from maskmatch_med.errors import InputError, MaskMatchError
from maskmatch_med.inference import EagerEngine, Engine, choose_engine
from maskmatch_med.inference.engines import CompiledEngine, windows_at_once
from maskmatch_med.nets import build_network
from maskmatch_med.planning.plan import ChannelNormalisation, NetworkPlan, Plan

_ROUNDS = 5
_MATTERS = 1.1
_PLAN = Plan(
    spatial_dims=3,
    channel_names=("MR",),
    label_names={"background": 0, "structure": 1},
    spacing_mm=(1.0, 1.0, 1.0),
    patch_vox=(48, 48, 48),
    batch_size=2,
    normalisation=(ChannelNormalisation(scheme="zscore"),),
    network=NetworkPlan(features=(16, 32, 64, 128), kernels=((3, 3, 3),) * 4, strides=((1, 1, 1), *((2, 2, 2),) * 3)),
    mirror_axes=(),
    median_shape_vox=(48, 48, 48),
)


def time_engines(device: torch.device) -> list[tuple[str, str]]:
    """Seconds a window of 48 x 48 x 48 voxels takes with each engine that runs here, and which one ``auto`` takes.

    They take turns, after a round that is not counted. ``compiled`` is left out on a processor, where compiling takes
    more than a minute.

    Returns:
        (name, value) rows for ``maskmatch doctor``.
    """
    torch.manual_seed(0)
    engines: dict[str, Engine] = {"eager": EagerEngine(build_network(_PLAN), device)}
    if device.type == "cuda":
        engines["compiled"] = CompiledEngine(build_network(_PLAN), device)
    try:
        if choose_engine("openvino", device) == "openvino":
            from maskmatch_med.inference.openvino_engine import open_openvino  # noqa: PLC0415 - may be missing

            engines["openvino"] = open_openvino(_PLAN, "doctor", lambda: build_network(_PLAN, channels_last=False))
    except (InputError, ImportError, RuntimeError, OSError):  # not for this device, or not working here
        pass
    windows = torch.randn(windows_at_once(device), 1, *_PLAN.patch_vox)
    for name in [name for name in engines if not _runs(engines[name], windows)]:
        del engines[name]
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(_ROUNDS):
        for name, engine in engines.items():
            seconds[name].append(_seconds(engine, windows))
    median = {name: statistics.median(took) / len(windows) for name, took in seconds.items()}
    rows = [(f"Engine {name}", f"{took:.3f} s a window") for name, took in median.items()]
    return [*rows, ("Engine auto", _choice(choose_engine("auto", device), median))]


def _choice(chosen: str, median: Mapping[str, float]) -> str:
    """Which engine ``auto`` takes, and whether another one was faster just now."""
    fastest = min(median, key=lambda name: median[name])
    factor = median[chosen] / median[fastest]
    if factor < _MATTERS:
        return f"takes {chosen}"
    return (
        f"takes {chosen}, but {fastest} was {factor:.1f} times as fast just now; where that lasts, "
        f"predict with --engine {fastest}"
    )


def _runs(engine: Engine, windows: Tensor) -> bool:
    """Whether an engine works here; what it prepares at the first call is done then."""
    try:
        _seconds(engine, windows)
    except (MaskMatchError, RuntimeError):
        if isinstance(engine, EagerEngine):
            raise
        return False
    return True


@torch.inference_mode()
def _seconds(engine: Engine, windows: Tensor) -> float:
    began = time.perf_counter()
    engine(windows.to(engine.device)).sum().item()
    return time.perf_counter() - began
