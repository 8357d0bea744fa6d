"""nnU-Net's predictor with mirror images; run by nnU-Net's interpreter, so nothing of ours is imported.

Waits for lines on the standard input, predicts all scans once a line, and answers ``done``, so that ours can take turns
with it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor


def main(folder: Path) -> None:
    """Serve ``FOLDER``, which holds ``asked.json``, ``network.pt`` and preprocessed scans ``scan_*.npy``."""
    asked = json.loads((folder / "asked.json").read_text(encoding="utf-8"))
    predictor = nnUNetPredictor(
        tile_step_size=0.5,
        use_gaussian=True,
        use_mirroring=True,
        device=torch.device(asked["device"]),
        allow_tqdm=False,
    )
    predictor.network = torch.jit.load(folder / "network.pt", map_location=asked["device"]).eval()
    predictor.allowed_mirroring_axes = tuple(asked["mirror_axes"]) or None
    predictor.configuration_manager = SimpleNamespace(patch_size=tuple(asked["patch"]))
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=asked["classes"])
    images = [torch.from_numpy(np.load(file)) for file in sorted(folder.glob("scan_*.npy"))]
    for _ in sys.stdin:
        for index, (image, shape) in enumerate(zip(images, asked["shapes"], strict=True)):
            np.save(folder / f"labels_{index:03d}.npy", _segmented(predictor, image, shape))
        print("done", flush=True)


def _segmented(predictor: nnUNetPredictor, image: torch.Tensor, shape: list[int]) -> np.ndarray:
    """The labels of one scan (C, *spatial) on a grid of ``shape``; a picture is a scan of one slice to nnU-Net."""
    flat = image.ndim == 3
    logits = predictor.predict_sliding_window_return_logits(image[:, None] if flat else image).float()
    logits = logits[:, 0] if flat else logits
    if list(logits.shape[1:]) != shape:
        mode = "bilinear" if flat else "trilinear"
        logits = torch.nn.functional.interpolate(logits[None], size=shape, mode=mode)[0]
    return logits.argmax(0).to(torch.uint8).cpu().numpy()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
