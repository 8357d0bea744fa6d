"""Temperature scaling of class probabilities.

Guo et al., On calibration of modern neural networks, ICML 2017: logits are divided by one number T > 0 before the
softmax. Of a mean over windows, mirror images and scales there are no logits any more, so the logarithm of the mean
probability takes their place, which differs from logits by a constant a voxel alone:

    p_T(k) = p(k)^(1/T) / sum_j p(j)^(1/T)

T > 1 makes a boastful model more modest, T < 1 a timid one surer. The order of the classes stays, so no label changes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEAST_PROBABILITY = 1e-12
"""Smaller probabilities count as this, so that a 0 has a logarithm."""


def tempered(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Scale class probabilities by a temperature.

    Args:
        probabilities: (K, ...) that sum to 1 over the first axis.
        temperature: T > 0; 1 changes nothing.

    Returns:
        (K, ...) float32 that sum to 1; the same array where T is 1.

    Raises:
        ValueError: T is not a number above 0.
    """
    if not 0 < temperature < np.inf:
        raise ValueError(f"a temperature must be a number above 0, got {temperature}")
    if temperature == 1:
        return probabilities
    powers = np.maximum(probabilities, np.float32(LEAST_PROBABILITY), dtype=np.float32)
    np.log(powers, out=powers)
    powers /= np.float32(temperature)
    powers -= powers.max(axis=0)
    np.exp(powers, out=powers)
    powers /= powers.sum(axis=0)
    return powers
