"""The colours of structures, as people see them who lack one kind of cone."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from maskmatch_med.evaluation.pictures import PALETTE

# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency", 2009,
# severity 1.0, on linear RGB.
SEEN_BY = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
LEAST = {"all cones": 15.0, "protanopia": 15.0, "deuteranopia": 15.0, "tritanopia": 10.0}


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])


def _linear(rgb: np.ndarray) -> np.ndarray:
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _encoded(linear: np.ndarray) -> np.ndarray:
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def _luminance(colour: str) -> float:
    return float(_linear(_rgb(colour)) @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("eye", SEEN_BY)
def test_structures_differ_for_every_eye(eye: str) -> None:
    seen = [rgb2lab(_encoded(np.array(SEEN_BY[eye]) @ _linear(_rgb(colour)))) for colour in PALETTE]
    apart = {pair: float(deltaE_ciede2000(seen[pair[0]], seen[pair[1]])) for pair in combinations(range(8), 2)}
    worst = min(apart, key=apart.__getitem__)
    assert apart[worst] >= LEAST[eye], (PALETTE[worst[0]], PALETTE[worst[1]])


def test_structures_stand_out_from_black_and_from_grey() -> None:
    for colour in PALETTE:
        assert (_luminance(colour) + 0.05) / 0.05 >= 3.0, colour
        assert np.hypot(*rgb2lab(_rgb(colour))[1:]) >= 30.0, colour
