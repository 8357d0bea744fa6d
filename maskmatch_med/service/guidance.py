"""The one thing that brings a study forward most, whatever state it is in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maskmatch_med.service.browsing import Round, ScanEntry, StudyPage
from maskmatch_med.service.jobs import JobState, job_states
from maskmatch_med.service.predictions import Predictions
from maskmatch_med.study import Study
from maskmatch_med.study.drafts import Drafts

StepKind = Literal["add", "label", "train", "wait", "failed", "paused", "predict", "review", "export"]
_ENOUGH_TO_TRAIN = 2
_FEWEST_NEW_LABELS = 3


@dataclass(frozen=True)
class NextStep:
    """What to do now.

    Args:
        kind: which door it is.
        title: in a few words, for a button.
        text: why, in a sentence.
        scan: the scan that it is about; None where it is about no single one.
        model: the model that it is about; None where there is none.
    """

    kind: StepKind
    title: str
    text: str
    scan: str | None = None
    model: str | None = None


def next_step(root: Path, page: StudyPage) -> NextStep:
    """What to do next in a study.

    Args:
        root: the study.
        page: what :func:`maskmatch_med.service.browse` says of it.
    """
    if not page.scans:
        return NextStep("add", "Add scans", "The study holds no scan yet.")
    waiting = _to_review(root, page)
    return (
        _step_of_jobs(job_states(root), page)
        or (None if waiting else _step_to_labels(root, page))
        or _step_to_model(page, waiting)
        or _step_to_review(page, waiting)
        or _step_to_end(page)
    )


def minutes_in_words(minutes: float) -> str:
    """Such as ``12 minutes`` or ``1.5 hours``."""
    if minutes < 1:
        return "less than a minute"
    if minutes < 90:
        whole = round(minutes)
        return f"{whole} minute" + ("s" if whole != 1 else "")
    return f"{minutes / 60:.2g} hours"


def _step_of_jobs(jobs: Sequence[JobState], page: StudyPage) -> NextStep | None:
    """Work that runs, waits, was paused, or has failed and nothing was labelled since; ``jobs`` newest first."""
    for job in jobs:
        if job.status == "running":
            what = "Training" if job.doing != "Predicting" and job.kind == "train" else "Segmenting"
            left = "" if job.minutes_left is None else f": {minutes_in_words(job.minutes_left)} left"
            return NextStep("wait", f"{what} runs{left}", _ON_ITS_OWN, model=job.model)
    if any(job.status == "waiting" for job in jobs):
        return NextStep("wait", "Work waits for its turn", _ON_ITS_OWN, model=jobs[0].model)
    newest = jobs[0] if jobs else None
    if newest is None:
        return None
    what = "training" if newest.kind == "train" else "segmenting"
    if newest.status == "paused":
        return NextStep("paused", f"Resume the {what}", f"{newest.title} was paused and goes on where it ended.")
    if newest.status in {"failed", "died"} and not _labelled_since(page, newest.ended or newest.queued):
        why = newest.message or f"{newest.title} ended before its time."
        return NextStep("failed", f"Look at the failed {what}", why[0].upper() + why[1:], model=newest.model)
    return None


_ON_ITS_OWN = "It goes on when this page is closed. Painting and reviewing can go on meanwhile."


def _step_to_labels(root: Path, page: StudyPage) -> NextStep | None:
    """The first labels, until there are enough to train on."""
    labelled, total = len(_labelled(page)), len(page.scans)
    if labelled >= _ENOUGH_TO_TRAIN or page.rounds:
        return None
    begun = [scan.name for scan in page.scans if scan.state == "partial"]
    begun += [name for name in Drafts(Study.at(root)).unsaved() if name not in begun]
    if begun and (labelled == 0 or total == 1):
        return NextStep("label", f"Go on labelling {begun[0]}", "What was painted so far is kept.", scan=begun[0])
    if labelled == 0:
        if total == 1:
            return NextStep("label", "Label the scan", "The only scan has no label yet.")
        return NextStep(
            "label", "Label the first scan", f"None of the {total} scans has a label yet; a few are enough."
        )
    if total == 1:
        return NextStep("add", "Add more scans", "The only scan has its label; add those that a model shall segment.")
    text = f"1 of {total} scans has a label; a model that learns from two or more is far more reliable."
    return NextStep("label", "Label a second scan", text)


def _step_to_model(page: StudyPage, waiting: int) -> NextStep | None:
    """Train the first model, or the next where the labels have doubled or nothing waits for review."""
    labelled, total = len(_labelled(page)), len(page.scans)
    if not page.rounds:
        if waiting:
            return None
        have = "has" if labelled == 1 else "have"
        told = f"{labelled} of {total} scans {have} a label; training learns from the other {total - labelled} as well."
        return NextStep("train", "Train a model", told if labelled < total else f"All {total} scans have a label.")
    newest = page.rounds[-1]
    new = _new_labels(page, newest)
    if not (_open_scans(page) and new):
        return None
    if not waiting or new >= max(_FEWEST_NEW_LABELS, newest.labelled):
        scans = "1 label is" if new == 1 else f"{new} labels are"
        return NextStep("train", "Train again", f"{scans} new since {newest.model} was trained.", model=newest.model)
    return None


def _step_to_review(page: StudyPage, waiting: int) -> NextStep | None:
    newest = page.rounds[-1].model if page.rounds else None
    missing = [scan for scan in _open_scans(page) if newest is not None and newest not in scan.predicted_by]
    if missing and page.rounds[-1].short and not waiting:
        told = f"The training of {newest} was too short to expect anything useful; give the next one more minutes."
        return NextStep("train", "Train longer", told, model=newest)
    if missing and newest is not None:
        told = "1 scan is" if len(missing) == 1 else f"{len(missing)} scans are"
        return NextStep("predict", "Segment the rest", f"{told} not yet segmented by the model {newest}.", model=newest)
    if waiting:
        told = "1 segmentation waits" if waiting == 1 else f"{waiting} segmentations wait"
        return NextStep("review", "Review the segmentations", f"{told} for your eyes, the most doubtful first.")
    return None


def _step_to_end(page: StudyPage) -> NextStep:
    left = _open_scans(page)
    if left:
        told = "1 scan is" if len(left) == 1 else f"{len(left)} scans are"
        return NextStep("label", "Label the rest", f"{told} not labelled in full yet, and nothing waits for review.")
    whole = (
        f"All {len(page.scans)} scans have a complete label." if len(page.scans) > 1 else "The only scan has its label."
    )
    return NextStep("export", "Export the results", whole)


def _labelled(page: StudyPage) -> list[ScanEntry]:
    return [scan for scan in page.scans if scan.label_version is not None]


def _open_scans(page: StudyPage) -> list[ScanEntry]:
    """Those without a complete label."""
    return [scan for scan in page.scans if scan.state not in {"labelled", "accepted"}]


def _to_review(root: Path, page: StudyPage) -> int:
    """How many scans wait on the page Review: without a complete label, and nobody has decided on their prediction."""
    predictions = Predictions.of(Study.at(root))
    names = [scan.name for scan in _open_scans(page)]
    return sum(predictions.newest(name) is not None and predictions.verdict(name) is None for name in names)


def _new_labels(page: StudyPage, newest: Round) -> int:
    """Scans whose label is newer than the model, or that it did not learn from."""
    return max(_labelled_since(page, newest.begun), len(_labelled(page)) - newest.labelled)


def _labelled_since(page: StudyPage, when: str) -> int:
    return sum(scan.labelled_at is not None and scan.labelled_at > when for scan in page.scans)
