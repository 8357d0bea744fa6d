"""Review: the segmentations that wait for eyes, the most doubtful first; accept, correct, reject or skip each."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from maskmatch_app import failures, look, state
from maskmatch_app.annotator import Overlay, viewer
from maskmatch_app.parts import foreign, history
from maskmatch_app.waiting import level, queue
from maskmatch_med import service
from maskmatch_med.errors import MaskMatchError

_KEYS = {"a": "Accept", "c": "Correct", "r": "Reject", "s": "Skip"}
_ICONS = {
    "Accept": ":material/check:",
    "Correct": ":material/brush:",
    "Reject": ":material/close:",
    "Skip": ":material/skip_next:",
}
_REASONS = ("Wrong place", "Parts missing", "Too much", "Wrong structure", "Left and right", "The scan is bad")
_COLOUR = ("R", "G", "B")
_PATIENCE_S = 2.0
_WAIT_S = 2.0


@st.cache_data(show_spinner="Measuring the segmentations …", max_entries=8)
def measured(root: Path, stamp: tuple[int, ...]) -> list[service.ReviewItem]:
    """The queue; what is not measured in time is measured later."""
    del stamp  # only there so that a change of the files is noticed
    return service.review_queue(root, _PATIENCE_S)


def waiting(root: Path) -> list[service.ReviewItem]:
    """The queue as it is shown: what was skipped comes last."""
    stamp, skipped = service.study_stamp(root), state.skipped()
    found = measured(root, stamp)
    if not all(item.measured for item in found):
        measured.clear(root, stamp)
    return sorted(found, key=lambda item: skipped.index(item.case) if item.case in skipped else -1)


@st.fragment(run_every=_WAIT_S)
def measure_on(root: Path) -> None:
    """Measure the rest while the page is read; then the page comes in its final order."""
    found = service.review_queue(root, _PATIENCE_S)
    done = sum(item.measured for item in found)
    if done == len(found):
        st.rerun()
    st.progress(done / len(found), f"Measuring what needs eyes: {done} of {len(found)}. The order may still change.")


def overlays(item: service.ReviewItem, scan: service.ScanEntry) -> list[Overlay]:
    """What may be laid over the scan; the prediction at once."""
    file = f"{item.case}.nii.gz"
    found = [Overlay(f"Prediction of {item.model}", state.api("predictions", item.model, file))]
    if item.has_uncertainty:
        found.append(Overlay("Uncertainty", state.api("uncertainties", item.model, file), "uncertainty"))
    if item.previous_model is not None:
        address = state.api("differences", item.model, item.previous_model, file)
        found.append(Overlay(f"Difference to {item.previous_model}", address, "difference"))
        found.append(
            Overlay(f"Prediction of {item.previous_model}", state.api("predictions", item.previous_model, file))
        )
    if scan.label_version is not None:
        found.append(Overlay("What is labelled so far", state.api("labels", file)))
    return found


def act(root: Path, word: str, item: service.ReviewItem) -> None:
    """Do what a key or button says, then turn to the next."""
    if word == "Skip":
        state.skip(item.case)
        st.rerun()
    if word == "Reject":
        state.ask_rejection(item.case)
        st.rerun()
    accepted = None
    try:
        if word == "Accept":
            version = service.accept_reviewed(root, item.case, item.model, state.author())
            accepted = (item.case, item.model, version.version)
        elif word == "Correct":
            service.begin_correction(root, item.case, item.model, state.author())
    except (MaskMatchError, OSError) as error:
        st.error(look.plain(failures.in_words(error)), icon=":material/error:")
        return
    if word == "Correct":
        state.skip(item.case)
        there = {"study": state.study_key() or "", "scan": item.case, "from": "review"}
        st.switch_page("screens/label.py", query_params=there)
    state.leave_review(f"Accepted {item.case}", accepted)
    st.rerun()


def take_back(root: Path) -> None:
    """The door back from the last acceptance: a key is pressed quickly."""
    last = state.last_accepted()
    if last is None or not service.may_write(root):
        return
    case, model, version = last
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="accepted last"):
        st.markdown(f":material/check_circle: **{look.plain(case)}** was accepted.", width="content")
        if not st.button("Undo", key="undo acceptance", icon=":material/undo:"):
            return
    try:
        service.withdraw_acceptance(root, case, model, version, state.author())
    except (MaskMatchError, OSError) as error:
        state.leave_review("Not taken back")
        st.error(look.plain(failures.in_words(error)), icon=":material/error:")
        return
    state.leave_review(f"{case} waits again")
    state.show_scan(case)
    st.rerun()


def keep_all() -> None:
    """The question was closed without an answer."""
    state.ask_rejection(None)


@st.dialog("Why is it rejected?", on_dismiss=keep_all)
def rejection(root: Path, item: service.ReviewItem) -> None:
    """Ask for the reason, and reject."""
    st.markdown(
        f"The segmentation of **{look.plain(item.case)}** by {look.plain(item.model)} is kept, marked as rejected."
    )
    chosen = st.pills("Reason", _REASONS, selection_mode="multi", key=f"reasons {item.case}")
    more = st.text_input("In your own words", key=f"words {item.case}", placeholder="optional")
    yes, no = st.columns(2)
    if yes.button("Reject it", type="primary", icon=":material/close:", width="stretch"):
        reason = "; ".join([*chosen, *([more.strip()] if more.strip() else [])])
        try:
            service.reject_prediction(root, item.case, item.model, reason, state.author())
        except (MaskMatchError, OSError) as error:
            st.error(look.plain(failures.in_words(error)), icon=":material/error:")
            return
        state.ask_rejection(None)
        state.leave_review(f"Rejected {item.case}")
        st.rerun()
    if no.button("Keep it in the queue", width="stretch"):
        state.ask_rejection(None)
        st.rerun()


def bar(item: service.ReviewItem, place: str, able: bool, short: bool) -> str | None:
    """What is in view, why, and the buttons; gives the word of the one that was pressed."""
    word, _ = level(item)
    score = f" · {100 * item.score:.0f} of 100" if item.measured else ""
    pressed = None
    with st.container(key="reviewed"):
        text, doors = st.columns([1, 2.1], gap="small", vertical_alignment="center")
        text.markdown(f"**{look.plain(item.case)}**  \nby {look.plain(item.model)}")
        with doors.container(horizontal=True, horizontal_alignment="right", gap="xsmall"):
            for key, act_word in _KEYS.items():
                barred = act_word != "Skip" and (not able or (not item.usable and act_word != "Reject"))
                if st.button(
                    f"{act_word} · {key.upper()}",
                    key=f"do {act_word}",
                    type="primary" if act_word == "Accept" else "secondary",
                    icon=_ICONS[act_word],
                    disabled=barred,
                ):
                    pressed = act_word
        st.caption(f"{place} · {word}{score} · {look.plain(item.reason)}")
        if short:
            st.warning(
                f"{look.plain(item.model)} was trained far too briefly to expect anything useful of it.",
                icon=":material/timer:",
            )
    return pressed


def desk(root: Path, study: service.StudyPage, items: list[service.ReviewItem]) -> None:
    """The queue beside the scan in view."""
    able = service.may_write(root)
    names = [item.case for item in items]
    at = names.index(state.scan_name(names))
    item = items[at]
    with st.container(key="review"):
        left, right = st.columns([1, 3.6], gap="small")
        with left:
            picked = queue(items, item.case)
        if picked in names and picked != item.case:
            state.show_scan(picked)
            st.rerun()
        with right:
            short = any(one.short for one in study.rounds if one.model == item.model)
            word = bar(item, f"{at + 1} of {len(items)}", able, short)
            scan = next(scan for scan in study.scans if scan.name == item.case)
            channel = "colour" if study.channels == _COLOUR else "0"
            address = state.api("scans", item.case, f"{channel}.nii.gz")
            allowed = {key: f"{verb} {item.case}" for key, verb in _KEYS.items() if able or verb == "Skip"}
            pressed = viewer(address, overlays(item, scan), study.structures, study.colours, allowed, scan.is_raster)
            history.panel(item.case)
    # A key belongs to the scan that it was pressed on, which is another one now where it came late.
    verb, _, of = (pressed or "").partition(" ")
    word = word or (verb if of == item.case else None)
    if word is not None and (item.usable or word in {"Reject", "Skip"}):
        act(root, word, item)
    if state.asked_rejection() == item.case:
        rejection(root, item)


def nothing_waits(root: Path, study: service.StudyPage) -> None:
    """Everything is decided, or no model has segmented anything yet."""
    if not any(scan.predicted_by for scan in study.scans):
        st.info("No model has segmented a scan yet, so there is nothing to review.", icon=":material/info:")
        step = service.next_step(root, study)
        if step.kind == "predict":
            st.markdown(look.plain(step.text))
            if st.button("To the next step", type="primary", icon=":material/arrow_forward:"):
                st.switch_page("screens/home.py")
        elif st.button("Train a model", type="primary", icon=":material/model_training:"):
            st.switch_page("screens/train.py")
        foreign.panel(root, opened=True)
        return
    st.success("Everything is reviewed.", icon=":material/task_alt:")
    step = service.next_step(root, study)
    st.markdown(look.plain(step.text))
    if st.button("To the next step", type="primary", icon=":material/arrow_forward:"):
        st.switch_page("screens/home.py")
    foreign.panel(root, opened=False)


st.html(look.PICTURES / "review.css")
root, study = state.study_root(), state.study_page()
if root is None or study is None or not study.scans:
    st.title("Review", anchor=False)
    st.info(look.none_yet("There is no scan to review yet."), icon=":material/info:")
    if st.button("To the scans", type="primary"):
        st.switch_page("screens/scans.py")
    st.stop()
items = waiting(root)
head, count = st.columns([1, 2], vertical_alignment="bottom")
head.title("Review", anchor=False)
segmented = sum(bool(scan.predicted_by) for scan in study.scans)
if items:
    done = segmented - len(items)
    count.progress(done / segmented, f"{done} of {look.counted(segmented, 'segmentation')} decided, {len(items)} to go")
if said := state.said_in_review():
    st.toast(look.plain(said), icon=":material/check_circle:")
look.read_only(root)
take_back(root)
if not items:
    nothing_waits(root, study)
else:
    desk(root, study, items)
    if not all(item.measured for item in items):
        measure_on(root)
    foreign.panel(root, opened=False)
