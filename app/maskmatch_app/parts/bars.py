"""A bar that moves while a verb works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st

from maskmatch_app import look


@contextmanager
def moving(text: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show a bar within the block, and give what moves it: (done, total, what is being done)."""
    bar = st.progress(0.0, text)

    def show(done: int, total: int, what: str) -> None:
        bar.progress(min(1.0, done / max(total, 1)), look.plain(what) or text)

    try:
        yield show
    finally:
        bar.empty()
