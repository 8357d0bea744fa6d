"""MONAI's ``sliding_window_inference`` as a program that segments scans: the peer of `predict` and `peers`."""

from __future__ import annotations

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from numpy.typing import NDArray
from torch import Tensor, nn

from maskmatch_med.data.preprocess import preprocess
from maskmatch_med.inference.engines import half_precision
from maskmatch_med.inference.windows import importance_map
from maskmatch_med.planning import Plan
from maskmatch_med.volume import Volume

_LINEAR = {2: "bilinear", 3: "trilinear"}


class MonaiPredictor:
    """One scale, windows that share half their edge; a whole map of probabilities, then to the scan's own grid.

    Args:
        network: eager PyTorch, in evaluation mode, on the device; in half precision on a card.
        plan: its plan.
        device: where it computes.
    """

    def __init__(self, network: nn.Module, plan: Plan, device: torch.device | str = "cpu") -> None:
        self._network, self._plan, self._device = network, plan, torch.device(device)
        self._weights = importance_map(plan.patch_vox).to(device)

    @torch.inference_mode()
    def predict(self, volume: Volume) -> NDArray[np.uint8]:
        """Labels in file order."""
        made = preprocess(volume, self._plan)
        image, patch = torch.from_numpy(made.image)[None].to(self._device), self._plan.patch_vox
        with half_precision(self._device):
            logits = sliding_window_inference(
                image, patch, 2, self._network, overlap=0.5, mode="gaussian", roi_weight_map=self._weights
            )
        assert isinstance(logits, Tensor)
        maps = logits.float().softmax(1)
        if tuple(maps.shape[2:]) != made.grid.shape:
            maps = nn.functional.interpolate(maps, size=made.grid.shape, mode=_LINEAR[len(made.grid.shape)])
        return made.grid.to_native(maps[0].argmax(0).to(torch.uint8).cpu().numpy())
