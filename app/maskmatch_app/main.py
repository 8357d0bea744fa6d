"""Set up the page and the navigation; each page is a script of its own."""

from pathlib import Path

import streamlit as st

from maskmatch_app import look, state

st.set_page_config(page_title="maskmatch", page_icon=look.PICTURES / "icon.png", layout="wide")
look.dress()
_PAGES = (
    ("home", "Home", ":material/home:"),
    ("scans", "Scans", ":material/stacks:"),
    ("label", "Label", ":material/brush:"),
    ("train", "Train", ":material/model_training:"),
    ("review", "Review", ":material/fact_check:"),
    ("results", "Results", ":material/monitoring:"),
)
page = st.navigation(
    [
        st.Page(f"screens/{name}.py", title=title, icon=icon, default=name == "home")
        for name, title, icon in _PAGES
        if (Path(__file__).parent / "screens" / f"{name}.py").is_file()
    ]
)
look.brand()
with st.sidebar:
    studies = list(state.shelf().studies())
    current = state.study_key()
    if current is not None and current not in studies:
        studies.append(current)
    if studies:
        chosen = st.selectbox("Study", studies, index=studies.index(current) if current else None, placeholder="Choose")
        if chosen is not None and chosen != current:
            state.open_study(chosen)
            st.rerun()
    if (
        state.shelf().only is None
        and current is not None
        and st.button("New study", icon=":material/add:", width="stretch")
    ):
        state.leave_study()
        st.switch_page("screens/home.py")
    look.who_works()
if (lost := state.lost_study()) is not None:
    look.lost(lost)
body = st.container()
look.foot()  # stands below, also where a page stops or fails
with body:
    page.run()
