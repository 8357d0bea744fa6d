"""The server: Streamlit's pages and the routes that carry files, in one ASGI application."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from maskmatch_app import failures
from maskmatch_app.routes import routes

app = st.App(Path(__file__).with_name("main.py"), routes=routes(), on_script_error=failures.tell)
