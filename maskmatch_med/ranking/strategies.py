"""Orders in which scans may be labelled. None is claimed to beat another here: that has to be measured on one's scans.

- ``random``: by chance.
- ``foreground-random``: by chance, those in which a model sees foreground first.
- ``uncertainty``: the scans first whose model is least sure in and around what it segments.
- ``diversity``: each next scan is the one that lies farthest, in features, from all that are labelled or taken before
  it (the greedy k-centre of Sener and Savarese, arXiv 1708.00489).
- ``mix``: as ``diversity``, with distances weighted by the rank of the uncertainty.

Chance is a hash of the seed and the scan's name, so an order stays as it is when scans are added or labelled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.errors import InputError

Strategy = Literal["random", "foreground-random", "uncertainty", "diversity", "mix"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
"""The names of the strategies."""
Features = NDArray[np.float64]
_SMALLEST_SPREAD = 1e-9
_LEAST_WEIGHT = 0.5


@dataclass(frozen=True, eq=False)
class Candidate:
    """A scan that may be labelled next.

    Args:
        name: of the scan.
        features: (F,) float64 of the scan; None where they are not known.
        uncertainty: mean of the model's uncertainty in and around what it segments, 0 to 1; None without a model.
        has_foreground: whether a model has found something in it; None without a model.
    """

    name: str
    features: Features | None = None
    uncertainty: float | None = None
    has_foreground: bool | None = None


@dataclass(frozen=True)
class Ranked:
    """A scan at its place in the order.

    Args:
        name: of the scan.
        score: what the strategy goes by, larger first: the chance, the uncertainty, or the distance.
        reason: in words.
    """

    name: str
    score: float
    reason: str


def rank(
    candidates: Sequence[Candidate], labelled: Sequence[Features], strategy: Strategy, seed: int = 0
) -> list[Ranked]:
    """Order scans by a strategy, the one to label next first.

    Args:
        candidates: the scans without a label.
        labelled: features (F,) of the scans with one.
        strategy: one of ``STRATEGIES``.
        seed: of what chance decides.

    Returns:
        Every candidate once; those of which a strategy lacks the numbers come last, by chance.

    Raises:
        InputError: there is no such strategy.
    """
    if strategy not in _ORDERS:
        raise InputError(f"there is no strategy {strategy!r}; choose one of {', '.join(STRATEGIES)}")
    by_chance = sorted(candidates, key=lambda one: (-_chance(seed, one.name), one.name))
    return _ORDERS[strategy](by_chance, labelled, seed)


def _chance(seed: int, name: str) -> float:
    digest = hashlib.blake2b(f"{seed}\n{name}".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big") / 2**56


def _random(by_chance: Sequence[Candidate], labelled: Sequence[Features], seed: int) -> list[Ranked]:
    return [Ranked(one.name, _chance(seed, one.name), "chosen by chance") for one in by_chance]


def _foreground_random(by_chance: Sequence[Candidate], labelled: Sequence[Features], seed: int) -> list[Ranked]:
    words = {
        True: "chosen by chance among scans with foreground",
        None: "chosen by chance; nothing is predicted for it",
    }
    order = sorted(by_chance, key=lambda one: (True, None, False).index(one.has_foreground))
    return [
        Ranked(one.name, _chance(seed, one.name), words.get(one.has_foreground, "the model finds nothing in it"))
        for one in order
    ]


def _uncertainty(by_chance: Sequence[Candidate], labelled: Sequence[Features], seed: int) -> list[Ranked]:
    known = sorted(
        ((one.uncertainty, one) for one in by_chance if one.uncertainty is not None), key=lambda pair: -pair[0]
    )
    rest = [one for one in by_chance if one.uncertainty is None]
    return [Ranked(one.name, value, f"the model's mean uncertainty is {value:.3f}") for value, one in known] + [
        Ranked(one.name, 0.0, "no uncertainty is known of it; maskmatch predict --uncertainty tells") for one in rest
    ]


def _diversity(by_chance: Sequence[Candidate], labelled: Sequence[Features], seed: int) -> list[Ranked]:
    return _spread(by_chance, labelled, np.ones(len(by_chance)))


def _mix(by_chance: Sequence[Candidate], labelled: Sequence[Features], seed: int) -> list[Ranked]:
    values = np.array([one.uncertainty or 0.0 for one in by_chance])
    places = np.searchsorted(np.sort(values), values) / max(1, len(values) - 1)
    return _spread(by_chance, labelled, _LEAST_WEIGHT + (1 - _LEAST_WEIGHT) * places)


_ORDERS: dict[str, Callable[[Sequence[Candidate], Sequence[Features], int], list[Ranked]]] = {
    "random": _random,
    "foreground-random": _foreground_random,
    "uncertainty": _uncertainty,
    "diversity": _diversity,
    "mix": _mix,
}


def _spread(
    candidates: Sequence[Candidate], labelled: Sequence[Features], weights: NDArray[np.float64]
) -> list[Ranked]:
    """Greedy k-centre: the scan with the largest weighted distance to all centres so far is the next centre.

    Without any centre the first is the scan nearest to the middle of all, so that outliers do not come first.
    """
    usable = [at for at, one in enumerate(candidates) if one.features is not None]
    points, centres = _standardised([one.features for one in candidates if one.features is not None], labelled)
    begun = bool(len(centres))
    far = _distances(points, centres).min(axis=1) if begun else -np.linalg.norm(points, axis=1)
    taken, order = np.zeros(len(points), bool), list[Ranked]()
    for _ in points:
        at = int(np.argmax(np.where(taken, -np.inf, far * (weights[usable] if begun else 1))))
        reason = f"differs most from those before it, by {far[at]:.2f}" if begun else "the most usual of all scans"
        order.append(Ranked(candidates[usable[at]].name, float(max(far[at], 0.0)), reason))
        taken[at] = True
        from_it = _distances(points, points[at : at + 1])[:, 0]
        far, begun = (np.minimum(far, from_it) if begun else from_it), True
    rest = [one for one in candidates if one.features is None]
    return order + [Ranked(one.name, 0.0, "it has not been looked at yet") for one in rest]


def _standardised(points: Sequence[Features], centres: Sequence[Features]) -> tuple[Features, Features]:
    """(N, F) and (M, F), each feature centred on its median and divided by its robust spread over all scans."""
    if not points:
        return np.zeros((0, 1)), np.zeros((0, 1))
    both = np.array([*points, *centres])
    middle = np.median(both, axis=0)
    spread = 1.4826 * np.median(np.abs(both - middle), axis=0)
    spread = np.where(spread > _SMALLEST_SPREAD, spread, both.std(axis=0))
    scaled = np.clip((both - middle) / np.where(spread > _SMALLEST_SPREAD, spread, 1.0), -8, 8)
    scaled /= np.sqrt(both.shape[1])
    return scaled[: len(points)], scaled[len(points) :]


def _distances(points: Features, centres: Features) -> Features:
    """(N, M) Euclidean distances."""
    found: Features = np.linalg.norm(points[:, None] - centres[None], axis=2)
    return found
