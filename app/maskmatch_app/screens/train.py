"""Train: what the data offers, one button to start, and how the work goes; it outlives this page and the server."""

from pathlib import Path
from typing import Any, Literal

import streamlit as st

from maskmatch_app import look, state
from maskmatch_med import service
from maskmatch_med.errors import MaskMatchError

_PRESETS: dict[Literal["quick", "balanced", "best"], str] = {"quick": "Quick", "balanced": "Balanced", "best": "Best"}
_STATUS = {
    "waiting": ("Waiting", "gray"),
    "running": ("Running", "blue"),
    "paused": ("Paused", "orange"),
    "stopped": ("Stopped and kept", "gray"),
    "done": ("Done", "green"),
    "failed": ("Failed", "red"),
    "died": ("Ended unexpectedly", "red"),
}


def duration(minutes: float) -> str:
    """Minutes in words."""
    if minutes < 1:
        return "less than a minute"
    return f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:.2g} hours"


def order(root: Path, outlook: service.TrainingOutlook) -> None:
    """What to train, and the button."""
    with st.container(border=True):
        have = (
            f"{outlook.complete} scans with a complete label, {outlook.partial} in part, {outlook.unlabelled} without"
        )
        st.markdown(f"**What there is to learn from:** {have}.")
        for warning in outlook.warnings:
            st.warning(warning, icon=":material/info:")
        if outlook.blocked is not None:
            st.error(outlook.blocked, icon=":material/block:")
            return
        words = {
            key: f"{word} · {duration(outlook.minutes[key]).replace('minutes', 'min')}"
            for key, word in _PRESETS.items()
        }
        pick, after, go = st.columns([4, 2, 1.6], vertical_alignment="bottom")
        preset = pick.segmented_control("How long", list(words), default="quick", format_func=words.__getitem__)
        predict = after.toggle("Then segment the rest", value=True)
        if go.button("Start training", type="primary", icon=":material/play_arrow:", width="stretch"):
            attempt(service.queue_training, root, service.TrainingOrder(preset=preset or "quick", predict=predict))


def attempt(verb: Any, *given: Any) -> None:
    """Do something to a job and show how it stands; what went wrong stays in view."""
    try:
        verb(*given)
    except (MaskMatchError, OSError) as error:
        st.error(look.plain(str(error)), icon=":material/error:")
        return
    st.rerun()


@st.fragment(run_every=2.0)
def jobs(root: Path) -> None:
    """The jobs of the study, the newest first; looked at anew every two seconds."""
    found = service.job_states(root)
    st.subheader("Work", anchor=False)
    if not found:
        st.caption("Nothing has been started yet. Work goes on when this page is closed.")
    for job in found:
        with st.container(border=True):
            show(root, job)


def show(root: Path, job: service.JobState) -> None:
    """One job: how it stands, what can be done to it, its curve and its log."""
    word, colour = _STATUS[job.status]
    title, doors = st.columns([3, 2], vertical_alignment="center")
    title.markdown(f"**{look.plain(job.title)}** :{colour}-badge[{word}]")
    with doors.container(horizontal=True, horizontal_alignment="right"):
        buttons(root, job)
    if job.status == "running":
        left = f" · {duration(job.minutes_left)} left" if job.minutes_left is not None else ""
        st.progress(min(1.0, job.share or 0.0), f"{job.doing}{left}")
    elif job.status == "waiting":
        st.caption("Starts next" if not job.ahead else f"Starts after {job.ahead} other")
    if job.message:
        st.error(look.plain(job.message), icon=":material/error:")
    curve = service.training_curve(root, job.model) if job.kind == "train" else []
    figures(curve)
    with st.expander("Log", icon=":material/notes:"):
        st.code(service.job_log(root, job.id) or "Nothing yet.", language=None, height=220)


def buttons(root: Path, job: service.JobState) -> None:
    """What can be done to a job now."""
    if job.status in {"running", "waiting"}:
        if st.button("Pause", key=f"pause {job.id}", icon=":material/pause:"):
            attempt(service.pause_job, root, job.id)
        if st.button("Stop and keep", key=f"stop {job.id}", icon=":material/stop:"):
            attempt(service.stop_job, root, job.id)
    elif job.can_resume and st.button("Resume", key=f"resume {job.id}", icon=":material/play_arrow:"):
        attempt(service.resume_job, root, job.id)


def figures(curve: list[dict[str, Any]]) -> None:
    """The losses of a training so far, its share of confident pseudo-labels and its Dice on scans held out."""
    rows = [
        {"iteration": line["iteration"], "loss": value, "term": name.removeprefix("loss_").replace("loss", "all")}
        for line in curve
        for name, value in line.items()
        if name.startswith("loss")
    ]
    dice = [line["val_dice_by_structure"] for line in curve if "val_dice_by_structure" in line]
    share = [line["confident"] for line in curve if "confident" in line]
    told = [f"iteration {curve[-1]['iteration']:,}"] if curve else []
    told += [f"{share[-1]:.0%} of the pseudo-labels are confident"] if share else []
    told += (
        ["Dice on scans held out: " + ", ".join(f"{name} {one:.2f}" for name, one in dice[-1].items())] if dice else []
    )
    if told:
        st.caption(" · ".join(told))
    if rows:
        spec = {
            "mark": {"type": "line"},
            "height": 180,
            "encoding": {
                "x": {"field": "iteration", "type": "quantitative"},
                "y": {"field": "loss", "type": "quantitative"},
                "color": {"field": "term", "type": "nominal", "title": None},
            },
        }
        st.vega_lite_chart(spec={"data": {"values": rows}, **spec})


st.title("Train", anchor=False)
root = state.study_root()
if root is None or not service.is_study(root):
    st.info("There is nothing to train on yet: a study needs scans first.", icon=":material/info:")
    if st.button("To the scans", type="primary"):
        st.switch_page("screens/scans.py")
    st.stop()
try:
    outlook = service.training_outlook(root)
except MaskMatchError as error:
    st.error(look.plain(str(error)), icon=":material/error:")
    st.stop()
order(root, outlook)
jobs(root)
