"""Check a study, with a page to look at."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from maskmatch_med.evaluation.check_page import Gallery, check_page
from maskmatch_med.io.atomic import write_text
from maskmatch_med.progress import Progress
from maskmatch_med.service.pages import refuse_as_page
from maskmatch_med.study import Finding, Study
from maskmatch_med.study import check_study as check_files


def check_study(root: Path | str, progress: Progress | None = None, page: Path | None = None) -> list[Finding]:
    """Read every scan and label of a study and list what is wrong, errors first. Nothing in the study is written.

    Args:
        root: the study.
        progress: called with (done, total, what).
        page: where to write an HTML page with the findings and a picture of every scan; nowhere by default.

    Raises:
        StudyError: the folder is no study.
        InputError: the page is a folder, has not the name of a page, or lies among the data of a study.
    """
    root = Path(root)
    if page is None:
        return check_files(root, progress)
    refuse_as_page(page)
    gallery = Gallery(Study.at(root).label_names)
    findings = check_files(root, progress, gallery.look)
    page.parent.mkdir(parents=True, exist_ok=True)
    shown = [replace(one, message=_without_place(one.message, root)) for one in findings]
    write_text(page, check_page(root.resolve().name, shown, gallery))
    return findings


def _without_place(text: str, root: Path) -> str:
    """A message with files named as they lie in the study: the page may be passed on."""
    if not root.is_absolute():
        return text
    return text.replace(f"{root}{os.sep}", "").replace(str(root), root.name)
