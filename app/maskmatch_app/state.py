"""The only writer of session state: which study is open, its token, and what the last drop brought."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import cast
from urllib.parse import quote, unquote

import streamlit as st

from maskmatch_app import tokens
from maskmatch_app.shelf import Shelf
from maskmatch_med import service
from maskmatch_med.errors import StudyError

_STUDY, _TOKENS, _INTAKE, _DRAFT = "study", "tokens", "intake", "new_study"
_SCAN, _LEFT, _REMOVAL, _AUTHOR, _TABLE = "scan", "left", "removal", "author", "table"
_LOST, _SEEN, _ROUND = "lost", "seen", "form_round"
_SKIPPED, _REJECTION, _SAID, _MASKS = "skipped", "rejection", "said", "masks"
_DOWNLOAD, _ACCEPTED = "download", "accepted"
AUTHOR_COOKIE = "maskmatch_author"
"""Where the browser keeps the name of who works, percent-encoded."""
_LONGEST_NAME = 80
_THIS_COMPUTER = {None, "localhost", "127.0.0.1", "::1"}


def shelf() -> Shelf:
    """The studies that this server shows."""
    return Shelf.from_environment()


def study_key() -> str | None:
    """The open study: from the address of the page, else the last one, else the only one there is."""
    if st.session_state.get(_LEFT):
        return None
    known = shelf().studies()
    asked = st.query_params.get(_STUDY) or st.session_state.get(_STUDY)
    new = st.session_state.get(_DRAFT, {}).get("name")
    if asked is not None and asked not in known and asked != new:
        st.session_state[_LOST] = asked
    elif asked is not None:
        st.session_state.pop(_LOST, None)
    if asked is None or (asked not in known and asked != new):
        asked = next(iter(known)) if len(known) == 1 and lost_study() is None else None
    st.session_state[_STUDY] = asked
    if asked is not None and st.query_params.get(_STUDY) != asked:
        st.query_params[_STUDY] = asked
    return cast("str | None", asked)


def lost_study() -> str | None:
    """The study that was asked for and is not there: its folder was moved, renamed or removed, or never was."""
    return cast("str | None", st.session_state.get(_LOST))


def open_study(key: str) -> None:
    """Turn to a study."""
    st.session_state.pop(_LOST, None)
    st.session_state[_LEFT] = False
    st.session_state[_STUDY] = key
    st.session_state.pop(_INTAKE, None)
    st.session_state.pop(_SCAN, None)
    st.session_state.pop(_REMOVAL, None)
    st.query_params[_STUDY] = key


def leave_study() -> None:
    """Turn to no study, so that another can be begun."""
    st.session_state[_LEFT] = True
    st.session_state.pop(_LOST, None)
    st.query_params.pop(_STUDY, None)
    st.query_params.pop(_SCAN, None)


def begin_study(name: str, structures: tuple[str, ...]) -> None:
    """Remember a study that is made with its first scans."""
    st.session_state[_DRAFT] = {"name": name, "structures": structures}
    open_study(name)


def new_structures() -> tuple[str, ...] | None:
    """The structures of the study that is about to be made; None where the study exists."""
    draft = st.session_state.get(_DRAFT)
    root = study_root()
    if draft is None or root is None or draft["name"] != study_key() or service.is_study(root):
        return None
    return cast("tuple[str, ...]", draft["structures"])


def study_root() -> Path | None:
    """The folder of the open study; it need not hold a scan yet."""
    key = study_key()
    return None if key is None else shelf().path(key)


def study_page() -> service.StudyPage | None:
    """What the open study holds now; None where there is none, or no scan was ever added."""
    root, key = study_root(), study_key()
    seen: set[str | None] = st.session_state.setdefault(_SEEN, set())
    if root is None or not service.is_study(root):
        if key in seen:
            st.error(
                "The folder of this study is not where it was. Was it moved, or is its disk not connected? "
                "Put it back, then reload this page.",
                icon=":material/folder_off:",
            )
            st.stop()
        return None
    seen.add(key)
    try:
        return _browse(root, service.study_stamp(root))
    except StudyError as error:
        st.error(f"This study cannot be opened: {error}", icon=":material/error:")
        st.stop()


def token() -> str:
    """The token of this session for the open study; one for the whole session, so that no picture is sent twice."""
    key = study_key() or ""
    held: dict[str, str] = st.session_state.setdefault(_TOKENS, {})
    if not tokens.is_good(held.get(key, ""), key):
        held[key] = tokens.sign(key)
    return held[key]


def api(*parts: str) -> str:
    """The address of a route of the open study, with its token."""
    path = "/".join(quote(part, safe="") for part in (study_key() or "", *parts))
    return f"/api/{path}?token={token()}"


def keep_intake(intake: service.Intake | None) -> None:
    """Remember what the last drop brought until the next."""
    st.session_state[_INTAKE] = intake


def last_intake() -> service.Intake | None:
    """What the last drop brought."""
    return cast("service.Intake | None", st.session_state.get(_INTAKE))


def table_page(search: tuple[str, ...], pages: int) -> int:
    """The page of the table of scans, counted from 0; the first after a new search."""
    held = st.session_state.get(_TABLE)
    at = held[1] if held is not None and held[0] == search else 0
    at = max(0, min(at, pages - 1))
    st.session_state[_TABLE] = (search, at)
    return int(at)


def turn_table(page: int) -> None:
    """Turn to another page of the table of scans."""
    st.session_state[_TABLE] = (st.session_state[_TABLE][0], page)


def ask_removal(question: tuple[str, list[service.LabelDefinition]] | None) -> None:
    """Remember that structures somebody has painted shall go, until it is answered."""
    st.session_state[_REMOVAL] = question


def asked_removal() -> tuple[str, list[service.LabelDefinition]] | None:
    """The question that waits for an answer, and the structures as they shall be."""
    return cast("tuple[str, list[service.LabelDefinition]] | None", st.session_state.get(_REMOVAL))


def author() -> str:
    """The name of who works here, for each label that they make: as they gave it, else the login of this computer.

    On a network the login would be that of the server, so there it is empty until somebody gives a name.
    """
    held = st.session_state.get(_AUTHOR)
    if held is None:
        alone = st.get_option("server.address") in _THIS_COMPUTER
        kept = st.context.cookies.get(AUTHOR_COOKIE)
        held = unquote(kept) if isinstance(kept, str) else _login() if alone else ""
        st.session_state[_AUTHOR] = held = _one_line(held)
    return str(held)


def set_author(name: str) -> None:
    """Remember who works here."""
    st.session_state[_AUTHOR] = _one_line(name)


def _one_line(name: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in name).split())[:_LONGEST_NAME]


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # an account without a name, as in some containers
        return ""


def keep_download(root: Path, order: service.ExportOrder, made: service.Download) -> None:
    """Remember the zip of an export, so that its link stays on the page."""
    st.session_state[_DOWNLOAD] = (root, order, service.study_stamp(root), made)


def download_of(root: Path, order: service.ExportOrder) -> service.Download | None:
    """The zip of an export where it was the last to be made and the study has not changed since."""
    kept = st.session_state.get(_DOWNLOAD)
    if kept is None or kept[:3] != (root, order, service.study_stamp(root)):
        return None
    return cast("service.Download", kept[3])


def form_round() -> int:
    """Stands in the keys of the form of structures; another number makes it show what the study says."""
    return int(st.session_state.get(_ROUND, 0))


def clear_form() -> None:
    """Forget what was filled into the form of structures and not saved."""
    st.session_state[_ROUND] = form_round() + 1


def show_scan(name: str) -> None:
    """Turn to a scan."""
    st.session_state[_SCAN] = name


def scan_name(names: list[str]) -> str:
    """The scan in view: from the address, else the last one, else the first."""
    asked = st.session_state.pop(_SCAN, None) or st.query_params.get(_SCAN)
    chosen = asked if asked in names else names[0]
    if st.query_params.get(_SCAN) != chosen:
        st.query_params[_SCAN] = chosen
    return str(chosen)


def skip(name: str) -> None:
    """Put a scan behind the others that wait for review, and turn to the first of them."""
    st.session_state[_SKIPPED] = [*(one for one in skipped() if one != name), name]
    _forget_scan()


def skipped() -> list[str]:
    """The scans that were skipped in this session, the last one last."""
    return list(st.session_state.get(_SKIPPED, []))


def leave_review(said: str, accepted: tuple[str, str, str] | None = None) -> None:
    """A scan was decided on: turn to the next, which says what was done, and lets an acceptance be taken back."""
    st.session_state[_SAID] = said
    st.session_state[_ACCEPTED] = accepted
    _forget_scan()


def said_in_review() -> str | None:
    """What was just decided; told once."""
    return cast("str | None", st.session_state.pop(_SAID, None))


def last_accepted() -> tuple[str, str, str] | None:
    """The scan that was accepted last on the page Review, its model and the label version that came of it."""
    return cast("tuple[str, str, str] | None", st.session_state.get(_ACCEPTED))


def ask_rejection(name: str | None) -> None:
    """Remember that a segmentation shall be rejected, until the reason is given."""
    st.session_state[_REJECTION] = name


def asked_rejection() -> str | None:
    """The scan whose segmentation shall be rejected."""
    return cast("str | None", st.session_state.get(_REJECTION))


def keep_masks(intake: service.MaskIntake | None) -> None:
    """Remember what came of the last masks."""
    st.session_state[_MASKS] = intake


def last_masks() -> service.MaskIntake | None:
    """What came of the last masks."""
    return cast("service.MaskIntake | None", st.session_state.get(_MASKS))


def _forget_scan() -> None:
    st.session_state.pop(_SCAN, None)
    st.query_params.pop(_SCAN, None)


@st.cache_data(show_spinner=False, max_entries=16)
def _browse(root: Path, stamp: tuple[int, ...]) -> service.StudyPage:
    del stamp  # only there so that a change of the files is noticed
    return service.browse(root)
