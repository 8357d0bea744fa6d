"""Scans that were taken out: struck from the records that stay, and named there again once they are back.

In a record a stand-in such as ``<removed 20260102T030405000006>`` takes the place of the name, so that the record
still counts what it counted. ``removed/NAME-TIME/removed.json`` says whose place it is, for as long as it is there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

REMOVED, TOLD = "removed", "removed.json"
"""The folder of a study that holds scans taken out, and the file there that tells of one."""
_BEFORE, _AFTER = r"(?<![\w-])", r"(?=$|[^\w-]|_\d{4}\b|_uncertainty\b|_probabilities_\d)"


def stand_in(moment: str) -> str:
    """What stands for a scan that was taken out at a moment; no scan can have such a name."""
    return f"<{REMOVED} {moment}>"


def is_stand_in(name: str) -> bool:
    """Whether a name in a record stands for a scan that was taken out."""
    return name.startswith(f"<{REMOVED} ")


def back_again(root: Path) -> dict[str, str]:
    """Stand-in to name of the scans of a study that were taken out and put back."""
    found = {}
    for path in (root / REMOVED).glob(f"*/{TOLD}"):
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            name, stands = str(told["scan"]), str(told["stand_in"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if (root / "imagesTr" / f"{name}_0000.nii.gz").exists():
            found[stands] = name
    return found


def renamed(record: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A record with other names for some scans, which are the keys of its maps and the entries of its lists."""
    return {field: _renamed(value, names) for field, value in record.items()}


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {names.get(key, key): entry for key, entry in value.items()}
    return [names.get(entry, entry) for entry in value] if isinstance(value, list | tuple) else value


def mentions(name: str) -> Callable[[str], bool]:
    """Tells whether a text names a scan, and not only another one that is called alike."""
    found = _pattern(name)
    return lambda text: found.search(text) is not None


def struck_from_text(text: str, name: str, stands: str) -> str:
    """A text with the stand-in wherever it names the scan."""
    return _pattern(name).sub(lambda _: stands, text)


def _pattern(name: str) -> re.Pattern[str]:
    spelt = {name, escape(name), json.dumps(name)[1:-1]}
    either = "|".join(map(re.escape, sorted(spelt, key=len, reverse=True)))
    return re.compile(rf"{_BEFORE}(?:{either}){_AFTER}")
