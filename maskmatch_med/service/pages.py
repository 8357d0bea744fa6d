"""Where a page may be written: under a page's name, and never among the data of a study."""

from __future__ import annotations

from pathlib import Path

from maskmatch_med.errors import InputError

_ENDINGS = (".html", ".htm")
_DATA_FOLDERS = {"imagesTr", "labelsTr", "history", "sources", "drafts", "cohorts"}


def refuse_as_page(page: Path) -> None:
    """Make sure that writing a page here can replace nothing but a page.

    Raises:
        InputError: it is a folder, its name does not end in .html or .htm, or it lies in a data folder of a study.
    """
    if page.is_dir():
        raise InputError(f"{page} is a folder; name the page, such as {page / 'report.html'}")
    if page.suffix.lower() not in _ENDINGS:
        raise InputError(f"{page} is not the name of a page; expected one that ends in .html or .htm")
    for folder in page.resolve().parents:
        if folder.name in _DATA_FOLDERS and is_study(folder.parent):
            raise InputError(f"{page} lies among the data of a study ({folder}); write the page to another folder")


def is_study(folder: Path) -> bool:
    """Whether a folder has what every study has."""
    return (folder / "sources").is_dir() and (folder / "dataset.json").is_file()
