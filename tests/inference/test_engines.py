"""Each engine gives what PyTorch gives; the cache of converted networks; nothing leaves the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from maskmatch_med.errors import InputError
from maskmatch_med.inference import EagerEngine, PredictOptions, Predictor, choose_engine
from maskmatch_med.nets import build_network
from maskmatch_med.planning.plan import Plan
from tests.inference.test_predictor import make_plan, make_volume

pytest.importorskip("openvino", reason="OpenVINO is not made for this machine")
from maskmatch_med.inference.openvino_engine import engine_cache, is_converted, open_openvino


def network_of(plan: Plan, seed: int = 0) -> nn.Module:
    """A network with random weights, all of which matter."""
    torch.manual_seed(seed)
    return build_network(plan, channels_last=False).eval()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of converted networks."""
    monkeypatch.setenv("MASKMATCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "engines"


@pytest.mark.parametrize("dims", [2, 3])
def test_openvino_gives_what_pytorch_gives_for_any_batch(dims: int, cache: Path) -> None:
    plan = make_plan((1.0,) * dims, (16,) * dims)
    network = network_of(plan)
    engine = open_openvino(plan, "weights", lambda: network)
    assert engine_cache() == cache
    for count in (1, 2, 5):
        windows = torch.randn(count, 1, *plan.patch_vox, generator=torch.Generator().manual_seed(count))
        with torch.inference_mode():
            torch.testing.assert_close(engine(windows), network(windows), rtol=1e-4, atol=1e-4)
    first = engine(windows)
    kept = first.clone()
    engine(-windows)
    assert torch.equal(first, kept), "an answer must outlive the next question"


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_openvino_passes_windows_side_by_side_and_in_order(threads: int, cache: Path) -> None:
    plan = make_plan((1.0,) * 3, (16,) * 3)
    network = network_of(plan)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        engine = open_openvino(plan, "0" * 64, lambda: network)
        windows = torch.randn(6, 1, *plan.patch_vox, generator=torch.Generator().manual_seed(0))
        alone = torch.cat([engine(window[None]) for window in windows])
        for count in (2, 3, 4, 6):
            torch.testing.assert_close(engine(windows[:count]), alone[:count], rtol=1e-4, atol=1e-4)
    finally:
        torch.set_num_threads(before)


def test_a_converted_network_is_opened_without_pytorchs(cache: Path) -> None:
    plan = make_plan((1.0, 1.0), (16, 16))
    assert not is_converted(plan, "a")
    made = open_openvino(plan, "a", lambda: network_of(plan))
    assert is_converted(plan, "a")
    assert not is_converted(plan, "b"), "other weights, other conversion"
    assert not is_converted(make_plan((1.0, 1.0), (32, 16)), "a"), "another plan, another conversion"

    windows = torch.randn(2, 1, 16, 16)
    torch.testing.assert_close(open_openvino(plan, "a", _never)(windows), made(windows))
    assert [path.name for path in cache.iterdir() if path.name.startswith(".")] == [], "nothing half made is left"


def _never() -> nn.Module:
    raise AssertionError("the network was built although the cache has it")


@pytest.mark.parametrize("file", ["network.xml", "network.bin"])
@pytest.mark.parametrize("left", [0, 0.5])
def test_a_damaged_conversion_is_made_anew(file: str, left: float, cache: Path) -> None:
    plan = make_plan((1.0, 1.0), (16, 16))
    network, windows = network_of(plan), torch.randn(2, 1, 16, 16)
    expected = open_openvino(plan, "a", lambda: network)(windows)
    damaged = next(cache.glob(f"*/{file}"))
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: int(left * len(whole))])
    torch.testing.assert_close(open_openvino(plan, "a", lambda: network)(windows), expected)
    assert len(damaged.read_bytes()) > left * len(whole)
    torch.testing.assert_close(open_openvino(plan, "a", _never)(windows), expected)


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MASKMATCH_CACHE", str(tmp_path / "file"))
    plan = make_plan((1.0, 1.0), (16, 16))
    assert open_openvino(plan, "a", lambda: network_of(plan))(torch.zeros(1, 1, 16, 16)).shape == (1, 3, 16, 16)


def test_a_whole_prediction_has_the_same_labels(cache: Path) -> None:
    plan = make_plan((1.0, 1.0, 1.0), (16, 16, 16))
    options = PredictOptions(scales=(0.8, 1.0), mirror=True, uncertainty=True)
    volume, network = make_volume((30, 21, 18)), network_of(plan)
    eager = Predictor(EagerEngine(build_like(network, plan)), plan, options).predict(volume)
    found = Predictor(open_openvino(plan, "a", lambda: network), plan, options).predict(volume)
    assert np.mean(found.labels == eager.labels) >= 0.9999
    assert found.uncertainty is not None
    assert eager.uncertainty is not None
    np.testing.assert_allclose(found.uncertainty, eager.uncertainty, atol=1e-3)


def build_like(network: nn.Module, plan: Plan) -> nn.Module:
    """The same weights in the layout that training and eager prediction use."""
    other = build_network(plan)
    other.load_state_dict(network.state_dict())
    return other


_IMPORTED = """
import sys
from maskmatch_med.inference import openvino_engine
openvino_engine._without_telemetry()
from openvino.tools.ovc import telemetry
print(type(telemetry).__module__, "openvino_telemetry.main" in sys.modules)
"""


def test_openvino_reports_nothing() -> None:
    """Its own reporting falls back to a class that does nothing, because its companion cannot be imported."""
    done = subprocess.run([sys.executable, "-c", _IMPORTED], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub", "False"]


def test_auto_takes_what_suits_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "AMD64")
    assert choose_engine("auto", torch.device("cpu")) == "openvino"
    assert choose_engine("auto", torch.device("cuda")) == "eager"
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert choose_engine("auto", torch.device("cpu")) == "eager"
    with pytest.raises(InputError, match="one of auto, eager, compiled, openvino, got 'onnx'"):
        choose_engine("onnx", torch.device("cpu"))
    with pytest.raises(InputError, match="runs on the processor, not on cuda"):
        choose_engine("openvino", torch.device("cuda"))
    monkeypatch.setattr("maskmatch_med.inference.engines.find_spec", lambda name: None)
    assert choose_engine("auto", torch.device("cpu")) == "eager"
    with pytest.raises(InputError, match="is not installed"):
        choose_engine("openvino", torch.device("cpu"))
