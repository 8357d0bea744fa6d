"""Which scans to learn from, in which order they are labelled, and which to score on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from maskmatch_med.errors import InputError
from maskmatch_med.io.atomic import write_text
from maskmatch_med.io.formats import strip_extension

_TEST_SHARE = 0.2


def write_splits(folder: Path) -> Path:
    """Write ``splits.json`` of a Decathlon folder beside its ``dataset.json``; one that is there stays.

    The order is that of the SHA-256 sums of the names, so it is the same everywhere and owes nothing to what the scans
    show. The first fifth is the test part, at least one scan.

    Raises:
        InputError: dataset.json cannot be used, or lists fewer than two scans with a label.
    """
    path = folder / "splits.json"
    if path.is_file():
        return path
    names = sorted(_labelled_names(folder / "dataset.json"), key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    if len(names) < 2:
        raise InputError(f"{folder / 'dataset.json'} lists {len(names)} scans with a label; expected two or more")
    tested = max(1, round(_TEST_SHARE * len(names)))
    content = {
        "about": "label_order: the first N get a label, the others count as unlabelled; test: to score on, never to "
        "train or to choose on. In the order of the SHA-256 sums of the names",
        "label_order": names[tested:],
        "test": sorted(names[:tested]),
    }
    write_text(path, json.dumps(content, indent=1) + "\n")
    return path


def _labelled_names(path: Path) -> set[str]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["training"]
        images = [str(entry["image"]) for entry in entries if entry.get("label")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f'{path} cannot be used; expected JSON with "training", a list of image and label') from error
    return {name for image in images if not (name := strip_extension(Path(image))).startswith(".")}
