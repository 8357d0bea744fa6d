"""What is given up where a device's memory is short, in which order, and that the labels stay.

There is no card here: an engine that says it lies on one refuses more windows than it holds, and a ring that says so
refuses to be used. What is computed is computed on the processor.
"""

from __future__ import annotations

import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from maskmatch_med.inference import EagerEngine, Engine, PredictOptions, Predictor
from maskmatch_med.inference.engines import CompiledEngine
from maskmatch_med.inference.members import Members
from maskmatch_med.inference.memory import Memory, where_there_is_room
from maskmatch_med.inference.ring import Ring
from tests.inference.test_predictor import Convolution, make_plan, make_volume

PLAN = make_plan((1.0, 1.0, 1.0), (8, 8, 8))
CARD = torch.device("meta")


class Full(EagerEngine):
    """An engine whose device holds no more than some windows at a time."""

    def __init__(self, network: nn.Module, holds: int, device: str = "cpu", error: Exception | None = None) -> None:
        super().__init__(network)
        self.device, self.holds, self.seen = torch.device(device), holds, list[int]()
        self.error = error or torch.OutOfMemoryError()

    def __call__(self, windows: Tensor) -> Tensor:
        self.seen.append(windows.shape[0])
        if windows.shape[0] > self.holds:
            raise self.error
        return super().__call__(windows)


class CardRing(Ring):
    """A ring that says it lies on a card, until it is moved."""

    failures = 0
    """So many finished rows meet a full card first."""
    moved = False

    @property
    def device(self) -> torch.device:
        return torch.device("cpu") if self.moved else CARD

    def to(self, device: torch.device) -> None:
        super().to(device)
        self.moved = True

    def finish(self, first: int, stop: int) -> Tensor:
        if CardRing.failures and not self.moved:
            CardRing.failures -= 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().finish(first, stop)


class Collected:
    """Keeps what it was asked for."""

    def __init__(self) -> None:
        self.device, self.asked, self.halved = CARD, list[str](), False

    def halve(self) -> bool:
        self.asked.append("halve")
        halved, self.halved = self.halved, True
        return not halved

    def to(self, device: torch.device) -> None:
        self.asked.append(str(device))
        self.device = device


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError(), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_too_large_a_batch_is_halved_and_nothing_is_computed_twice(error: Exception) -> None:
    volume, options = make_volume((20, 20, 20)), PredictOptions(windows_per_forward=8)
    expected = Predictor(Convolution(3), PLAN, options).predict(volume)
    notes: list[str] = []
    engine = Full(Convolution(3), holds=3, error=error)
    found = Predictor(engine, PLAN, options, notice=notes.append).predict(volume)
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert engine.seen[:3] == [8, 4, 2], "halved until it fits"
    assert sum(n for n in engine.seen if n <= 3) == 4**3, "every window passes once"
    assert [note.split(": ")[1] for note in notes] == ["4 windows pass at a time", "2 windows pass at a time"]


@pytest.mark.parametrize("mirror", [False, True])
def test_where_not_even_one_window_fits_the_processor_computes(mirror: bool) -> None:
    volume, options = make_volume((12, 9, 8)), PredictOptions(mirror=mirror)
    notes: list[str] = []
    found = Predictor(Full(Convolution(3), 0, device="meta"), PLAN, options, notice=notes.append).predict(volume)
    np.testing.assert_array_equal(found.labels, Predictor(Convolution(3), PLAN, options).predict(volume).labels)
    assert notes[-1].endswith("the processor computes")
    with pytest.raises(torch.OutOfMemoryError):
        Predictor(Full(Convolution(3), 0), PLAN).predict(volume)


def test_the_next_scan_begins_with_what_was_asked_for_and_each_thing_is_told_once() -> None:
    engine, notes = Full(Convolution(3), 0, device="meta"), list[str]()
    predictor = Predictor(engine, PLAN, PredictOptions(windows_per_forward=2), notice=notes.append)
    for _ in range(2):
        predictor.predict(make_volume((8, 8, 8)))
    assert engine.seen == [1, 1], "asked anew for the second scan, which is one window"
    assert len(notes) == 1
    predictor.members.memory.begin()
    assert predictor.members.memory.engine is engine
    assert predictor.members.memory.at_once == 2


def test_the_engine_on_the_processor_is_a_copy() -> None:
    network = Convolution(3)
    copied = EagerEngine(network).on_processor()
    assert isinstance(copied, EagerEngine)
    assert copied._network is not network
    image = make_volume((8, 8, 8)).array[None]
    assert torch.equal(copied(torch.from_numpy(image)), network(torch.from_numpy(image)))


def test_what_collects_is_halved_then_moved_before_the_network_is() -> None:
    notes, collected = list[str](), [Collected(), Collected()]
    memory = Memory(Full(Convolution(3), 0, device="meta"), 1, notes.append)
    for one in collected:
        memory.collects(one)
    members = Members(memory, 3, [()])
    assert members(torch.zeros(1, 1, 8, 8, 8)).device.type == "cpu"
    assert [note.split(": ")[1] for note in notes] == [
        "results are collected in half precision",
        "results are collected in the computer's own",
        "the processor computes",
    ]
    assert [one.asked for one in collected] == [["halve", "halve", "cpu"]] * 2


@pytest.mark.parametrize(("failures", "told"), [(1, ["half precision"]), (2, ["half precision", "computer's own"])])
def test_finished_rows_that_do_not_fit_are_made_where_they_do(
    monkeypatch: pytest.MonkeyPatch, failures: int, told: list[str]
) -> None:
    volume, notes = make_volume((20, 12, 8)), list[str]()
    expected = Predictor(Convolution(3), PLAN).predict(volume)
    monkeypatch.setattr("maskmatch_med.inference.stream.Ring", CardRing)
    monkeypatch.setattr(CardRing, "failures", failures)
    found = Predictor(Convolution(3), PLAN, notice=notes.append).predict(volume)
    assert CardRing.failures == 0
    assert [note.removesuffix(part) != note for note, part in zip(notes, told, strict=True)] == [True] * len(told)
    assert (found.labels == expected.labels).mean() > 0.99


def test_a_ring_that_does_not_fit_is_made_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Picky(Ring):
        def __init__(self, channels: int, plane: tuple[int, ...], importance: Tensor, device: torch.device) -> None:
            asked.append(device.type)
            if device.type != "cpu":
                raise torch.OutOfMemoryError
            super().__init__(channels, plane, importance, device)

    monkeypatch.setattr("maskmatch_med.inference.stream.Ring", Picky)
    monkeypatch.setattr(Predictor, "_collecting_device", lambda self, needed: CARD)
    volume = make_volume((12, 9, 8))
    found = Predictor(Convolution(3), PLAN).predict(volume)
    assert asked == ["meta", "cpu"]
    monkeypatch.undo()
    np.testing.assert_array_equal(found.labels, Predictor(Convolution(3), PLAN).predict(volume).labels)


def test_work_on_tensors_goes_to_the_host_where_their_device_is_full() -> None:
    there = SimpleNamespace(device=CARD, cpu=lambda: torch.ones(2))

    def total(tensors: Any) -> float:
        if tensors[0].device.type != "cpu":
            raise torch.OutOfMemoryError
        return float(sum(one.sum() for one in tensors))

    assert where_there_is_room(total, [there, there]) == 4  # type: ignore[list-item]
    with pytest.raises(MemoryError):
        where_there_is_room(_fail_for_memory, [torch.ones(2)])
    with pytest.raises(ValueError, match="not of memory"):
        where_there_is_room(_fail_otherwise, [there])  # type: ignore[list-item]


def _fail_for_memory(tensors: Any) -> None:
    raise MemoryError


def _fail_otherwise(tensors: Any) -> None:
    raise ValueError("not of memory")


def test_a_coarse_look_shares_what_was_given_up() -> None:
    volume, options, notes = make_volume((48, 24, 24)), PredictOptions(locate=True), list[str]()
    expected = Predictor(Convolution(3), PLAN, options).predict(volume)
    engine = Full(Convolution(3), 0, device="meta")
    found = Predictor(engine, PLAN, options, notice=notes.append).predict(volume)
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert engine.seen == [4, 2, 1], "asked in the coarse look alone"
    assert notes[-1].endswith("the processor computes")


def test_what_a_failed_pass_held_is_free_when_something_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[weakref.ref[Tensor]] = []

    class Hungry(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            activations = torch.zeros(1000)
            held.append(weakref.ref(activations))
            raise torch.OutOfMemoryError("CUDA out of memory")

    def relieve(self: Memory, passed: int) -> bool:
        assert held[-1]() is None, "the traceback keeps it"
        return False

    monkeypatch.setattr(Memory, "_relieve_engine", relieve)
    with pytest.raises(torch.OutOfMemoryError):
        Predictor(Hungry(), PLAN).predict(make_volume((8, 8, 8)))


def test_compiled_fills_up_windows_until_they_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, holds = list[int](), [2]

    def compiled(network: nn.Module, **how: object) -> Any:
        def call(windows: Tensor) -> Any:
            seen.append(windows.shape[0])
            if windows.shape[0] > holds[0]:
                raise torch.OutOfMemoryError
            return network(windows)

        return call

    monkeypatch.setattr(torch, "compile", compiled)
    engine: Engine = CompiledEngine(Convolution(3))
    one, three = torch.randn(1, 1, 8, 8, 8), torch.randn(3, 1, 8, 8, 8)
    assert torch.allclose(engine(one), Convolution(3)(one), atol=1e-5)
    assert engine(three).shape == (3, 3, 8, 8, 8)
    assert seen == [2, 2, 2]
    holds[0] = 1
    assert torch.allclose(engine(one), Convolution(3)(one), atol=1e-5)
    assert torch.allclose(engine(three), Convolution(3)(three), atol=1e-5)
    assert seen[3:] == [2, 1, 1, 1, 1]
    holds[0] = 0
    with pytest.raises(torch.OutOfMemoryError):
        engine(one)
