"""The structures of a study as a form: names, colours, order; what is painted is removed only after a question."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from maskmatch_app import look, state
from maskmatch_med import service
from maskmatch_med.errors import LabelsInUseError, MaskMatchError


def structures_form(root: Path) -> None:
    """Show the structures, and change them where that is asked."""
    definitions = service.label_definitions(root)
    with st.expander("Structures", expanded=state.asked_removal() is not None, icon=":material/palette:"):
        _question(root)
        with st.form("structures", border=False):
            rows = [_row(rank, one) for rank, one in enumerate(definitions, start=1)]
            # A key of its own for each list, so that the field is empty once its names are in the list.
            key = "new " + "\n".join(one.was or one.name for one in definitions)
            new = st.text_input("Add structures, separated by commas", placeholder="left kidney, right kidney", key=key)
            if not st.form_submit_button("Save structures", icon=":material/save:"):
                return
        kept = [one for _, one, removed in sorted(rows, key=lambda row: row[0]) if not removed]
        added = [service.LabelDefinition(name.strip()) for name in new.split(",") if name.strip()]
        _define(root, kept + added, remove_used=False)


def _row(rank: int, one: service.LabelDefinition) -> tuple[float, service.LabelDefinition, bool]:
    """One structure: its place, what it shall be, and whether it shall go."""
    key = f"{one.was} {rank} {state.form_round()}"
    shade, word, place, gone = st.columns([0.7, 4, 1.6, 1.4], vertical_alignment="bottom")
    colour = shade.color_picker("Colour", one.colour or "#0b6e75", key=f"colour {key}")
    name = word.text_input("Name", one.name, key=f"name {key}").strip()
    at = place.number_input("Place", 1, 254, rank, key=f"place {key}")
    removed = gone.checkbox("Remove", key=f"remove {key}")
    # What moves to the place of another goes before it, or behind it when it comes from above.
    order = at + (0.0 if at == rank else 0.5 if at > rank else -0.5)
    return order, service.LabelDefinition(name, colour, one.was), removed


def _question(root: Path) -> None:
    """Ask before what somebody has painted is removed."""
    asked = state.asked_removal()
    if asked is None:
        return
    text, definitions = asked
    st.warning(look.plain(text), icon=":material/help:")
    yes, no, _ = st.columns([2, 2, 4])
    if yes.button("Remove it all the same", width="stretch"):
        _define(root, definitions, remove_used=True)
    if no.button("Keep it", type="primary", width="stretch"):
        state.ask_removal(None)
        state.clear_form()
        st.rerun()


def _define(root: Path, definitions: list[service.LabelDefinition], *, remove_used: bool) -> None:
    try:
        service.define_labels(root, definitions, state.author(), remove_used=remove_used)
    except LabelsInUseError as error:
        state.ask_removal((str(error), definitions))
    except (MaskMatchError, OSError) as error:
        st.error(look.plain(str(error)), icon=":material/error:")
        return
    else:
        state.ask_removal(None)
    st.rerun()
