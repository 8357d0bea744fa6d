"""Which precision trains, and that both learn."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from maskmatch_med.config import TrainConfig
from maskmatch_med.training import precision
from maskmatch_med.training.precision import computes_in_bf16, precision_of

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("units", "native"),
    [
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True, "avx512_bf16": False}, True),
        ({"avx512_f": True}, False),
        ({}, False),
    ],
)
def test_a_processor_computes_in_bf16_where_it_has_units(
    monkeypatch: Any, units: dict[str, bool], native: bool
) -> None:
    monkeypatch.setattr(precision.torch.cpu, "get_capabilities", lambda: units)
    assert computes_in_bf16(CPU) is native
    assert precision_of(TrainConfig(), CPU) == ("bf16" if native else "full")
    assert precision_of(TrainConfig(precision="full"), CPU) == "full"
    assert precision_of(TrainConfig(precision="bf16"), CPU) == "bf16"


def test_other_accelerators_train_in_full() -> None:
    assert precision_of(TrainConfig(), torch.device("mps")) == "full"
