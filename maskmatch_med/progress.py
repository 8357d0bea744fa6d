"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""Told (steps done, steps in all, what is being done)."""


def silent(done: int, total: int, what: str) -> None:
    """Show nothing."""
