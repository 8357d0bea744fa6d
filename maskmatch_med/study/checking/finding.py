"""What a check says: one finding a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
Kind = Literal[
    "files", "geometry", "labels", "values", "duplicate", "spacing", "size", "intensity", "label volume", "left/right"
]
REPAIR = "run `maskmatch check --repair`"
_ORDER: dict[str, int] = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True)
class Finding:
    """One thing found in a study.

    Args:
        severity: ``error`` spoils training or results; ``warning`` may; ``note`` is good to know.
        case: the case, or None where it concerns the study.
        message: what was found, with the file's name.
        todo: what to do about it.
        kind: which of the checks found it.
    """

    severity: Severity
    case: str | None
    message: str
    todo: str
    kind: Kind = "files"


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Errors first, then warnings and notes, each by kind, case and text."""
    return sorted(findings, key=lambda f: (_ORDER[f.severity], f.kind, f.case or "", f.message))
