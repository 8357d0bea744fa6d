"""Functions of a run's progress, a number from 0 at the start to 1 at the end of its budget."""

from __future__ import annotations

import math


def sigmoid_ramp(progress: float, start: float, length: float) -> float:
    """exp(−5·(1 − x)²) with x running from 0 to 1 over ``length`` after ``start``; exactly 0 before.

    Source: Laine and Aila, Temporal ensembling, ICLR 2017; its use for the unlabelled terms is [ours].
    """
    if progress < start:
        return 0.0
    x = 1.0 if length == 0 else min(1.0, (progress - start) / length)
    return math.exp(-5 * (1 - x) ** 2)


def warm_up_cosine(progress: float, warm_up: float) -> float:
    """Factor on the learning rate: linear from 1/100 to 1 over ``warm_up``, then half a cosine to 0."""
    if progress < warm_up:
        return 0.01 + 0.99 * progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warm_up) / (1 - warm_up))))


def warm_restart(progress: float, warm_up: float, restart_at: float, height: float) -> float:
    """One :func:`warm_up_cosine` until ``restart_at``, then another of this height; one in all where either is 0.

    Source: Loshchilov and Hutter, SGDR, ICLR 2017. [ours] The second begins with the unlabelled terms: a network that
    has come to rest on its labels then moves again.
    """
    if height == 0 or restart_at == 0:
        return warm_up_cosine(progress, warm_up)
    if progress < restart_at:
        return warm_up_cosine(progress / restart_at, warm_up)
    return height * warm_up_cosine((progress - restart_at) / (1 - restart_at), warm_up)
