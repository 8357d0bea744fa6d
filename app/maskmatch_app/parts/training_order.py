"""What to train: what the data offers, what to know before, the preset with its time, and the button."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import streamlit as st

from maskmatch_app import look
from maskmatch_med import service
from maskmatch_med.errors import MaskMatchError

Preset = Literal["quick", "balanced", "best"]
_PRESETS: dict[Preset, str] = {"quick": "Quick", "balanced": "Balanced", "best": "Best"}
_OWN = "own"
_METHODS = {
    "maskmatch": "MaskMatch: uses all scans",
    "fixmatch": "FixMatch: the same without masking and scales",
    "mean-teacher": "Mean teacher: an older method with unlabelled scans",
    "supervised": "Supervised: from labels alone, for comparison",
}
_DEVICES = {"auto": "the best there is", "cpu": "processor", "cuda": "NVIDIA GPU"}
_QUICK_UP_TO, _BALANCED_UP_TO = 15.0, 90.0


def order(root: Path, outlook: service.TrainingOutlook) -> None:
    """Ask what to train, and queue it."""
    _offered(outlook)
    _unsaved(root, outlook)
    if outlook.blocked is not None:
        _blocked(outlook)
        return
    for warning in outlook.warnings:
        st.warning(look.plain(warning), icon=":material/warning:")
    preset, minutes = _how_long(outlook)
    more = _more(outlook)
    after, go = st.columns([3, 1.3], vertical_alignment="center")
    left = f" ({look.counted(outlook.to_predict, 'scan')})" if outlook.to_predict else ""
    more["predict"] = after.toggle(f"Afterwards segment every scan without a complete label{left}", value=True)
    if go.button("Start training", type="primary", icon=":material/play_arrow:", width="stretch"):
        chosen = service.TrainingOrder(preset=preset, minutes=minutes, **more)
        attempt(lambda: service.queue_training(root, chosen))


def attempt(verb: Callable[[], Any]) -> None:
    """Do something and show how it stands then; what went wrong stays in view."""
    try:
        verb()
    except (MaskMatchError, OSError) as error:
        st.error(look.plain(str(error)), icon=":material/error:")
        return
    st.rerun()


def duration(minutes: float) -> str:
    """Minutes in words."""
    if minutes < 1:
        return "less than a minute"
    if minutes < 90:
        return "a minute" if round(minutes) == 1 else f"{minutes:.0f} minutes"
    return f"{minutes / 60:.2g} hours"


def _offered(outlook: service.TrainingOutlook) -> None:
    have = f"{outlook.complete} with a complete label, {outlook.partial} in part, {outlook.unlabelled} without"
    st.markdown(f"**What there is to learn from:** {have}.")
    told = [f"This machine: {outlook.machine}.", *(outlook.notes if outlook.blocked is None else ())]
    st.caption("  \n".join(look.plain(sentence) for sentence in told))


def _blocked(outlook: service.TrainingOutlook) -> None:
    """Why nothing can be trained, and the way to the first label where that is what is missing."""
    st.info(look.plain(outlook.blocked or ""), icon=":material/info:")
    unlabelled = outlook.unlabelled and not outlook.complete + outlook.partial
    if unlabelled and st.button("Label a scan", type="primary", icon=":material/brush:"):
        st.switch_page("screens/label.py")


def _unsaved(root: Path, outlook: service.TrainingOutlook) -> None:
    """Strokes that are in no version are seen by no training; offer to make versions of them."""
    if not outlook.unsaved:
        return
    named = ", ".join(outlook.unsaved[:4]) + (" …" if len(outlook.unsaved) > 4 else "")
    text, door = st.columns([3, 1.3], vertical_alignment="center")
    text.warning(
        f"Strokes on {look.plain(named)} are kept, but not yet saved as labels: a training does not see them.",
        icon=":material/edit_note:",
    )
    if door.button("Save them as labels", icon=":material/save:", width="stretch"):
        attempt(lambda: [service.save_label(root, case) for case in outlook.unsaved])


def _how_long(outlook: service.TrainingOutlook) -> tuple[Preset, float | None]:
    """The preset, and minutes where one's own time was given."""
    offers = {offer.name: offer for offer in outlook.offers}
    words = {name: f"{word} · {_short(offers[name].minutes)}" for name, word in _PRESETS.items()} | {_OWN: "Own time"}
    picked = st.segmented_control("How long", list(words), default="quick", format_func=words.__getitem__)
    if picked != _OWN:
        preset: Preset = next((name for name in _PRESETS if name == picked), "quick")
        st.caption(offer_in_words(offers[preset], offers[preset].minutes, outlook.to_predict))
        return preset, None
    minutes = st.number_input("Minutes", 0.5, 10_000.0, 15.0, step=5.0, width=180)
    preset = "quick" if minutes <= _QUICK_UP_TO else "balanced" if minutes <= _BALANCED_UP_TO else "best"
    st.caption(f"The network of {_PRESETS[preset]}. " + offer_in_words(offers[preset], minutes, outlook.to_predict))
    return preset, minutes


def offer_in_words(offer: service.PresetOffer, minutes: float, scans: int) -> str:
    """What a preset does on this machine, in sentences."""
    told = [offer.text]
    if offer.iterations is not None:
        steps = offer.iterations * minutes / offer.minutes
        told.append(f"About {_round(steps):,} steps in {duration(minutes)} here.")
        if steps < service.FEW_ITERATIONS:
            told.append("**That is too few for a model worth reviewing: choose a longer time.**")
    else:
        told.append("How many steps this machine manages shows with the first training of this kind.")
    if scans and offer.prediction_minutes is not None:
        told.append(f"Segmenting {look.counted(scans, 'scan')} afterwards takes {duration(offer.prediction_minutes)}.")
    return " ".join(told)


def _more(outlook: service.TrainingOutlook) -> dict[str, Any]:
    """What few people change."""
    with st.expander("More", icon=":material/tune:"):
        left, middle, right = st.columns(3)
        method = left.selectbox("Method", list(_METHODS), format_func=_METHODS.__getitem__)
        start = middle.selectbox("Begin with", [None, *outlook.models], format_func=lambda name: name or "nothing")
        devices = [name for name in _DEVICES if name != "cuda" or not outlook.machine.endswith("no GPU")]
        device = right.selectbox("Compute on", devices, format_func=_DEVICES.__getitem__)
    return {"method": method, "start_from": start, "device": device}


def _short(minutes: float) -> str:
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.2g} h"


def _round(steps: float) -> int:
    """To two digits: more would say what nobody knows."""
    size = 10 ** max(0, len(str(int(steps))) - 2)
    return int(round(steps / size) * size)
