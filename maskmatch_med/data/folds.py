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
    patient (``group``) go to the same side; partly labelled scans always train, and with them their patients. Every
    class that any scan shows keeps at least one training scan that shows it.

    Args:
        cases: labelled scans.
        seed: decides which are held out.
        share: of the complete scans, rounded, to hold out, 0 for none; fewer where no patient's scans fit into what is
            left of it, but one patient at least as long as that is no more than half of the scans and no class's only
            one.

    Returns:
        (train, validation).
    """
    complete = [case for case in cases if case.complete]
    if share == 0 or len(complete) < MINIMUM_TO_VALIDATE:
        return list(cases), []
    patients = _choose(cases, complete, seed, share)
    validation = [case for case in complete if _patient(case) in patients]
    return [case for case in cases if _patient(case) not in patients], validation


def _choose(cases: Sequence[CachedCase], complete: Sequence[CachedCase], seed: int, share: float) -> set[str]:
    """Patients to hold out: in random order, each that still fits; where none does, the one with the fewest scans."""
    scans, partial = Counter(map(_patient, complete)), {_patient(case) for case in cases if not case.complete}
    names = sorted(set(scans) - partial)
    order = [names[index] for index in np.random.default_rng([seed, 7]).permutation(len(names))]
    left, chosen = round(share * len(complete)), set[str]()
    for name in order:
        if scans[name] <= left and _keeps_classes(cases, chosen | {name}):
            chosen.add(name)
            left -= scans[name]
    spare = [name for name in order if 2 * scans[name] <= len(complete) and _keeps_classes(cases, {name})]
    if not chosen and spare:
        chosen = {min(spare, key=lambda name: scans[name])}
    return chosen


def _keeps_classes(cases: Sequence[CachedCase], without: set[str]) -> bool:
    """Whether the scans of the other patients show every class that all scans show."""
    every = {label for case in cases for label in case.voxels}
    return every == {label for case in cases if _patient(case) not in without for label in case.voxels}


def _patient(case: CachedCase) -> str:
    return case.group or case.name
