"""What options say that list something, separated by commas."""

from __future__ import annotations


def names(text: str | None) -> tuple[str, ...] | None:
    """What an option of names says; None where it says nothing."""
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def numbers(text: str | None) -> tuple[float, ...] | None:
    """What ``--scales`` says; None where it says nothing.

    Raises:
        InputError: a part is no number.
    """
    from maskmatch_med.errors import InputError

    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--scales needs numbers separated by commas, got {text!r}") from error
