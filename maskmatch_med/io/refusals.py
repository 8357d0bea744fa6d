"""Files that cannot be used: they end what is done, or stay out of it with the reason, as the caller wants."""

from __future__ import annotations

from pathlib import Path

from maskmatch_med.errors import InputError

Refused = list[tuple[str, str]]
"""Names of files that cannot be used, each with the reason."""


def refuse(refused: Refused | None, path: Path, reason: str) -> None:
    """Put a file that cannot be used on the list, or raise where there is none.

    Raises:
        InputError: there is no list.
    """
    if refused is None:
        raise InputError(reason)
    refused.append((path.name, reason))
