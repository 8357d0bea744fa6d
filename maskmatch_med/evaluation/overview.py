"""What a study holds: its scans, how far they are labelled, their grids, and the volumes that the labels give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maskmatch_med.errors import InputError, StudyError
from maskmatch_med.evaluation.figures import GRID, INK, PALETTE, dress
from maskmatch_med.io import nifti
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.progress import Progress
from maskmatch_med.study import Case, Study
from maskmatch_med.volume import Shape3

_AXES = ("right–left", "front–back", "head–foot")


@dataclass(frozen=True)
class ScanRow:
    """One scan.

    Args:
        name: the case.
        state: ``complete``, ``partial`` or ``none``.
        shape: voxels along right, front and head.
        spacing_mm: along the same.
        axis_codes: how the file stores it, such as ``LPS``.
        volumes_ml: of each structure that a complete label shows.
        is_raster: whether it came from a 2D picture.
    """

    name: str
    state: str
    shape: Shape3
    spacing_mm: tuple[float, float, float]
    axis_codes: str
    volumes_ml: Mapping[str, float]
    is_raster: bool = False


@dataclass(frozen=True)
class Overview:
    """A study in rows.

    Args:
        name: of the study.
        channels: their names.
        structures: names of the classes, background left out.
        scans: one row a scan that can be read.
        unreadable: names of scans or labels that cannot be read.
    """

    name: str
    channels: tuple[str, ...]
    structures: tuple[str, ...]
    scans: tuple[ScanRow, ...]
    unreadable: tuple[str, ...] = ()

    def states(self) -> Counter[str]:
        """How many scans are labelled completely, in part, not at all."""
        return Counter(scan.state for scan in self.scans)

    def volumes(self, structure: str) -> list[float]:
        """The volume in ml of one structure in every complete label that shows it."""
        return [scan.volumes_ml[structure] for scan in self.scans if structure in scan.volumes_ml]

    @property
    def is_flat(self) -> bool:
        """Whether all scans are pictures."""
        return bool(self.scans) and all(scan.is_raster for scan in self.scans)

    def ranges(self) -> list[tuple[str, str, str, str]]:
        """Rows (what, least, median, most) of grid and labels."""
        grids = [] if self.is_flat else _grid_rows(self.scans)
        sizes = [(f"voxels {axis}", [s.shape[i] for s in self.scans]) for i, axis in enumerate(_AXES)]
        if not grids:
            sizes = [("pixels across", sizes[0][1]), ("pixels down", sizes[1][1])]
        return [*grids, *[_row(name, values) for name, values in sizes if max(values, default=0) > 1]]

    def volume_rows(self) -> list[tuple[str, str, str, str, str]]:
        """Rows (structure, labels that show it, least, median, most) in ml."""
        rows = []
        for name in self.structures:
            values = self.volumes(name)
            least, median, most = _three(values) if values else ("–", "–", "–")
            rows.append((name, str(len(values)), least, median, most))
        return rows


def look_at(study: Study, progress: Progress | None = None) -> Overview:
    """Read the headers of a study's scans and its labels; one label in memory at a time."""
    rows, unreadable, names = [], [], study.folder.names()
    for done, name in enumerate(names):
        if progress is not None:
            progress(done, len(names), f"reading {name}")
        try:
            rows.append(_scan_row(study.case(name), study.label_names))
        except (InputError, StudyError):
            unreadable.append(name)
    structures = tuple(name for name, value in study.label_names.items() if value)
    return Overview(study.name, study.channel_names, structures, tuple(rows), tuple(unreadable))


def overview_figure(overview: Overview) -> Figure | None:
    """Dots of every scan: spacing and size along each axis, and the volumes of the structures; None without a scan."""
    solid = [scan for scan in overview.scans if not scan.is_raster]
    panels: list[tuple[str, str, list[tuple[str, list[float]]]]] = []
    if solid:
        axes = [a for i, a in enumerate(_AXES) if any(s.shape[i] > 1 for s in solid)]
        at = [_AXES.index(a) for a in axes]
        panels.append(("voxel spacing", "mm", [(_AXES[i], [s.spacing_mm[i] for s in solid]) for i in at]))
        panels.append(("scan size", "mm", [(_AXES[i], [s.spacing_mm[i] * s.shape[i] for s in solid]) for i in at]))
        shown = [(name, overview.volumes(name)) for name in overview.structures[:8]]
        panels += [("label volumes", "ml", [(n, v) for n, v in shown if v])] if any(v for _, v in shown) else []
    elif overview.scans:
        sizes = [("across", [float(s.shape[0]) for s in overview.scans])]
        panels.append(("picture size", "pixels", [*sizes, ("down", [float(s.shape[1]) for s in overview.scans])]))
    if not panels:
        return None
    tallest = max(len(rows) for _, _, rows in panels)
    figure = Figure(figsize=(3.7 * len(panels) if len(panels) > 1 else 6.0, 0.95 + 0.5 * tallest), dpi=110)
    for axes_here, (title, unit, rows) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _strips(axes_here, rows)
        dress(axes_here, unit, title)
        axes_here.grid(axis="y", visible=False)
        axes_here.grid(axis="x", color=GRID, linewidth=0.8)
    figure.tight_layout()
    return figure


def _strips(axes: Axes, rows: Sequence[tuple[str, list[float]]]) -> None:
    """A line of dots a row, the median as a tick."""
    for rank, (_, values) in enumerate(rows):
        low = len(rows) - 1 - rank
        spread = 0.22 * np.sin(np.arange(len(values)) * 12.9898)
        size, alpha = (3, 0.45) if len(values) > 30 else (5, 0.7)
        axes.plot(values, low + spread, "o", color=PALETTE[0], ms=size, alpha=alpha, markeredgewidth=0)
        axes.plot([np.median(values)] * 2, [low - 0.36, low + 0.36], color=INK, linewidth=1.8)
    axes.set_yticks(range(len(rows)), [name for name, _ in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    flat = [v for _, values in rows for v in values]
    if min(flat) > 0 and max(flat) > 30 * min(flat):
        axes.set_xscale("log")
    elif max(flat) - min(flat) < 0.02 * max(flat):
        axes.set_xlim(0.8 * min(flat), 1.2 * max(flat))


def _scan_row(case: Case, label_names: Mapping[str, int]) -> ScanRow:
    geometry = nifti.read_geometry(case.image_paths[0])
    target = geometry.to_canonical().target
    volumes: dict[str, float] = {}
    label = case.read_label() if case.judged == "complete" else None
    if label is not None:
        counts = np.bincount(label.array.ravel(), minlength=UNJUDGED + 1)
        voxel_ml = geometry.voxel_mm3 / 1000
        volumes = {n: float(counts[v] * voxel_ml) for n, v in label_names.items() if v and counts[v]}
    return ScanRow(
        case.name, case.judged, target.shape, target.spacing_mm, geometry.axis_codes, volumes, case.is_raster
    )


def _grid_rows(scans: Sequence[ScanRow]) -> list[tuple[str, str, str, str]]:
    return [_row(f"spacing {axis}, mm", [s.spacing_mm[i] for s in scans]) for i, axis in enumerate(_AXES)]


def _row(name: str, values: Sequence[float]) -> tuple[str, str, str, str]:
    return (name, *_three(values))


def _three(values: Sequence[float]) -> tuple[str, str, str]:
    found = (min(values), float(np.median(values)), max(values))
    whole = all(float(value).is_integer() for value in found)
    digits = 0 if whole or found[2] <= 0 else max(0, 2 - int(np.floor(np.log10(found[2]))))
    return f"{found[0]:.{digits}f}", f"{found[1]:.{digits}f}", f"{found[2]:.{digits}f}"
