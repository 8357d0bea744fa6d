"""What an import tells its user: changes on the way in, and what so few labels can give."""

from __future__ import annotations

from collections.abc import Iterable

from maskmatch_med.study.labelling import LabelReader
from maskmatch_med.study.study import Study

_KINDS_OF_CHANGE = (
    "by nearest neighbour",
    "was resampled to the grid of",
    "less than half a voxel off",
    "with other axes",
    "a part of its scan's grid",
    "renumbered by name",
    "read as in imports before",
    "name no class and became background",
    "frames of",
    "the magnitude was taken",
)
"""What notes of many scans have in common, so that one of them is shown for all."""


class Changes:
    """What was changed on the way in: each kind of sentence with how often it was said, and its first example."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[str, int]] = {}

    def add(self, notes: Iterable[tuple[str, str]]) -> None:
        """Count notes, given as (name of the scan, sentence)."""
        for case, note in notes:
            kind = next((kind for kind in _KINDS_OF_CHANGE if kind in note), note)
            first, count = self._first.get(kind, (f"{case}: {note}", 0))
            self._first[kind] = (first, count + 1)

    def sentences(self) -> list[str]:
        """One sentence a kind."""
        return [
            f"{note} (and {count - 1} more of this kind)" if count > 1 else note for note, count in self._first.values()
        ]


def empty_classes(labels: LabelReader) -> list[str]:
    """That values were taken for class numbers, and some between them occur nowhere; or that chosen ones do not."""
    if labels.absent:
        values = ", ".join(map(str, labels.absent))
        return [f"no label holds {values} of --label-names; look the values up, and import into another study if wrong"]
    if not labels.unused:
        return []
    return [
        f"{len(labels.unused)} of the {len(labels.label_names) - 1} classes, such as {labels.unused[0]}, occur in no "
        "label, as the values of the labels are not 1, 2, 3, … without a gap; a model has to learn them all, so import "
        'them into another study with their values: --label-names "left=17,right=53"'
    ]


def few_labels(study: Study) -> list[str]:
    """What a study of one scan, or with one label, can and cannot give."""
    cases = study.cases()
    labelled = sum(case.label is not None for case in cases)
    if len(cases) == 1 and labelled:
        return [
            "one scan with its label shows that training runs and learns to repeat this label; no scan is left to "
            "validate on, so its scores say nothing of other scans: add scans, labelled or not"
        ]
    if labelled == 1:
        return [
            "one scan has a label: training learns from it and from the others without label, but none is left to "
            "validate on; label two or three more before you trust the scores"
        ]
    return []
