"""Which reader the labels of a source need: names, codes and values as given, as found, or as in imports before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from maskmatch_med.errors import InputError
from maskmatch_med.io import MaskCode
from maskmatch_med.io.rasters import is_raster
from maskmatch_med.io.segmentations import segments_of
from maskmatch_med.study.classes import with_names_of_people
from maskmatch_med.study.labelling import LabelReader
from maskmatch_med.study.options import ImportOptions, Selection
from maskmatch_med.study.relabelling import names_now
from maskmatch_med.study.settings import check_label_names, names_to_labels
from maskmatch_med.study.study import Study


def label_reader(study: Study | None, selection: Selection, options: ImportOptions) -> LabelReader:
    """How the labels of a source are read into a study, which may be about to be made.

    Raises:
        InputError: names or values are not those of the study, or those of a label file.
    """
    found = selection.found
    pool = [case.label for case in found.cases if case.label]
    declared = found.label_names
    if options.label_names:
        declared = names_to_labels(tuple(options.label_names))
        check_label_names(declared, "--label-names")
    masks = [path for path in pool if is_raster(path) and not (options.skip_broken and _is_broken(path))]
    described = with_names_of_people(segments_of(pool))
    reader = LabelReader(declared or {}, found.unjudged, mask_code(study, masks), described, options.resample)
    values, recalled = _values(study, options), not options.chosen_values
    if options.chosen_values and described:
        raise InputError(f"{next(iter(described))} names its classes itself; leave the values out of --label-names")
    if study is None:
        named = reader.named(declared) if declared else reader.with_names_found(pool)
        return named.choosing(values, pool, recalled=recalled)
    if not study.labelled_cases():
        named = reader.named(declared) if declared else reader.keeping(study.label_names, pool)
        return named.choosing(values, pool, recalled=recalled)
    if declared and declared != study.label_names:
        raise InputError(
            f"the classes {declared} are not those of the study, {study.label_names}; "
            "rename them or import into another study"
        )
    return reader.named(study.label_names).choosing(values, pool, recalled=recalled)


def _values(study: Study | None, options: ImportOptions) -> Mapping[str, tuple[int, ...]]:
    """The values of each class in label maps: as given, which must be as before, else as in imports before."""
    given = options.label_names if isinstance(options.label_names, Mapping) else {}
    for case in study.labelled_cases() if study else []:
        record = study.source(case.name) if study else None
        if study is None or record is None or not record.label_values or record.label_sha256 is None:
            continue
        names = list(record.label_values)
        now = dict(zip(names, names_now(study.root, {name: rank for rank, name in enumerate(names)}), strict=True))
        before = {now[name]: values for name, values in record.label_values.items() if now[name] in study.label_names}
        if given and {name: set(values) for name, values in given.items()} != {n: set(v) for n, v in before.items()}:
            told = ",".join(f"{name}={'+'.join(map(str, values))}" for name, values in before.items())
            raise InputError(f'labels of this study were imported with --label-names "{told}"; use another study')
        return before
    return given


def value_names(reader: LabelReader, path: Path) -> dict[str, tuple[int, ...]] | None:
    """What to remember of the values that a label was read by; None where its own were the classes."""
    return dict(reader.chosen) if reader.chooses(path) else None


def _is_broken(mask: Path) -> bool:
    try:
        MaskCode.of([mask])
    except InputError:
        return True
    return False


def mask_code(study: Study | None, masks: list[Path]) -> MaskCode | None:
    """The code of earlier masks where their colours decided it, so that a colour keeps its class; else these masks'."""
    for case in study.cases() if study and masks else []:
        record = study.source(case.name) if study else None
        if record and record.mask_colours and record.mask_colours.kind != "index":
            return record.mask_colours.code()
    return MaskCode.of(masks) if masks else None
