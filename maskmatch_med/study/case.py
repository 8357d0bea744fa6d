"""One scan of a study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskmatch_med.io import LabelMap, read_volume
from maskmatch_med.study.records import Judged, LabelVersion
from maskmatch_med.volume import Shape3, Volume


@dataclass(frozen=True, eq=False)
class Case:
    """A scan with its current label.

    Args:
        name: its name in the study.
        image_paths: one NIfTI file a channel.
        shape: (X, Y, Z) voxels.
        group: the patient group that must stay in one fold; None where each case stands alone.
        source_name: file name it came from.
        is_raster: whether it came from a 2D picture, so that masks go back out as PNG.
        label: its current label version.
    """

    name: str
    image_paths: tuple[Path, ...]
    shape: Shape3
    group: str | None
    source_name: str
    is_raster: bool
    label: LabelVersion | None

    @property
    def judged(self) -> Judged:
        """How much of the scan somebody has judged."""
        return "none" if self.label is None else self.label.judged

    def read_image(self) -> Volume:
        """Read the scan: (C, X, Y, Z) float32.

        Raises:
            InputError: an image file is missing or damaged.
        """
        return read_volume(self.image_paths)

    def read_label(self) -> LabelMap | None:
        """Read the current label, (X, Y, Z) uint8 with 255 = not judged; None where there is none.

        Raises:
            InputError: the label file is missing or damaged.
        """
        return None if self.label is None else self.label.read()
