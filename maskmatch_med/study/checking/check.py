"""Go through a study once, one scan in memory at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from maskmatch_med.errors import InputError, NewerError, StudyError
from maskmatch_med.io import LabelMap
from maskmatch_med.progress import Progress
from maskmatch_med.study.case import Case
from maskmatch_med.study.checking.cohort import cohort_findings
from maskmatch_med.study.checking.files import study_findings
from maskmatch_med.study.checking.finding import REPAIR, Finding, in_order
from maskmatch_med.study.checking.measures import Measures, measure
from maskmatch_med.study.checking.scans import label_findings, read_label, scan_findings, source_findings
from maskmatch_med.study.study import Study
from maskmatch_med.volume import Volume

Look = Callable[[Case, Volume, LabelMap | None], None]
"""Sees each readable scan, with its label where that fits, while it is in memory."""


def check_study(root: Path, progress: Progress | None = None, look: Look | None = None) -> list[Finding]:
    """Read every scan and label of a study and list what is wrong, errors first. Nothing is written.

    Args:
        root: the study.
        progress: called with (done, total, what).
        look: called with each scan that can be read.

    Raises:
        StudyError: the folder is no study.
    """
    study = Study.at(root)
    findings = list(study_findings(study))
    measured: list[Measures] = []
    names = study.folder.names()
    for done, name in enumerate(names):
        if progress is not None:
            progress(done, len(names), f"checking {name}")
        found, taken = _check_case(study, name, look)
        findings += found
        measured += [taken] if taken else []
    if progress is not None:
        progress(len(names), len(names), "")
    findings += cohort_findings(measured, study.channel_names, study.label_names)
    return in_order(findings)


def _check_case(study: Study, name: str, look: Look | None) -> tuple[list[Finding], Measures | None]:
    try:
        case = study.case(name)
        scan = case.read_image()
        found = list(scan_findings(case, scan))
        found += source_findings(study.folder.source_or_image(name), name, found)
    except NewerError as error:
        return [Finding("error", name, str(error), "update the program")], None
    except StudyError as error:
        return [Finding("error", name, str(error), REPAIR)], None
    except InputError as error:
        return [Finding("error", name, str(error), "replace the file, or remove the case")], None
    problem = study.view().edit_problem(name)
    if problem:
        todo = "correct the file, or delete it to get the last version back"
        found.append(Finding("error", name, problem, todo, "labels"))
    label, unusable = read_label(study, case)
    found += [unusable] if unusable else []
    found += label_findings(study, case, label, scan.geometry)
    if look is not None:
        look(case, scan, label if label is not None and label.geometry.same_grid(scan.geometry) else None)
    return found, measure(case, scan, label, study.label_names)
