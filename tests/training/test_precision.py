"""Which precision trains, and that both learn."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from maskmatch_med.config import TrainConfig
from maskmatch_med.training import precision
from maskmatch_med.training.precision import bf16_speed_up, computes_in_bf16, precision_of

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("units", "speed_up", "chosen"),
    [
        ({"avx512_bf16": True}, 1.8, True),
        ({"amx_bf16": True, "avx512_bf16": False}, 6.0, True),
        ({"avx512_bf16": True}, 0.6, False),
        ({"avx512_bf16": True}, 1.1, False),
        ({"avx512_f": True}, 1.8, False),
        ({}, 1.8, False),
    ],
)
def test_a_processor_computes_in_bf16_where_its_units_are_faster(
    monkeypatch: Any, units: dict[str, bool], speed_up: float, chosen: bool
) -> None:
    monkeypatch.setattr(precision.torch.cpu, "get_capabilities", lambda: units)
    monkeypatch.setattr(precision, "bf16_speed_up", lambda: speed_up)
    assert computes_in_bf16(CPU) is chosen
    assert precision_of(TrainConfig(), CPU) == ("bf16" if chosen else "full")
    assert precision_of(TrainConfig(precision="full"), CPU) == "full"
    assert precision_of(TrainConfig(precision="bf16"), CPU) == "bf16"


def test_the_speed_up_is_measured_once_and_leaves_the_threads_alone() -> None:
    bf16_speed_up.cache_clear()
    threads = torch.get_num_threads()
    assert bf16_speed_up() > 0
    assert torch.get_num_threads() == threads
    assert bf16_speed_up() == bf16_speed_up()
    assert bf16_speed_up.cache_info().misses == 1


def test_other_accelerators_train_in_full() -> None:
    assert precision_of(TrainConfig(), torch.device("mps")) == "full"
