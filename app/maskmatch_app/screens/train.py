"""Train: what the data offers, one button to start, and how the work goes; it outlives this page and the server."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import streamlit as st

from maskmatch_app import look, state
from maskmatch_app.parts import microscope
from maskmatch_app.parts.curves import curves
from maskmatch_app.parts.training_order import attempt, duration, order
from maskmatch_med import service
from maskmatch_med.errors import MaskMatchError

_STATUS = {
    "waiting": ("Waiting", "gray"),
    "running": ("Running", "blue"),
    "paused": ("Paused", "orange"),
    "stopped": ("Stopped and kept", "gray"),
    "done": ("Done", "green"),
    "failed": ("Failed", "red"),
    "died": ("Ended unexpectedly", "red"),
}
_ACTIVE = {"running", "waiting"}


@st.fragment(run_every=2.0)
def live(root: Path, known: Sequence[tuple[str, str]]) -> None:
    """The job that runs, else the newest, and those that wait; looked at anew every two seconds."""
    jobs = service.job_states(root)
    if [(job.id, job.status) for job in jobs] != known:
        st.rerun()
    shown = in_focus(jobs)
    if shown is None:
        st.caption("Nothing has been started from this page yet. Once started, work goes on when it is closed.")
        return
    with st.container(border=True):
        head(root, shown)
        if shown.status == "running":
            progress(shown)
        elif shown.status == "waiting":
            waits(shown)
        if shown.message:
            st.error(look.plain(shown.message), icon=":material/error:")
        if shown.kind == "train":
            too_short(shown)
            lines = service.training_curve(root, shown.model)
            told(lines)
            if lines:
                curves(shown.model, lines)
        log(root, shown)
    for job in jobs:
        if job.status == "waiting" and job.id != shown.id:
            head(root, job)
            waits(job)


@st.fragment(run_every=6.0)
def teacher(root: Path, known: Sequence[tuple[str, str]]) -> None:
    """The microscope of that job; it looks for a new snapshot every six seconds."""
    job = in_focus([job for job in service.job_states(root) if (job.id, job.status) in known])
    if job is not None and job.kind == "train" and job.method != "supervised":
        microscope.figure(root, job.model, job.status == "running")


def in_focus(jobs: list[service.JobState]) -> service.JobState | None:
    """The job that the page is about: one that runs, that comes next, or ended last."""
    for status in ("running", "waiting"):
        if found := [job for job in jobs if job.status == status]:
            return min(found, key=lambda job: job.ahead)
    return max(jobs, key=lambda job: job.ended or job.queued, default=None)


def too_short(job: service.JobState) -> None:
    """Say so where a training that has ended made too few iterations for a model worth reviewing."""
    study = state.study_page()
    made = {one.model: one.short for one in study.rounds} if study else {}
    if job.status == "done" and made.get(job.model):
        st.warning(
            "So few iterations were made that nothing useful can be expected of this model: train again with more "
            "minutes, and leave the machine to it.",
            icon=":material/timer:",
        )


def head(root: Path, job: service.JobState) -> None:
    """The title of a job, how it stands, and what can be done to it now."""
    word, colour = _STATUS[job.status]
    title, doors = st.columns([1, 1], vertical_alignment="center")
    title.markdown(f"**{look.plain(job.title)}** :{colour}-badge[{word}] {when(job.started or job.queued)}")
    with doors.container(horizontal=True, horizontal_alignment="right", gap="xsmall"):
        if job.status == "waiting" and (job.ahead or job.waits_for):
            if st.button("Do not start it", key=f"stop {job.id}", icon=":material/close:"):
                attempt(lambda: service.stop_job(root, job.id))
        elif job.status in _ACTIVE:
            if st.button("Pause", key=f"pause {job.id}", icon=":material/pause:"):
                attempt(lambda: service.pause_job(root, job.id))
            if st.button("Stop and keep", key=f"stop {job.id}", icon=":material/stop:"):
                attempt(lambda: service.stop_job(root, job.id))
        elif job.can_resume and st.button("Resume", key=f"resume {job.id}", icon=":material/play_arrow:"):
            attempt(lambda: service.resume_job(root, job.id))


def progress(job: service.JobState) -> None:
    """How far a running job is, and how long it still takes."""
    share = min(1.0, job.share or 0.0)
    doing = "Saving, to go on later" if job.ending == "pause" else "Saving what was learnt" if job.ending else job.doing
    left = f" · {duration(job.minutes_left)} left" if job.minutes_left is not None and not job.ending else ""
    st.progress(share, f"{doing} · {share:.0%}{left}")


def waits(job: service.JobState) -> None:
    """What a job waits for."""
    if job.waits_for:
        st.caption(f"Waits for the study {look.plain(job.waits_for)}: one study at a time uses this machine.")
    else:
        st.caption("Starts in a moment." if not job.ahead else f"Starts after {look.counted(job.ahead, 'other job')}.")


def told(lines: list[dict[str, object]]) -> None:
    """The newest numbers of a training in a line."""
    newest = {name: value for line in lines for name, value in line.items()}
    words = [f"iteration {newest['iteration']:,}"] if lines else []
    if isinstance(share := newest.get("confident"), float):
        words.append(f"{share:.0%} of the pseudo-labels are confident")
    if isinstance(dice := newest.get("val_dice_by_structure"), dict):
        words.append("Dice on scans held out: " + ", ".join(f"{look.plain(n)} {one:.2f}" for n, one in dice.items()))
    if words:
        st.caption(" · ".join(words))


def log(root: Path, job: service.JobState) -> None:
    """The log, read when it is opened; to copy in the corner, to download below."""
    with st.expander("Log", key=f"log {job.id}", icon=":material/notes:", on_change="rerun") as door:
        if door.open:
            st.code(service.job_log(root, job.id) or "Nothing yet.", language=None, height=260)
            path = service.job_log_path(root, job.id)
            if path.is_file():
                st.download_button(
                    "Download the whole log",
                    path.read_bytes,
                    f"{root.name}-{job.id}.txt",
                    "text/plain",
                    key=f"download {job.id}",
                    on_click="ignore",
                    icon=":material/download:",
                )


def when(moment: str) -> str:
    """A time as the clock of this computer shows it."""
    return f":gray[{datetime.fromisoformat(moment).astimezone():%d %b %H:%M}]"


def earlier(root: Path, jobs: list[service.JobState]) -> None:
    """Work that has ended, a line each; the line that is chosen opens."""
    if not jobs:
        return
    with st.expander(f"Earlier work ({len(jobs)})", icon=":material/history:"):
        rows = {
            "Work": [job.title for job in jobs],
            "State": [_STATUS[job.status][0] for job in jobs],
            "Ended": [datetime.fromisoformat(job.ended or job.queued).astimezone() for job in jobs],
            "What happened": [job.message for job in jobs],
        }
        st.caption("Choose a line to see its curves and log, or to resume it.")
        columns = {"Ended": st.column_config.DatetimeColumn(format="D MMM HH:mm")}
        height = min(38 + 35 * len(jobs), 290)
        picked = st.dataframe(
            rows,
            key="earlier work",
            height=height,
            hide_index=True,
            on_select="rerun",
            selection_mode="single-row",
            column_config=columns,
        )
        for index in picked.selection.rows[:1]:
            if index < len(jobs):
                one(root, jobs[index])


def one(root: Path, job: service.JobState) -> None:
    """A job that has ended."""
    head(root, job)
    if job.message:
        st.error(look.plain(job.message), icon=":material/error:")
    if job.kind == "train":
        if lines := service.training_curve(root, job.model):
            curves(job.model, lines)
        if job.method != "supervised":
            microscope.figure(root, job.model, running=False)
    log(root, job)


st.html(look.PICTURES / "train.css")
st.title("Train", anchor=False)
root = state.study_root()
if root is None or not service.is_study(root):
    st.info(look.none_yet("There is nothing to train on yet: a study needs scans first."), icon=":material/info:")
    if st.button("To the scans", type="primary"):
        st.switch_page("screens/scans.py")
    st.stop()
try:
    outlook, jobs = service.training_outlook(root), service.job_states(root)
except MaskMatchError as error:
    st.error(look.plain(str(error)), icon=":material/error:")
    st.stop()
busy = any(job.status in _ACTIVE for job in jobs)
known = [(job.id, job.status) for job in jobs]
shown = in_focus(jobs)
if busy:
    live(root, known)
    teacher(root, known)
    with st.expander("Train another", icon=":material/add:"):
        order(root, outlook)
else:
    with st.container(border=True):
        order(root, outlook)
    live(root, known)
    teacher(root, known)
ended = [job for job in jobs if job.status not in _ACTIVE and (shown is None or job.id != shown.id)]
earlier(root, ended)
