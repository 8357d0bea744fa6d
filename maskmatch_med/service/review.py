"""Review: the predictions that wait for eyes, the most doubtful first, and what people decide on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from maskmatch_med.errors import InputError, MaskMatchError, StudyError
from maskmatch_med.ranking import Doubt, LabelNorm, Observed, StructureShape, doubts_of, total
from maskmatch_med.service.label import accept_prediction, start_from_prediction
from maskmatch_med.service.observed import Looking, PredictionFacts, label_facts, prediction_facts
from maskmatch_med.service.predictions import Predictions
from maskmatch_med.study import Case, Drafts, LabelVersion, Study
from maskmatch_med.study.verdicts import Verdict, add_verdict, prediction_path
from maskmatch_med.study.versions import withdraw_version

_MOST_REASONS = 2
_NO_DOUBT = "Nothing speaks against it; a look is enough"
_UNKNOWN = "Its shapes are usual; how sure its maker was is not known: look at every slice"
_NOT_MEASURED = "Not measured yet"
StudyPath = Study | Path | str
Shapes = Mapping[str, StructureShape]


@dataclass(frozen=True)
class ReviewItem:
    """A prediction that nobody has decided on.

    Args:
        case: the scan.
        model: whose prediction it is, the newest of the scan; a model's name, or that of masks from elsewhere.
        score: 0 to 1, higher needs eyes more; it orders, and is no probability.
        reason: why, in words.
        previous_model: whose prediction was there before; None where none was.
        has_uncertainty: whether the model has told where it is unsure.
        measured: whether it was looked at already; the others come last, and are looked at by the next calls.
        usable: whether it fits the scan and the classes; else it can only be rejected.
    """

    case: str
    model: str
    score: float
    reason: str
    previous_model: str | None
    has_uncertainty: bool
    measured: bool
    usable: bool


def review_queue(study: StudyPath, seconds: float | None = None) -> list[ReviewItem]:
    """The scans without a complete label whose newest prediction nobody has accepted or rejected.

    A scan comes back when it is predicted anew. What a prediction is like is computed once and kept in the cache.

    Args:
        study: the study.
        seconds: how long predictions may be looked at that are not known yet; as long as it takes by default.

    Returns:
        What most needs eyes first; of equals in order of their names.

    Raises:
        StudyError: there is no study.
    """
    opened = _opened(study)
    predictions, looking = Predictions.of(opened), Looking(seconds)
    cases = opened.cases()
    waiting = [case for case in cases if _waits(case, predictions)]
    if not waiting:
        return []
    labelled = _labels(opened, cases, looking)
    seen = {
        case.name: prediction_facts(opened, case, model, predictions.previous(case.name), looking)
        for case in waiting
        if (model := predictions.newest(case.name)) is not None
    }
    norms = _norms(labelled, seen, predictions)
    items = [_item(case, predictions, seen[case], norms) for case in seen]
    return sorted(items, key=lambda item: (not item.measured, -item.score, item.case))


def accept_reviewed(study: StudyPath, case: str, model: str, author: str = "") -> LabelVersion:
    """Take a prediction as the complete label of a scan, and record that somebody has accepted it.

    Raises:
        InputError: there is no such prediction, or it does not fit the scan or the classes.
        StudyError: the study cannot be written.
    """
    opened = _opened(study)
    version = accept_prediction(opened.root, case, model, author)
    add_verdict(opened, case, model, "accepted", "", author)
    return version


def withdraw_acceptance(study: StudyPath, case: str, model: str, version: str, author: str = "") -> None:
    """Take an acceptance back: the scan has the label of before, or none, and its prediction waits again.

    Args:
        study: the study.
        case: the scan.
        model: whose prediction was accepted.
        version: the label version that came of it, as :func:`accept_reviewed` gave it.
        author: who takes it back.

    Raises:
        InputError: that version is not the label of now, or did not come of that prediction.
        StudyError: something was painted since, or the study cannot be written.
    """
    opened = Study.open(_opened(study).root)
    with opened.editing():
        label = opened.case(case).label
        if label is None or (label.version, label.model) != (version, model):
            raise InputError(
                f"the label of {case} is no longer the accepted prediction of {model}; nothing was changed"
            )
        if case in Drafts(opened).unsaved():
            raise StudyError(f"somebody has painted on {case} since it was accepted; nothing was changed")
        withdraw_version(opened.root, case, version)
        add_verdict(opened, case, model, "withdrawn", "", author)


def reject_prediction(study: StudyPath, case: str, model: str, reason: str, author: str = "") -> Verdict:
    """Record that a prediction is not usable; it stays where it is, and leaves the queue until it is made anew.

    Args:
        study: the study.
        case: the scan.
        model: whose prediction it is.
        reason: why, in the reader's words.
        author: who says so.

    Raises:
        InputError: there is no such prediction.
        StudyError: the study cannot be written.
    """
    return add_verdict(_opened(study), case, model, "rejected", reason, author)


def begin_correction(study: StudyPath, case: str, model: str, author: str = "") -> None:
    """Lay a prediction under the draft of a scan, for somebody to correct; what is judged already stays.

    A draft that was begun from the same prediction goes on as it is.

    Raises:
        InputError: there is no such prediction, or it does not fit the scan or the classes.
        StudyError: the study cannot be written.
    """
    opened = _opened(study)
    made = prediction_path(opened, case, model).stat().st_mtime
    draft = Drafts(opened).open(case)
    if draft.model != model or datetime.fromisoformat(draft.saved).timestamp() < made:
        start_from_prediction(opened, case, draft.revision, model, author)


def _opened(study: StudyPath) -> Study:
    return study if isinstance(study, Study) else Study.at(Path(study))


def _waits(case: Case, predictions: Predictions) -> bool:
    done = case.label is not None and case.label.complete
    return not done and predictions.newest(case.name) is not None and predictions.verdict(case.name) is None


def _labels(study: Study, cases: Sequence[Case], looking: Looking) -> list[Shapes]:
    """The structures of the complete labels; of those that can be read and were reached in time."""
    found = list[Shapes]()
    for case in cases:
        with suppress(MaskMatchError):
            if (facts := label_facts(study, case, looking)) is not None:
                found.append(facts.shapes)
    return found


def _item(
    case: str, predictions: Predictions, facts: PredictionFacts | None, norms: Mapping[str, LabelNorm]
) -> ReviewItem:
    model = predictions.newest(case) or ""
    score, reason = 0.0, _NOT_MEASURED
    if facts is not None and facts.problem:
        score, reason = 1.0, f"It cannot be used: {facts.problem}"
    elif facts is not None:
        doubts = doubts_of(Observed(facts.shapes, facts.uncertainty, facts.previous), norms[model])
        score, reason = total(doubts), _in_words(doubts, is_known=facts.uncertainty is not None)
    return ReviewItem(
        case=case,
        model=model,
        score=score,
        reason=reason,
        previous_model=predictions.previous(case),
        has_uncertainty=facts is not None and facts.uncertainty is not None,
        measured=facts is not None,
        usable=facts is None or not facts.problem,
    )


def _in_words(doubts: Sequence[Doubt], *, is_known: bool) -> str:
    reasons = [doubt.reason for doubt in doubts if doubt.reason]
    if not reasons:
        return _NO_DOUBT if is_known else _UNKNOWN
    more = len(reasons) - _MOST_REASONS
    told = "; ".join(reasons[:_MOST_REASONS]) + (f"; and {more} more" if more > 0 else "")
    return told[0].upper() + told[1:]


def _norms(
    labelled: Sequence[Shapes], seen: Mapping[str, PredictionFacts | None], predictions: Predictions
) -> dict[str, LabelNorm]:
    """Of each model what is usual in the study and in its own segmentations that wait."""
    by_model: dict[str, list[PredictionFacts]] = {}
    for case, facts in seen.items():
        if facts is not None and not facts.problem:
            by_model.setdefault(predictions.newest(case) or "", []).append(facts)
    return {
        model: LabelNorm(
            labelled,
            [one.uncertainty for one in found if one.uncertainty is not None],
            [one.shapes for one in found],
        )
        for model, found in by_model.items()
    }
