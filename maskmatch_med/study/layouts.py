"""Recognise how a source lays out its scans and labels: nnU-Net raw, MSD, or plain folders and files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maskmatch_med.errors import InputError
from maskmatch_med.io import find_cases
from maskmatch_med.io.cases import files_in, group_channels
from maskmatch_med.io.formats import check_file, is_folder, strip_extension
from maskmatch_med.io.rasters import is_raster
from maskmatch_med.io.refusals import Refused, refuse
from maskmatch_med.study.pairing import Channels, FoundCase, in_folder, with_label
from maskmatch_med.study.settings import IGNORE, check_label_names


@dataclass(frozen=True)
class Found:
    """What a source holds.

    Args:
        layout: ``nnU-Net``, ``MSD`` or ``folder``.
        name: of the data set; empty where it must not be kept.
        cases: its scans in order of their names.
        channel_names: as declared; None where nothing declares them.
        label_names: as declared; None where nothing declares them.
        unjudged: the label value that stands for "not judged".
        notes: what was passed over, in sentences.
    """

    layout: str
    name: str
    cases: tuple[FoundCase, ...]
    channel_names: tuple[str, ...] | None = None
    label_names: dict[str, int] | None = None
    unjudged: int | None = None
    notes: tuple[str, ...] = ()


def detect(
    source: Path, labels: Path | None = None, channels: Channels = None, refused: Refused | None = None
) -> Found:
    """Find the scans and labels of a source; nothing is read but names, dataset.json and the headers of DICOM files.

    Args:
        source: a data set folder, a folder of scans or DICOM files, a zip archive of them, or one scan file.
        labels: where the labels lie, when not where they are looked for: a folder, or the file of the only scan.
        channels: names of the channels, or a pattern for the files of each.
        refused: takes what would be an error of one scan or label, or of dataset.json, so that the others are found.

    Raises:
        InputError: no scan was found, dataset.json cannot be used, or none of the labels belongs to a scan.
    """
    if not source.exists() and not source.is_symlink():
        raise InputError(f"there is no file or folder {source}")
    if not is_folder(source):
        check_file(source)
    declared = source / "dataset.json"
    if labels is None and not isinstance(channels, Mapping) and declared.is_file():
        try:
            data_set = _declared(source, declared, refused)
        except InputError as error:
            refuse(refused, declared, str(error))
        else:
            if data_set is not None:
                return data_set
    found = in_folder(source, labels, channels, refused)
    # A folder of DICOM files is often named after the patient.
    name = "" if any(case.series for case in found.cases) else strip_extension(source)
    return Found("folder", name, found.cases, found.channel_names, notes=found.notes)


def _declared(source: Path, declared: Path, refused: Refused | None) -> Found | None:
    """The data set that dataset.json describes; None where it is of no kind that is known here."""
    content = _read_json(declared)
    if "channel_names" in content and "file_ending" in content:
        return _nnunet(source, content, refused)
    if "labels" in content and ("modality" in content or "training" in content):
        return _msd(source, content)
    return None


def _nnunet(source: Path, content: Mapping[str, Any], refused: Refused | None) -> Found:
    where = source / "dataset.json"
    ending = str(content["file_ending"])
    if isinstance(content.get("dataset"), dict) and not (source / "imagesTr").is_dir():
        cases = [_mapped(source, str(name), entry, where) for name, entry in sorted(content["dataset"].items())]
    else:
        folder = source / "imagesTr"
        files = [f for f in files_in(folder) if f.name.endswith(ending)] if folder.is_dir() else []
        cases = [with_label(c, source / "labelsTr" / f"{c.name}{ending}") for c in group_channels(files, refused)]
    if not cases:
        raise InputError(f"no scan found in {source / 'imagesTr'}: expected NAME_0000{ending}")
    labels, unjudged = _named_values(content["labels"], where)
    return Found(
        layout="nnU-Net",
        name=str(content.get("name", source.name)),
        cases=tuple(sorted(cases, key=lambda case: case.name)),
        channel_names=_channel_names(content["channel_names"], where),
        label_names=labels,
        unjudged=unjudged,
    )


def _mapped(source: Path, name: str, entry: Any, where: Path) -> FoundCase:
    try:
        files = tuple(source / str(image) for image in entry["images"])
        label = source / str(entry["label"])
    except (KeyError, TypeError) as error:
        raise InputError(f"{where}: the entry {name!r} of \"dataset\" needs 'images' and 'label'") from error
    return FoundCase(name, files, label, is_raster(files[0]))


def _msd(source: Path, content: Mapping[str, Any]) -> Found:
    where = source / "dataset.json"
    labels, unjudged = _named_values(content["labels"], where)
    training = content.get("training")
    if isinstance(training, list) and training:
        cases = [_msd_entry(source, entry, where) for entry in training if not _is_hidden(entry)]
    else:
        bare = [with_label(case, source / "labelsTr" / case.channels[0].name) for case in find_cases([source])]
        cases = [replace(case, stacked=True) for case in bare]
    names = [case.name for case in cases]
    if len(set(names)) != len(names):
        raise InputError(f"{where} lists the scan {next(n for n in names if names.count(n) > 1)} more than once")
    modality = content.get("modality")
    return Found(
        layout="MSD",
        name=str(content.get("name", source.name)),
        cases=tuple(sorted(cases, key=lambda case: case.name)),
        channel_names=_channel_names(modality, where) if modality else None,
        label_names=labels,
        unjudged=unjudged,
    )


def _is_hidden(entry: Any) -> bool:
    image = entry.get("image", "") if isinstance(entry, dict) else entry
    return Path(str(image)).name.startswith(".")


def _msd_entry(source: Path, entry: Any, where: Path) -> FoundCase:
    if not isinstance(entry, dict) or "image" not in entry:
        raise InputError(f"{where}: an entry of \"training\" needs 'image' and 'label', got {entry!r}")
    image = source / str(entry["image"])
    label = source / str(entry["label"]) if entry.get("label") else None
    for path in filter(None, (image, label)):
        if not path.is_file():
            raise InputError(f"{where} lists {path}, which does not exist; complete the data set or correct the list")
    return FoundCase(strip_extension(image), (image,), label, is_raster(image), stacked=True)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not valid JSON ({error}); correct it") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a JSON object, got {type(content).__name__}")
    return content


def _channel_names(declared: Any, where: Path) -> tuple[str, ...]:
    try:
        return tuple(str(declared[key]) for key in sorted(declared, key=int))
    except (TypeError, ValueError) as error:
        raise InputError(f'{where}: the channels must be named as {{"0": "MRI", …}}, got {declared!r}') from error


def _named_values(declared: Any, where: Path) -> tuple[dict[str, int], int | None]:
    """Class names and the value of ``ignore``, from nnU-Net's ``{name: value}`` or MSD's ``{value: name}``."""
    if not isinstance(declared, dict) or not declared:
        raise InputError(f'{where} must declare "labels" as {{"background": 0, …}}, got {declared!r}')
    if any(isinstance(value, list) for value in declared.values()):
        raise InputError(f"{where} declares regions (lists of labels); declare one value a class")
    try:
        if all(str(key).isdigit() for key in declared):
            labels = {str(name): int(value) for value, name in declared.items()}
        else:
            labels = {str(name): int(value) for name, value in declared.items()}
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: every label needs a whole number, got {declared!r}") from error
    if len(labels) != len(declared):
        raise InputError(f"{where} gives one name to several labels: {declared!r}; rename them")
    unjudged = labels.pop(IGNORE, None)
    check_label_names(labels, str(where))
    return labels, unjudged
