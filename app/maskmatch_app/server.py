"""The server: Streamlit's pages and the routes that carry files, in one ASGI application."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from maskmatch_app import failures
from maskmatch_app.entrance import PasswordGate
from maskmatch_app.hosts import HostCheck
from maskmatch_app.idle import versions_of_idle_drafts
from maskmatch_app.routes import routes

app = st.App(
    Path(__file__).with_name("main.py"),
    routes=routes(),
    middleware=[Middleware(HostCheck), Middleware(PasswordGate)],
    lifespan=versions_of_idle_drafts,
    on_script_error=failures.tell,
)
