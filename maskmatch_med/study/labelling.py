"""Read the labels of a source: values or colours to classes, on the scan's grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from maskmatch_med.io import LabelMap, MaskCode, read_labels
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.io.rasters import is_raster
from maskmatch_med.study.alignment import on_grid, refuse_unknown_values
from maskmatch_med.study.settings import check_label_names
from maskmatch_med.volume import Geometry

UNNAMED = {"background": 0, "foreground": 1}
"""The classes of a study that was made without labels and without names for them."""


@dataclass(frozen=True)
class LabelReader:
    """How the label files of one source are read.

    Args:
        label_names: class name to value.
        unjudged: the value of NIfTI labels that stands for "not judged".
        code: how the pixels of mask pictures become classes.
    """

    label_names: dict[str, int]
    unjudged: int | None
    code: MaskCode | None

    def read(self, path: Path, geometry: Geometry) -> tuple[LabelMap, str | None]:
        """Read one label onto its scan's grid.

        Returns:
            The labels, and what was done to lay them on the grid, in a sentence.

        Raises:
            InputError: unreadable, not on the scan's grid, or with values that are no class.
        """
        labels, note = on_grid(self._load(path), geometry, path)
        refuse_unknown_values(labels, self.label_names, path)
        return labels, note

    def named(self, label_names: dict[str, int]) -> LabelReader:
        """The same reader with other class names."""
        return replace(self, label_names=label_names)

    def with_names_found(self, paths: Sequence[Path]) -> LabelReader:
        """Name the classes after the highest value in these labels: foreground, or class_1, class_2, …

        Raises:
            InputError: a label is unreadable, or there are more than 253 classes.
        """
        highest = 1
        if self.code is not None and self.code.classes is not None:
            highest = max(highest, self.code.classes - 1)
        elif paths:
            highest = max(highest, *(self._highest(path) for path in paths))
        names = ["foreground"] if highest == 1 else [f"class_{value}" for value in range(1, highest + 1)]
        label_names = {"background": 0, **{name: value for value, name in enumerate(names, start=1)}}
        check_label_names(label_names, str(paths[0].parent) if paths else "the study")
        return self.named(label_names)

    def keeping(self, label_names: dict[str, int], paths: Sequence[Path]) -> LabelReader:
        """Keep these class names, and add ``class_3`` or alike for values above them that occur in these labels.

        ``foreground`` alone is what a study without any label is given, so it gives way to numbered names.

        Raises:
            InputError: as :meth:`with_names_found`.
        """
        found = self.with_names_found(paths).label_names
        if len(found) <= len(label_names):
            return self.named(label_names)
        if label_names == UNNAMED:
            return self.named(found)
        more = {name: value for name, value in found.items() if value > max(label_names.values())}
        extended = {**label_names, **more}
        check_label_names(extended, str(paths[0].parent))
        return self.named(extended)

    def _highest(self, path: Path) -> int:
        return max((value for value in self._load(path).values if value != UNJUDGED), default=0)

    def _load(self, path: Path) -> LabelMap:
        return read_labels(path, unjudged=self.unjudged, code=self.code if is_raster(path) else None)
