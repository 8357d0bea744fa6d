"""Hold labelled scans out for validation, never splitting a patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from maskmatch_med.data.cache import CachedCase

MINIMUM_TO_VALIDATE = 10


def hold_out(cases: Sequence[CachedCase], seed: int, share: float = 0.2) -> tuple[list[CachedCase], list[CachedCase]]:
    """Split labelled scans into those to train on and those to validate on.

    Fewer than ten completely labelled scans are too few to spare any: then nothing is held out. All scans of one
    patient (``group``) go to the same side; partly labelled scans always train, and with them their patients.

    Args:
        cases: labelled scans.
        seed: decides which are held out.
        share: of the complete scans, rounded, to hold out; fewer where no patient's scans fit into what is left of
            it, but one patient at least as long as that is no more than half of the scans.

    Returns:
        (train, validation).
    """
    complete = [case for case in cases if case.complete]
    if len(complete) < MINIMUM_TO_VALIDATE:
        return list(cases), []
    patients = _choose(Counter(map(_patient, complete)), {_patient(c) for c in cases if not c.complete}, seed, share)
    validation = [case for case in complete if _patient(case) in patients]
    return [case for case in cases if _patient(case) not in patients], validation


def _choose(scans: Counter[str], needed: set[str], seed: int, share: float) -> set[str]:
    """Patients to hold out: in random order, each that still fits; where none does, the one with the fewest scans."""
    total = scans.total()
    names = sorted(set(scans) - needed)
    order = [names[index] for index in np.random.default_rng([seed, 7]).permutation(len(names))]
    left, chosen = round(share * total), set[str]()
    for name in order:
        if scans[name] <= left:
            chosen.add(name)
            left -= scans[name]
    if not chosen and order:
        smallest = min(order, key=lambda name: scans[name])
        chosen = {smallest} if 2 * scans[smallest] <= total else set()
    return chosen


def _patient(case: CachedCase) -> str:
    return case.group or case.name
