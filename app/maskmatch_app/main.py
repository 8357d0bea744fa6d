"""Set up the page and the navigation; each page is a script of its own."""

import streamlit as st

from maskmatch_app import look, state

st.set_page_config(page_title="maskmatch", page_icon=look.PICTURES / "icon.png", layout="wide")
look.dress()
page = st.navigation(
    [
        st.Page("screens/home.py", title="Home", icon=":material/home:", default=True),
        st.Page("screens/scans.py", title="Scans", icon=":material/stacks:"),
        st.Page("screens/label.py", title="Label", icon=":material/brush:"),
        st.Page("screens/train.py", title="Train", icon=":material/model_training:"),
        st.Page("screens/review.py", title="Review", icon=":material/fact_check:"),
        st.Page("screens/results.py", title="Results", icon=":material/monitoring:"),
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
    st.caption("Research use, not a medical device.")
if (lost := state.lost_study()) is not None:
    look.lost(lost)
body = st.container()
look.foot()  # stands below, also where a page stops or fails
with body:
    page.run()
