"""The temperature that makes a model's probabilities fit held-out labels best.

Guo et al., On calibration of modern neural networks, ICML 2017: the T that minimises the mean negative logarithm of the
probability of the true class. With b = 1/T this is ``logsumexp(b log p) - b log p_true``, convex in b, so a bounded
search over log T finds the least there is. What a temperature does is in :mod:`maskmatch_med.inference.temperature`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from maskmatch_med.errors import InputError
from maskmatch_med.inference.temperature import LEAST_PROBABILITY
from maskmatch_med.io.labels import UNJUDGED

LEAST, GREATEST = 0.05, 20.0
"""Temperatures that are looked at; a model that errs nowhere gets the least, one that knows nothing the greatest."""
MOST_VOXELS = 20_000
"""Voxels of a scan that are counted, which bounds memory at some megabytes a scan."""


def drawn_voxels(
    probabilities: NDArray[np.float32], reference: NDArray[np.uint8], seed: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Judged voxels of one scan, at most ``MOST_VOXELS`` of them, each as likely as any other.

    Args:
        probabilities: (K, X, Y, Z) of the part of a scan that counts.
        reference: (X, Y, Z) uint8; 255 = not judged, left out.
        seed: the same number draws the same voxels.

    Returns:
        Probabilities (K, N) and true classes (N,).
    """
    judged = np.flatnonzero(reference.ravel() != UNJUDGED)
    if judged.size > MOST_VOXELS:
        judged = np.sort(np.random.default_rng(seed).choice(judged, MOST_VOXELS, replace=False))
    return probabilities.reshape(probabilities.shape[0], -1)[:, judged], reference.ravel()[judged]


def negative_log_likelihood(
    probabilities: NDArray[np.float32], true_classes: NDArray[np.uint8], temperature: float
) -> float:
    """Mean over voxels of -log of the tempered probability of the true class, in nats.

    Args:
        probabilities: (K, N), before the temperature.
        true_classes: (N,) 0 to K - 1.
        temperature: above 0.
    """
    scaled = np.log(np.maximum(probabilities, LEAST_PROBABILITY, dtype=np.float64)) / temperature
    of_true = np.take_along_axis(scaled, true_classes[None].astype(np.intp), axis=0)[0]
    return float((logsumexp(scaled, axis=0) - of_true).mean())


def fit_temperature(probabilities: NDArray[np.float32], true_classes: NDArray[np.uint8]) -> float:
    """The temperature between ``LEAST`` and ``GREATEST`` of the least negative log-likelihood.

    Args:
        probabilities: (K, N) of the voxels of all held-out scans.
        true_classes: (N,) 0 to K - 1.

    Raises:
        InputError: there is no voxel, or a class that the probabilities have not.
    """
    if not true_classes.size:
        raise InputError("no voxel of the held-out scans is judged, so there is nothing to fit a temperature to")
    if (highest := int(true_classes.max())) >= probabilities.shape[0]:
        raise InputError(
            f"the labels hold the class {highest}, the model has the classes 0 to {len(probabilities) - 1}"
        )
    found = minimize_scalar(
        lambda log_t: negative_log_likelihood(probabilities, true_classes, math.exp(log_t)),
        bounds=(math.log(LEAST), math.log(GREATEST)),
        method="bounded",
        options={"xatol": 1e-3},
    )
    return float(math.exp(found.x))
