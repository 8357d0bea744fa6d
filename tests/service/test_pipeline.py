"""Scan after scan through one predictor: what is refused lets go of its memory."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from maskmatch_med.errors import InputError
from maskmatch_med.inference import EagerEngine, Predictor
from maskmatch_med.io import find_cases
from maskmatch_med.io.nifti import write_scan
from maskmatch_med.service.pipeline import predict_in_turn
from maskmatch_med.volume import Volume
from tests.inference.test_predictor import Convolution, make_plan, make_volume


class _Short(EagerEngine):
    """Has no memory for the second scan."""

    scans = 0

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        if self.scans == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().__call__(windows)


def test_a_refused_scan_holds_no_memory_and_keeps_no_other_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abcd":
        volume = make_volume((12, 9, 8))
        write_scan(tmp_path / f"{name}.nii.gz", volume.array[0], volume.geometry)
    (tmp_path / "d.nii.gz").write_bytes(b"no scan")
    engine, seen = _Short(Convolution(3)), list[weakref.ref[np.ndarray]]()
    predictor = Predictor(engine, make_plan((1.0, 1.0, 1.0), (8, 8, 8)))
    whole = predictor.predict

    def predict(scan: Volume, *how: object) -> object:
        engine.scans += 1
        seen.append(weakref.ref(scan.array))
        return whole(scan)

    monkeypatch.setattr(predictor, "predict", predict)
    refused = []
    for case, found in predict_in_turn(predictor, find_cases([tmp_path])):
        if isinstance(found, InputError):
            refused.append(found)
        else:
            assert case.name in "ac"
        del found
    gc.collect()
    assert ["needs more memory" in str(error) for error in refused] == [True, False]
    assert [one() is None for one in seen] == [True] * 3
    assert refused[0].__traceback__ is not None, "--debug still shows where"
