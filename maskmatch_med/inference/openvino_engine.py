"""OpenVINO on the processor: a network is converted once, kept on the disk, and opened in a moment afterwards.

OpenVINO's Python package reports its use over the network, already when it is imported, where its companion
``openvino_telemetry`` is found. Nothing leaves the machine here: that companion is hidden before the first import.

The converted network lies in the user's cache folder (or ``MASKMATCH_CACHE``) under a name that hashes weights, plan
and OpenVINO's version, so that new weights never meet an old conversion. One that is damaged is made anew. A cache that
cannot be written costs a conversion each time and nothing else.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from maskmatch_med.inference.engines import EagerEngine, Engine, windows_at_once
from maskmatch_med.planning.plan import Plan

_KEPT = 32
"""Converted networks that the cache holds; the ones used longest ago go first."""


class OpenVinoEngine:
    """An OpenVINO network, compiled for each number of windows that it meets: that is faster than for any number.

    The windows of a batch pass side by side, each share of them on its own threads. Where nothing else runs that is as
    fast as all threads on one window after the other; on a busy machine it is faster, as no thread waits for the rest.

    Args:
        compiled: gives the network compiled for B windows at a time in each of so many streams, in some hundredths of a
            second.
        tensor: OpenVINO's tensor over an array.
        classes: K.
        network: builds the network in PyTorch, should another engine be needed.
        threads: that the streams share.
    """

    device = torch.device("cpu")

    def __init__(
        self,
        compiled: Callable[[int, int], Any],
        tensor: Callable[..., Any],
        classes: int,
        network: Callable[[], nn.Module],
        threads: int = 1,
    ) -> None:
        self._compiled, self._tensor, self._classes = compiled, tensor, classes
        self._network, self._threads = network, threads
        self._requests: dict[int, list[Any]] = {}

    def __call__(self, windows: Tensor) -> Tensor:
        """See :class:`maskmatch_med.inference.Engine`."""
        requests = self._requests_for(windows.shape[0])
        logits = torch.empty(windows.shape[0], self._classes, *windows.shape[2:])
        shares = windows.contiguous().chunk(len(requests)), logits.chunk(len(requests))
        for request, image, output in zip(requests, *shares, strict=True):
            request.set_output_tensor(self._tensor(output.numpy(), shared_memory=True))  # written in place
            request.start_async([image.numpy()], share_inputs=True)
        for request in requests:
            request.wait()
        return logits

    def prepare(self, count: int) -> None:
        """Compile for so many windows now; RuntimeError where the processor cannot be served."""
        self._requests_for(count)

    def _requests_for(self, count: int) -> list[Any]:
        if count not in self._requests:
            streams = max(n for n in range(1, min(count, self._threads) + 1) if count % n == 0)
            compiled = self._compiled(count // streams, streams)
            self._requests[count] = [compiled.create_infer_request() for _ in range(streams)]
        return self._requests[count]

    def on_processor(self) -> Engine:
        """See :class:`maskmatch_med.inference.Engine`."""
        return EagerEngine(self._network())


def open_openvino(plan: Plan, weights_sha256: str, network: Callable[[], nn.Module]) -> OpenVinoEngine:
    """The engine of a model, from the cache where it was opened before.

    Args:
        plan: of the network.
        weights_sha256: of the weights file.
        network: builds the network with its weights, in the plain layout; not called where the cache has it.

    Raises:
        ImportError: OpenVINO is not installed, or cannot be loaded.
        RuntimeError: it cannot convert the network, or compile it for this processor.
    """
    openvino = _without_telemetry()
    core = openvino.Core()
    folder = engine_cache() / _key(plan, weights_sha256, str(openvino.get_version()))
    model = _kept(core, folder)
    if model is None:
        model = _converted(openvino, plan, network())
        _keep(openvino, model, folder)
    threads = torch.get_num_threads()

    def compiled(count: int, streams: int) -> Any:
        model.reshape(openvino.PartialShape([count, len(plan.channel_names), *plan.patch_vox]))
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": streams}
        return core.compile_model(model, "CPU", settings)

    engine = OpenVinoEngine(compiled, openvino.Tensor, plan.classes, network, threads)
    engine.prepare(windows_at_once(engine.device))
    return engine


def is_converted(plan: Plan, weights_sha256: str) -> bool:
    """Whether the cache holds the engine of a model."""
    version = str(_without_telemetry().get_version())
    return (engine_cache() / _key(plan, weights_sha256, version) / "network.xml").is_file()


def engine_cache() -> Path:
    """The folder of converted networks."""
    if chosen := os.environ.get("MASKMATCH_CACHE"):
        return Path(chosen) / "engines"
    from platformdirs import user_cache_path  # noqa: PLC0415 - most commands need no cache

    return user_cache_path("maskmatch", appauthor=False) / "engines"


def _without_telemetry() -> Any:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # makes its import fail
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import openvino  # noqa: PLC0415 - after the line above, and only where this engine is wanted
    return openvino


def _key(plan: Plan, weights_sha256: str, version: str) -> str:
    parts = (weights_sha256, plan.model_dump_json(), version, torch.__version__)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _kept(core: Any, folder: Path) -> Any:
    """The network that the cache holds; None where it has none, or a damaged one, which is removed."""
    path = folder / "network.xml"
    if not path.is_file():
        return None
    with suppress(OSError):
        path.touch()  # a cache of others may only be read
    try:
        return core.read_model(path)
    except (RuntimeError, OSError):
        shutil.rmtree(folder, ignore_errors=True)
        return None


def _converted(openvino: Any, plan: Plan, network: nn.Module) -> Any:
    example = torch.zeros(2, len(plan.channel_names), *plan.patch_vox)
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")
        model = openvino.convert_model(network.eval(), example_input=example)
    model.reshape(openvino.PartialShape([-1, *example.shape[1:]]))
    return model


def _keep(openvino: Any, model: Any, folder: Path) -> None:
    """Into the cache, whole or not at all; two processes may do it at once."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
        try:
            openvino.save_model(model, partial / "network.xml", compress_to_fp16=False)
            for file in partial.iterdir():
                with file.open("rb+") as stream:
                    os.fsync(stream.fileno())
            if not folder.exists():
                partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        others = [kept for kept in folder.parent.iterdir() if kept.is_dir() and not kept.name.startswith(".")]
        by_age = sorted(others, key=lambda kept: (kept / "network.xml").stat().st_mtime, reverse=True)
        for old in by_age[_KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
    except OSError:
        return
