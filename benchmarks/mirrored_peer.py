"""nnU-Net's predictor with all mirror images; run by nnU-Net's interpreter, so nothing of ours is imported.

Waits for lines on the standard input, predicts the scan once a line, and answers each with its seconds, so that ours
can take turns with it.
"""

from __future__ import annotations

import json
import sys
import time
from types import SimpleNamespace

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor


def main(words: list[str]) -> None:
    """``NETWORK SCAN LABELS DEVICE CLASSES PATCH…``: a traced network, a preprocessed scan, where to write."""
    network, scan, labels, device, classes, *patch = words
    predictor = nnUNetPredictor(
        tile_step_size=0.5, use_gaussian=True, use_mirroring=True, device=torch.device(device), allow_tqdm=False
    )
    predictor.network = torch.jit.load(network, map_location=device).eval()
    predictor.allowed_mirroring_axes = (0, 1, 2)
    predictor.configuration_manager = SimpleNamespace(patch_size=tuple(int(n) for n in patch))
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=int(classes))
    image = torch.from_numpy(np.load(scan))
    for _ in sys.stdin:
        began = time.perf_counter()
        found = predictor.predict_sliding_window_return_logits(image).float().argmax(0).to(torch.uint8).cpu().numpy()
        seconds = time.perf_counter() - began
        np.save(labels, found)
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
