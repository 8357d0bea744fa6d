"""Hold labelled scans out for validation, never splitting a patient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskmatch_med.data.cache import CachedCase

MINIMUM_TO_VALIDATE = 10


def hold_out(cases: Sequence[CachedCase], seed: int, share: float = 0.2) -> tuple[list[CachedCase], list[CachedCase]]:
    """Split labelled scans into those to train on and those to validate on.

    Fewer than ten completely labelled scans are too few to spare any: then nothing is held out. All scans of one
    patient (``group``) go to the same side; partly labelled scans always train.

    Args:
        cases: labelled scans.
        seed: decides which are held out.
        share: of the complete scans, rounded, to hold out.

    Returns:
        (train, validation).
    """
    complete = [case for case in cases if case.complete]
    if len(complete) < MINIMUM_TO_VALIDATE:
        return list(cases), []
    groups = sorted({case.group or case.name for case in complete})
    order = np.random.default_rng([seed, 7]).permutation(len(groups))
    wanted, held, patients = round(share * len(complete)), 0, set[str]()
    for index in order:
        if held >= wanted or len(patients) == len(groups) - 1:
            break
        patients.add(groups[index])
        held += sum((case.group or case.name) == groups[index] for case in complete)
    validation = [case for case in complete if (case.group or case.name) in patients]
    train = [case for case in cases if (case.group or case.name) not in patients]
    return train, validation
