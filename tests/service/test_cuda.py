"""The same verbs on a CUDA card; skipped where there is none."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from maskmatch_med import service
from maskmatch_med.config import TrainConfig
from maskmatch_med.errors import InputError

needs_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA card")


@needs_card
@pytest.mark.parametrize("method", ["supervised", "maskmatch"])
def test_a_model_trained_on_the_card_predicts_alike_on_both(tiny_study, held_out_scans, tmp_path, method):
    config = TrainConfig(method=method, iterations=6, device="cuda").override({"unlabelled.start": 0.3})
    folder = service.train(tiny_study, config)
    assert folder.metrics()["device"].startswith("cuda")
    for device in ("cuda", "cpu"):
        request = service.PredictRequest(device=device, scales=(0.7, 1.0), mirror=True, probabilities=True)
        service.predict(folder, held_out_scans[0], tmp_path / device, request)
    for path in (tmp_path / "cpu").glob("*_probabilities_*.nii.gz"):
        one, other = (np.asarray(nib.load(tmp_path / d / path.name).dataobj) for d in ("cpu", "cuda"))
        np.testing.assert_allclose(one, other, atol=5e-3)


@needs_card
def test_a_card_that_is_not_there_is_refused(tiny_study):
    with pytest.raises(InputError, match="this machine's GPUs are 0 to"):
        service.train(tiny_study, TrainConfig(device=f"cuda:{torch.cuda.device_count()}", iterations=1))
