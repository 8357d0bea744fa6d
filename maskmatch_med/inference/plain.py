"""The plain way of predicting, a whole map at a time: written to be read, and to hold the streaming predictor against.

It needs room for the probabilities of all classes on the grid of each scale and on the scan's own. Use
:class:`maskmatch_med.inference.Predictor`.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskmatch_med.data.preprocess import grid_record, normalised
from maskmatch_med.data.resample import resample
from maskmatch_med.inference.expected_dice import expected_dice
from maskmatch_med.inference.options import Prediction
from maskmatch_med.inference.predictor import Predictor
from maskmatch_med.inference.slab import entropy
from maskmatch_med.inference.temperature import tempered
from maskmatch_med.inference.windows import Stitcher, importance_map, pad_to, place_windows
from maskmatch_med.volume import Volume

_LINEAR = {2: "bilinear", 3: "trilinear"}


@torch.inference_mode()
def predict_plainly(predictor: Predictor, volume: Volume) -> Prediction:
    """What ``predictor.predict(volume)`` must give, up to rounding.

    Raises:
        InputError: as ``predict``.
    """
    plan, options = predictor.plan, predictor.options
    grid = grid_record(volume.geometry, plan)
    image = normalised(volume, plan, grid)
    members, within = [], []
    for scale in options.scales:
        target = predictor.scale_grid(grid.spacing_mm, grid.shape, scale)
        made = torch.from_numpy(resample(image, target.shape, target.orders))
        stitched = stitch_plainly(predictor, made, options.overlap_at(scale))
        maps = torch.cat([stitched[: plan.classes].softmax(dim=0), stitched[plan.classes :]])
        if maps.shape[1:] != grid.shape:
            maps = torch.nn.functional.interpolate(maps[None], size=grid.shape, mode=_LINEAR[len(grid.shape)])[0]
        members.append(maps[: plan.classes])
        within.append(entropy(members[-1]) - maps[plan.classes :].sum(dim=0))
    mean = torch.stack(members).mean(dim=0)
    several = len(members) > 1 or len(predictor.flips) > 1
    nats = entropy(mean) - (torch.stack(within).mean(dim=0) if several else 0)
    doubt: NDArray[np.float32] = (nats / math.log(max(plan.classes, 2))).clamp(0, 1).numpy()
    probabilities = tempered(mean.numpy(), options.temperature)
    return Prediction(
        grid.to_native(mean.argmax(dim=0).to(torch.uint8).numpy()),
        grid.to_native(probabilities) if options.probabilities else None,
        grid.to_native(doubt) if options.uncertainty else None,
        expected_dice(mean.numpy(), options.temperature) if options.expected_dice else None,
    )


def stitch_plainly(predictor: Predictor, image: Tensor, overlap: float) -> Tensor:
    """Window-averaged logits of an image (C, *spatial): (K or K + 1, *spatial) float32."""
    plan, options, members = predictor.plan, predictor.options, predictor.members
    padded, original = pad_to(image, plan.patch_vox)
    importance = importance_map(plan.patch_vox, options.importance)
    stitcher = Stitcher(members.channels, padded.shape[1:], importance, torch.device("cpu"))
    for window in place_windows(padded.shape[1:], plan.patch_vox, overlap):
        stitcher.add(window, members(padded[(slice(None), *window)][None])[0])
    return stitcher.mean()[(slice(None), *original)]
