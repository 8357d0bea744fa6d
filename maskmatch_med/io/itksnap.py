"""Label descriptions of ITK-SNAP: text files that name and colour the values of a label map."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from maskmatch_med.errors import InputError
from maskmatch_med.io.formats import strip_extension
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.io.segments import Segment, hex_colour, numbered

SUFFIXES = (".txt", ".label")
_LARGEST = 1 << 20
_UNNAMED = re.compile(r"^Label \d+$")
"""What ITK-SNAP calls a label that nobody has named."""
_LINE = re.compile(r'^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+[\d.]+\s+[01]\s+[01]\s+"(.*)"\s*$')


def read_description(path: Path) -> tuple[Segment, ...] | None:
    """What a label description says of the values 1 to 254; empty where it
    names none, None where the file is something else.

    Raises:
        InputError: two values share a name.
    """
    try:
        if path.stat().st_size > _LARGEST:
            return None
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError):
        return None
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    matches = [_LINE.match(line) for line in lines]
    found = [match for match in matches if match is not None]
    if not found or len(found) < len(lines):
        return None
    segments = [
        Segment(int(m[1]), m[5].strip(), hex_colour(*(int(m[part]) / 255 for part in (2, 3, 4))))
        for m in found
        if 0 < int(m[1]) < UNJUDGED and not _UNNAMED.match(m[5].strip())
    ]
    return numbered(segments, path)


def description(segments: Sequence[Segment]) -> str:
    """The text of a label description, which ITK-SNAP imports beside a label map and import here reads back.

    A line is a value, its red, green, blue and opacity, whether it and its surface are shown, and its name.

    Args:
        segments: the classes without the background; one without a colour is white.
    """
    lines = ["# Label description of ITK-SNAP: value, red, green, blue, opacity, shown, surface shown, name"]
    lines.append('    0    0    0    0  0  0  0  "Clear Label"')
    for one in segments:
        red, green, blue = bytes.fromhex((one.colour or "#ffffff").lstrip("#"))
        name = one.name.replace('"', "'")
        lines.append(f'  {one.value:>3}  {red:>3}  {green:>3}  {blue:>3}  1  1  1  "{name}"')
    return "\n".join(lines) + "\n"


def descriptions_beside(labels: Sequence[Path]) -> dict[Path, tuple[Segment, ...]]:
    """The description of each label file that has one.

    That is the file of the same name ending in ``.txt`` or ``.label``, else the only label description of the folder.

    Raises:
        InputError: a folder has several descriptions, and nothing tells which one belongs to a label file.
    """
    found: dict[Path, tuple[Segment, ...]] = {}
    for folder in dict.fromkeys(path.parent for path in labels):
        described = _in_folder(folder)
        own = {(strip_extension(path), path.suffix): path for path in described}
        for label in (path for path in labels if path.parent == folder):
            match = next((own[key] for end in SUFFIXES if (key := (strip_extension(label), end)) in own), None)
            if match is None and described:
                match = _the_only(described, {strip_extension(path) for path in labels})
            if match is not None:
                found[label] = described[match]
    return found


def _in_folder(folder: Path) -> dict[Path, tuple[Segment, ...]]:
    try:
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    except OSError:
        return {}
    read = {path: read_description(path) for path in files if path.is_file()}
    return {path: segments for path, segments in read.items() if segments}


def _the_only(described: dict[Path, tuple[Segment, ...]], labels: set[str]) -> Path | None:
    """The description that all labels of a folder share: one that is not another label's own."""
    shared = [path for path in described if strip_extension(path) not in labels]
    if len({described[path] for path in shared}) > 1:
        raise InputError(
            f"{shared[0]} and {shared[1]} describe labels differently; keep one, or name each as its label file"
        )
    return shared[0] if shared else None
