"""The generated study as a dataset folder that the importer, and nnU-Net itself, can read."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from maskmatch_med.errors import InputError
from maskmatch_med.io import write_map, write_segmentation
from maskmatch_med.io.atomic import write_text
from maskmatch_med.phantom.anatomy import LABEL_NAMES
from maskmatch_med.phantom.scan import PhantomOptions, case_name, make_phantom


def write_phantom(root: Path | str, options: PhantomOptions | None = None) -> Path:
    """Write a generated study in nnU-Net's raw layout.

    ``imagesTr/CASE_0000.nii.gz`` and ``labelsTr/CASE.nii.gz`` hold every case, the test cases too; ``splits.json``
    says which are which: ``label_order`` lists the scans to learn from, the first ``options.labelled`` of them to be
    taken with their label, and ``test`` those to score on. ``dataset.json`` is written last, so a folder that has it
    is complete; asked for again with the same options it is left as it is.

    Args:
        root: a new or empty folder.
        options: what to generate.

    Returns:
        The folder.

    Raises:
        InputError: the folder holds something else.
    """
    root, options = Path(root), options or PhantomOptions()
    recipe = json.loads(json.dumps(asdict(options)))
    if _is_written(root, recipe):
        return root
    names = [case_name(index) for index in range(options.scans + options.test)]
    for index, name in enumerate(names):
        scan, labels = make_phantom(options, index)
        write_map(root / "imagesTr" / f"{name}_0000.nii.gz", scan.array[0], scan.geometry)
        write_segmentation(root / "labelsTr" / f"{name}.nii.gz", labels, scan.geometry)
    splits = {
        "about": "label_order: take the first N as the labelled cases, all the rest of it as unlabelled; "
        f"test: score on these, never train or choose on them; meant for N = {options.labelled}",
        "label_order": names[: options.scans],
        "test": names[options.scans :],
    }
    write_text(root / "splits.json", json.dumps(splits, indent=1) + "\n")
    dataset = {
        "name": "Phantom",
        "description": "Generated scans of invented patients; no real anatomy, no real person",
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, **LABEL_NAMES},
        "numTraining": len(names),
        "file_ending": ".nii.gz",
        "phantom": recipe,
    }
    write_text(root / "dataset.json", json.dumps(dataset, indent=1) + "\n")
    return root


def _is_written(root: Path, recipe: dict[str, Any]) -> bool:
    """Whether the folder already holds this very study; an unfinished or empty one does not."""
    record = root / "dataset.json"
    if record.is_file():
        try:
            found = json.loads(record.read_text(encoding="utf-8")).get("phantom")
        except (json.JSONDecodeError, UnicodeDecodeError, AttributeError):
            found = None
        if found == recipe:
            return True
        raise InputError(f"{root} already holds another dataset; give the generated study a folder of its own")
    if root.exists() and (not root.is_dir() or any(p.name not in {"imagesTr", "labelsTr"} for p in root.iterdir())):
        raise InputError(f"{root} is not an empty folder; give the generated study a folder of its own")
    return False
