"""The history of a scan: all that was ever done to it, told from the files of the study."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from glob import escape
from pathlib import Path
from typing import Literal

from maskmatch_med.service import reported
from maskmatch_med.study import LabelVersion, Study
from maskmatch_med.study.exported import exports_of
from maskmatch_med.study.verdicts import verdicts_of
from maskmatch_med.training.learnt import read_learnt

EventKind = Literal["taken in", "label", "prediction", "verdict", "training", "export"]
_MADE = {
    "human": "painted",
    "import": "imported",
    "model accepted": "accepted from a model",
    "model corrected": "a model's, corrected",
    "edited elsewhere": "edited in another program",
    "recovered": "recovered from its voxels",
    "classes changed": "follows changed structures",
}


@dataclass(frozen=True)
class Event:
    """Something that was done to a scan.

    Args:
        kind: what it was.
        when: UTC in ISO 8601.
        title: what was done, in a few words.
        author: who did it; empty where nobody is named.
        version: the label version that was made, learnt from or exported.
        current: whether it was made here and is the label of now.
        complete: whether every voxel of that version is judged; None where no version was made.
        parent: the version that it was made from.
        model: the model concerned.
        notes: what else is known, in sentences.
    """

    kind: EventKind
    when: str
    title: str
    author: str = ""
    version: str | None = None
    current: bool = False
    complete: bool | None = None
    parent: str | None = None
    model: str | None = None
    notes: tuple[str, ...] = ()


def scan_history(study: Study | Path | str, case: str) -> list[Event]:
    """All that was done to a scan, the newest first.

    It tells when it was taken in, each version of its label, the predictions of it with what people said of them, the
    trainings that learnt from it and the exports that hold it.

    Raises:
        StudyError: there is no such scan, or a file of the study is damaged.
    """
    opened = study if isinstance(study, Study) else Study.at(Path(study))
    name = opened.case(case).name
    events = [*_labels(opened.versions(name)), *_predictions(opened, name)]
    events += [*_trainings(opened, name), *_exports(opened.root, name)]
    return [*sorted(events, key=lambda event: event.when, reverse=True), _taken_in(opened, name)]


def _taken_in(study: Study, case: str) -> Event:
    record = study.folder.source_or_image(case)
    sidecar = study.folder.sidecar(case)
    when = record.added or _written(sidecar if sidecar.is_file() else study.folder.image_paths(case)[0])
    return Event("taken in", when, f"Taken in from {record.source_name}", notes=record.notes)


def _labels(versions: list[LabelVersion]) -> Iterator[Event]:
    for one in versions:
        yield Event(
            "label",
            one.created,
            f"Label {one.version}: {_MADE.get(one.source, one.source)}",
            author=one.author,
            version=one.version,
            current=one is versions[-1],
            complete=one.complete,
            parent=one.parent,
            model=one.model,
            notes=one.notes,
        )


def _predictions(study: Study, case: str) -> Iterator[Event]:
    for path in sorted(study.predictions_dir.glob(f"*/{escape(case)}.nii.gz")):
        model = path.parent.name
        yield Event("prediction", _written(path), f"Predicted by {model}", model=model)
    for one in verdicts_of(study, case):
        title = f"Prediction of {one.model} {one.verdict}"
        if one.verdict == "withdrawn":
            title = f"Acceptance of the prediction of {one.model} withdrawn"
        reason = (one.reason,) if one.reason else ()
        yield Event("verdict", one.when, title, author=one.author, model=one.model, notes=reason)


def _trainings(study: Study, case: str) -> Iterator[Event]:
    for model in reported.models_of(study):
        name = model.root.name
        for entry in read_learnt(model.root):
            version = entry.labelled.get(case) or entry.held_out.get(case)
            if case in entry.labelled:
                title = f"{name} learnt from label {version}"
            elif case in entry.held_out:
                title = f"{name} was checked on label {version}"
            elif case in entry.unlabelled:
                title = f"{name} learnt from the scan, without a label"
            else:
                continue
            yield Event("training", entry.begun, title, version=version, model=name)


def _exports(root: Path, case: str) -> Iterable[Event]:
    for one in exports_of(root):
        if case in one.labels:
            title = f"Label {one.labels[case]} exported to {one.name}"
        elif case in one.predictions:
            title = f"Prediction of {one.predictions[case]} exported to {one.name}"
        else:
            continue
        yield Event("export", one.when, title, author=one.author, version=one.labels.get(case))


def _written(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="milliseconds")
