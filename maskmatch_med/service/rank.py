"""Which scan to label next."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.errors import MaskMatchError
from maskmatch_med.progress import Progress
from maskmatch_med.ranking import Candidate, Ranked, Strategy, rank
from maskmatch_med.service.observed import Looking, prediction_facts, scan_facts
from maskmatch_med.service.predictions import Predictions
from maskmatch_med.study import Case, Drafts, Study

_PATIENCE_S = 1.5
"""How long somebody waits for the next scan while those that nobody has looked at are looked at."""
_BY_FEATURES = {"diversity", "mix"}
Features = NDArray[np.float64]


def rank_scans(
    study: Study | Path | str,
    strategy: Strategy = "foreground-random",
    *,
    seed: int = 0,
    seconds: float | None = None,
    progress: Progress | None = None,
) -> list[Ranked]:
    """Order the scans without a label, the one to label next first.

    No strategy is claimed to beat another; by default scans come by chance, those in which a model sees foreground
    first.

    Args:
        study: the study.
        strategy: see :mod:`maskmatch_med.ranking.strategies`.
        seed: of what chance decides.
        seconds: how long scans may be looked at that are not known yet; as long as it takes by default. Scans that
            were not reached count as unknown, and are looked at by the next call.
        progress: called as ``progress(done, total, case)``.

    Raises:
        StudyError: there is no study.
        InputError: there is no such strategy.
    """
    opened = study if isinstance(study, Study) else Study.at(Path(study))
    predictions, looking = Predictions.of(opened), Looking(seconds)
    cases = opened.cases()
    candidates, labelled = list[Candidate](), list[Features]()
    for done, case in enumerate(cases):
        if progress is not None:
            progress(done, len(cases), case.name)
        features = _features(opened, case, looking) if strategy in _BY_FEATURES else None
        if case.label is None:
            candidates.append(_candidate(opened, case, predictions, features, looking))
        elif features is not None:
            labelled.append(features)
    return rank(candidates, labelled, strategy, seed)


def next_to_label(study: Study | Path | str, after: str | None = None) -> str | None:
    """The scan that most needs labelling.

    First what was begun: scans with unsaved strokes, then partial labels, the oldest first. Then scans whose
    segmentation was rejected, then the others as :func:`rank_scans` orders them. Who leaves a scan with a part of it
    labelled labels in parts, so then partial labels come last.

    Args:
        study: the study.
        after: the scan that somebody has just left; it is not named again.

    Returns:
        Its name; None where every other scan has a complete label.

    Raises:
        StudyError: there is no study.
    """
    opened = study if isinstance(study, Study) else Study.at(Path(study))
    cases = {case.name: case for case in opened.cases()}
    unsaved = [name for name in Drafts(opened).unsaved() if name in cases and name != after]
    if unsaved:
        return unsaved[0]
    partial = sorted(
        (case.label.created, name) for name, case in cases.items() if case.label and not case.label.complete
    )
    begun = [name for _, name in partial if name != after]
    in_parts = after is not None and any(name == after for _, name in partial)
    if begun and not in_parts:
        return begun[0]
    return next(iter([*_fresh(opened, after), *begun]), None)


def _fresh(study: Study, after: str | None) -> list[str]:
    """The scans without any label, in order."""
    order = [one.name for one in rank_scans(study, seconds=_PATIENCE_S) if one.name != after]
    rejected = Predictions.of(study).rejected(order)
    return sorted(order, key=lambda name: name not in rejected)


def _features(study: Study, case: Case, looking: Looking) -> Features | None:
    try:
        facts = scan_facts(study, case, looking)
    except MaskMatchError:
        return None
    return None if facts is None else np.array(facts.features)


def _candidate(
    study: Study,
    case: Case,
    predictions: Predictions,
    features: Features | None,
    looking: Looking,
) -> Candidate:
    newest = predictions.newest(case.name)
    facts = newest and prediction_facts(study, case, newest, predictions.previous(case.name), looking)
    if not facts:
        return Candidate(case.name, features)
    found = any(shape.volume_ml for shape in facts.shapes.values())
    return Candidate(case.name, features, facts.uncertainty, None if facts.problem else found)
