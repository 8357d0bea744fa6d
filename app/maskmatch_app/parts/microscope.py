"""The figure of the pseudo-label microscope: a row a scan, what the teacher says now beside what it said earlier."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import streamlit as st

from maskmatch_app import state
from maskmatch_med import service

_LAYERS = {"labels": "labels", "confidence": "confidence"}


def figure(root: Path, model: str, running: bool) -> None:
    """Show it, with a slider for the earlier moment; a sentence where there is nothing to show yet.

    Args:
        root: the study.
        model: whose training.
        running: whether it still trains.
    """
    seen = service.microscope(root, model)
    if not seen.snapshots:
        if running:
            st.caption("The pseudo-label microscope opens when the training has run for a little while.")
        return
    st.markdown("**Pseudo-label microscope** — what the teacher says of scans that nobody has labelled")
    now, earlier = seen.snapshots[-1], seen.snapshots[:-1]
    then = chosen(model, earlier)
    names = [glimpse.case for glimpse in now.glimpses]
    sides = "mm-scope mm-two" if then is None else "mm-scope mm-four"
    rows = [_head(now, then)] + [_row(seen, model, name, now, then) for name in names]
    st.html(f'<div class="{sides}">{"".join(rows)}</div>{_legend(seen, now.threshold)}')


def chosen(model: str, earlier: Sequence[service.Snapshot]) -> service.Snapshot | None:
    """The earlier moment that the slider points at, the first by default."""
    if len(earlier) < 2:
        return earlier[0] if earlier else None
    moments = {snapshot.iteration: _when(snapshot) for snapshot in earlier}
    picked = st.select_slider("Then", list(moments), key=f"then {model}", format_func=lambda one: moments.get(one, ""))
    return next((snapshot for snapshot in earlier if snapshot.iteration == picked), earlier[0])


def _head(now: service.Snapshot, then: service.Snapshot | None) -> str:
    cells = [f"<b>Now</b> {escape(_when(now))}", "&nbsp;"]
    cells += [f"<b>Then</b> {escape(_when(then))}", "&nbsp;"] if then else []
    return '<div class="mm-scope-name"></div>' + "".join(f'<div class="mm-scope-head">{cell}</div>' for cell in cells)


def _row(seen: service.Microscope, model: str, case: str, now: service.Snapshot, then: service.Snapshot | None) -> str:
    sure = _confident(now, case)
    was = None if then is None else _confident(then, case)
    told = f"{sure:.0%} confident" + (f"<br>then {was:.0%}" if was is not None else "")
    cells = [f'<div class="mm-scope-name"><b>{escape(case)}</b><span>{told}</span></div>']
    for moment, word in ((now, "now"), (then, "then")):
        if moment is None:
            continue
        for layer, layer_word in _LAYERS.items():
            parts = ("microscope", model, str(moment.iteration), case, str(seen.slices.get(case, 0)), f"{layer}.png")
            source = escape(state.api(*parts), quote=True)
            alt = escape(f"Teacher's {layer_word} on {case}, {word}", quote=True)
            cells.append(f'<div class="mm-scope-cell"><img src="{source}" alt="{alt}"><span>{layer_word}</span></div>')
    return "".join(cells)


def _confident(snapshot: service.Snapshot, case: str) -> float:
    return next((glimpse.confident for glimpse in snapshot.glimpses if glimpse.case == case), 0.0)


def _legend(seen: service.Microscope, threshold: float) -> str:
    structures = [
        f'<span><i class="mm-dot" style="background:{colour}"></i>{escape(name)}</span>'
        for name, colour in seen.colours.items()
    ]
    ramp = f'<i class="mm-ramp" style="background:linear-gradient(to right,{",".join(seen.heat)})"></i>'
    heat = f"<span>unsure {ramp} sure</span><span>counts from {threshold:.0%} confidence</span>"
    return f'<div class="mm-legend">{"".join(structures)}{heat}</div>'


def _when(snapshot: service.Snapshot) -> str:
    minutes = snapshot.seconds / 60
    return f"iteration {snapshot.iteration:,} · {minutes:.1f} min"
