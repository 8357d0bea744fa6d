"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""Told (how much is done, how much there is in all or 0 where that is not known, what is being done)."""


def silent(done: int, total: int, what: str) -> None:
    """Show nothing."""
