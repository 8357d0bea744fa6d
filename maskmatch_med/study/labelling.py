"""Read the labels of a source: values, names or colours to classes, on the scan's grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from maskmatch_med.errors import InputError
from maskmatch_med.io import LabelMap, MaskCode
from maskmatch_med.io.labels import UNJUDGED, chosen_values
from maskmatch_med.io.rasters import is_raster
from maskmatch_med.io.segmentations import read_segmentation
from maskmatch_med.io.segments import Segment, Segmentation
from maskmatch_med.io.volumes import read_label_values
from maskmatch_med.study.alignment import placed, refuse_unknown_values
from maskmatch_med.study.classes import class_of, classes_named, refuse_other_names, values_agree
from maskmatch_med.study.settings import check_label_names
from maskmatch_med.volume import Geometry

UNNAMED = {"background": 0, "foreground": 1}
"""The classes of a study that was made without labels and without names for them."""


@dataclass(frozen=True)
class LabelReader:
    """How the label files of one source are read.

    Args:
        label_names: class name to value.
        unjudged: the value of plain label maps that stands for "not judged".
        code: how the pixels of mask pictures become classes.
        described: the segments of the label files that name their classes.
        resample: whether labels on another grid may be resampled.
        colours: class name to ``#rrggbb``.
        unused: names of classes made of values below the highest that no label holds.
        chosen: the values of each class in plain label maps, where they were said; all others are background.
        absent: values among them that no label holds.
        recalled: whether those values are of imports before; a label that holds none of them then has its own.
    """

    label_names: dict[str, int]
    unjudged: int | None = None
    code: MaskCode | None = None
    described: Mapping[Path, tuple[Segment, ...]] = field(default_factory=dict)
    resample: bool = False
    colours: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    chosen: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    absent: tuple[int, ...] = ()
    recalled: bool = False

    def read(self, path: Path, geometry: Geometry) -> tuple[LabelMap, tuple[str, ...]]:
        """Read one label onto its scan's grid.

        Returns:
            The labels, and what was done to them, in sentences.

        Raises:
            InputError: unreadable, not on the scan's grid, or with values that are no class.
        """
        if self.chooses(path):
            return self._read_chosen(path, geometry)
        stored = self._load(path)
        labels, renumbered = self._as_classes(stored.labels, path)
        laid, note = placed(replace(stored, labels=labels), geometry, path, resample=self.resample)
        refuse_unknown_values(laid, self.label_names, path)
        return laid, tuple(filter(None, (renumbered, note)))

    def chooses(self, path: Path) -> bool:
        """Whether the classes of a label file are read by their chosen values.

        Raises:
            InputError: unreadable, or a picture, whose colours or grey levels tell.
        """
        if not self.chosen or path in self.described or (self.recalled and is_raster(path)):
            return False
        if is_raster(path):
            raise InputError(
                f"the classes of {path} are found from its colours or grey levels; name them without values"
            )
        if not self.recalled:
            return True
        chosen = [value for values in self.chosen.values() for value in values]
        return bool(np.isin(chosen, read_label_values(path).array).any())

    def _read_chosen(self, path: Path, geometry: Geometry) -> tuple[LabelMap, tuple[str, ...]]:
        stored = read_label_values(path)
        table = {value: self.label_names[name] for name, values in self.chosen.items() for value in values}
        labels, rest = chosen_values(stored.array[0], path, table, self.unjudged)
        laid, note = placed(Segmentation(LabelMap(labels, stored.geometry)), geometry, path, resample=self.resample)
        others = ", ".join(str(value) for value in rest[:6]) + (f" and {len(rest) - 6} more" if len(rest) > 6 else "")
        left = f"the values {others} of {path.name} name no class and became background" if rest else None
        told = ", ".join(f"{name} {'+'.join(map(str, values))}" for name, values in self.chosen.items())
        as_before = f"the values of {path.name} were read as in imports before: {told}" if self.recalled else None
        return laid, tuple(filter(None, (as_before, left, note)))

    def choosing(self, values: Mapping[str, tuple[int, ...]], paths: Sequence[Path], *, recalled: bool) -> LabelReader:
        """The same reader of labels in which classes have these values, said now or recalled."""
        if not values or recalled:
            return replace(self, chosen=values, recalled=recalled)
        met = set[int]()
        for path in paths:
            if not is_raster(path):
                with suppress(InputError):
                    met |= {int(value) for value in np.unique(read_label_values(path).array) if np.isfinite(value)}
        absent = tuple(value for some in values.values() for value in some if value not in met)
        return replace(self, chosen=values, absent=absent if paths else (), unused=())

    def named(self, label_names: dict[str, int]) -> LabelReader:
        """The same reader with these class names.

        Raises:
            InputError: a label file names another class, or names say what plain values beside them do not.
        """
        refuse_other_names(self.described, label_names)
        return replace(self, label_names=label_names)

    def with_names_found(self, paths: Sequence[Path]) -> LabelReader:
        """Name the classes as the label files do, else after the highest value: foreground, or class_1, class_2, …

        Raises:
            InputError: there are more than 253 classes.
        """
        if self.described:
            found = classes_named(self.described)
            check_label_names(found.label_names, str(paths[0].parent))
            return replace(self.named(found.label_names), colours=found.colours)
        met = {1}
        if self.code is not None and self.code.classes is not None:
            met = set(range(1, self.code.classes)) or met
        elif paths:
            met = set[int]().union(*(self._values(path) for path in paths)) or met
        highest = max(met)
        names = ["foreground"] if highest == 1 else [f"class_{value}" for value in range(1, highest + 1)]
        label_names = {"background": 0, **{name: value for value, name in enumerate(names, start=1)}}
        check_label_names(label_names, str(paths[0].parent) if paths else "the study")
        unused = tuple(name for name, value in label_names.items() if value and value not in met)
        return replace(self.named(label_names), unused=unused)

    def keeping(self, label_names: dict[str, int], paths: Sequence[Path]) -> LabelReader:
        """Keep these class names, and add ``class_3`` or alike for values above them that occur in these labels.

        ``foreground`` alone is what a study without any label is given, so it gives way to the names found.

        Raises:
            InputError: as :meth:`with_names_found`, or a label file names a class that is not among them.
        """
        if self.described and label_names != UNNAMED:
            return self.named(label_names)
        reader = self.with_names_found(paths)
        if self.described or (label_names == UNNAMED and len(reader.label_names) > len(label_names)):
            return reader
        if len(reader.label_names) <= len(label_names):
            return self.named(label_names)
        more = {name: value for name, value in reader.label_names.items() if value > max(label_names.values())}
        extended = {**label_names, **more}
        check_label_names(extended, str(paths[0].parent))
        return self.named(extended)

    def _values(self, path: Path) -> set[int]:
        """The classes that a file holds; none where it cannot be read, which its scan's own check tells."""
        try:
            labels = self._load(path).labels
        except InputError:
            return set()
        return {value for value in labels.values if value not in (0, UNJUDGED)}

    def _load(self, path: Path) -> Segmentation:
        return read_segmentation(path, unjudged=self.unjudged, code=self.code if is_raster(path) else None)

    def _as_classes(self, labels: LabelMap, path: Path) -> tuple[LabelMap, str | None]:
        """The file's own values as the study's, and a sentence where they differ."""
        segments = self.described.get(path)
        if segments is None:
            self._refuse_unclear(path)
            return labels, None
        table = np.arange(256, dtype=np.uint8)
        known = {0, UNJUDGED}
        moved = []
        for segment in segments:
            table[segment.value] = class_of(segment, self.label_names)
            known.add(segment.value)
            if table[segment.value] != segment.value:
                moved.append(f"{segment.name} {segment.value} to {table[segment.value]}")
        odd = next((value for value in labels.values if value not in known), None)
        if odd is not None:
            raise InputError(
                f"the label {path} holds the value {odd}, which its description does not name; name it there"
            )
        note = f"the values of {path.name} were renumbered by name: {', '.join(moved)}" if moved else None
        return LabelMap(table[labels.array], labels.geometry), note

    def _refuse_unclear(self, path: Path) -> None:
        """Values alone tell the class only where the files that name theirs agree on the values."""
        if self.described and not values_agree(self.described, self.label_names):
            named = next(iter(self.described))
            raise InputError(
                f"the label {path} names no classes, and the files that do, such as {named}, give them differing "
                "values; name its classes too, such as by an ITK-SNAP label description beside it"
            )
