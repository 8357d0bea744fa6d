"""What people have decided on predictions: ``predictions/MODEL/CASE.review.json``, never overwritten, only added to."""

from __future__ import annotations

from datetime import UTC, datetime
from glob import escape
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, RootModel, ValidationError

from maskmatch_med.errors import InputError, StudyError, not_written
from maskmatch_med.study.admission import check_name
from maskmatch_med.study.records import file_sha256, refuse_newer, save_record
from maskmatch_med.study.study import Study

Decision = Literal["accepted", "rejected", "withdrawn"]
"""``withdrawn`` takes back the decision before it."""
REVIEW_ENDING = ".review.json"
PREDICTION_ENDING = ".nii.gz"


class Verdict(BaseModel):
    """One decision on one prediction.

    Args:
        case: name of the scan.
        model: whose prediction it was.
        verdict: what was decided.
        reason: why, in the reader's words; may be empty.
        author: who decided; may be empty.
        when: UTC in ISO 8601.
        sha256: hash of the prediction's bytes; a decision holds for these alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    case: str
    model: str
    verdict: Decision
    reason: str = ""
    author: str = ""
    when: str
    sha256: str


class _Verdicts(RootModel[tuple[Verdict, ...]]):
    """The decisions on one prediction, oldest first."""


def prediction_path(study: Study, case: str, model: str) -> Path:
    """Where the prediction of a model for a scan lies.

    Raises:
        InputError: there is none, or the names cannot be those of files.
        StudyError: there is no such scan.
    """
    check_name(model, "model")
    path = study.predictions_dir / model / f"{study.case(case).name}{PREDICTION_ENDING}"
    if not path.is_file():
        raise InputError(f"there is no prediction {path}; predict this scan with {model} first")
    return path


def add_verdict(study: Study, case: str, model: str, decision: Decision, reason: str, author: str) -> Verdict:
    """Write a decision beside the prediction that it is about.

    Raises:
        InputError: there is no such prediction.
        StudyError: the study cannot be written, or another process keeps it locked.
    """
    path = prediction_path(study, case, model)
    verdict = Verdict(
        case=case,
        model=model,
        verdict=decision,
        reason=" ".join(reason.split()),
        author=author,
        when=datetime.now(UTC).isoformat(timespec="milliseconds"),
        sha256=file_sha256(path),
    )
    target = _beside(path)
    try:
        with study.lock.held():
            save_record(target, _Verdicts((*_read(target), verdict)))
    except OSError as error:
        raise not_written(study.root, error) from error
    return verdict


def verdicts_of(study: Study, case: str) -> list[Verdict]:
    """All decisions on the predictions of a scan, oldest first.

    Raises:
        StudyError: a record is damaged.
    """
    paths = study.predictions_dir.glob(f"*/{escape(case)}{REVIEW_ENDING}")
    return sorted((one for path in paths for one in _read(path)), key=lambda one: one.when)


def verdict_on(prediction: Path) -> Verdict | None:
    """The last decision on a prediction as it is now; None where there is none, it was withdrawn, or made anew since.

    Raises:
        StudyError: the record is damaged.
    """
    path = _beside(prediction)
    if not path.is_file():
        return None
    found = [one for one in _read(path) if one.sha256 == file_sha256(prediction)]
    return found[-1] if found and found[-1].verdict != "withdrawn" else None


def _beside(prediction: Path) -> Path:
    return prediction.with_name(prediction.name.removesuffix(PREDICTION_ENDING) + REVIEW_ENDING)


def _read(path: Path) -> tuple[Verdict, ...]:
    if not path.is_file():
        return ()
    try:
        return _Verdicts.model_validate_json(path.read_bytes()).root
    except (OSError, ValidationError) as error:
        refuse_newer(path, error)
        raise StudyError(f"the record of decisions {path} is damaged; delete it and review the scan again") from error
