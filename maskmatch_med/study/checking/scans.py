"""What is wrong with one scan and its label, told without the others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from maskmatch_med.errors import InputError
from maskmatch_med.io import LabelMap, nifti
from maskmatch_med.io.affines import oblique_degrees, shear_degrees, stated_affines
from maskmatch_med.io.labels import UNJUDGED
from maskmatch_med.study.alignment import refuse_unknown_values
from maskmatch_med.study.case import Case
from maskmatch_med.study.checking.finding import Finding
from maskmatch_med.study.checking.outliers import amount
from maskmatch_med.study.records import SourceRecord, file_sha256
from maskmatch_med.study.study import Study
from maskmatch_med.volume import Array, Geometry, Volume

_SHEAR_DEGREES = 0.5
_OBLIQUE_DEGREES = 15.0
"""A tilted head is nothing to speak of."""
_SPIKE = 30.0
_NO_POSITION = "states no position in the world"
_UNKNOWN = re.compile(
    r"\b(?:no|not|without|unknown|lacks?|missing)\b[^.;:]*\b(?:position|orientation|origin|space|spacing|(?:pixel|voxel)"
    r" sizes?|thickness)\b|spacing is that of the detector",
    re.IGNORECASE,
)
"""In a note taken at the import: what of a scan's place or size its source did not state."""


def scan_findings(case: Case, scan: Volume) -> Iterator[Finding]:
    """Shape, channels and values of one scan."""
    if case.shape != scan.geometry.shape:
        message = f"the scan of {case.name} has {scan.geometry.shape} voxels, {case.shape} when it was imported"
        yield Finding("error", case.name, message, "restore the image file that was imported", "geometry")
    for channel, path in zip(scan.array, case.image_paths, strict=True):
        yield from _value_findings(case.name, path, channel)
    if not case.is_raster:
        yield from _geometry_findings(case, scan.geometry)


def source_findings(record: SourceRecord, name: str, found: Sequence[Finding]) -> Iterator[Finding]:
    """What a source left open of position or size, as noted at the import: the study's own files cannot tell it.

    Args:
        record: where the scan came from.
        name: the case.
        found: what its files told; what its header lacks is not said twice.
    """
    told = any(_NO_POSITION in finding.message for finding in found)
    for note in record.notes:
        if _UNKNOWN.search(note) and not (told and "position" in note):
            message = f"of {name} it was noted at its import: {note}"
            todo = "export the scan from its source with position and voxel size, or take sides and sizes with care"
            yield Finding("note", name, message, todo, "geometry")


def label_findings(study: Study, case: Case, label: LabelMap | None, geometry: Geometry) -> Iterator[Finding]:
    """Versions, values and grid of one scan's label."""
    for version in study.versions(case.name):
        if not version.path.is_file() or file_sha256(version.path) != version.sha256:
            message = f"{version.path} is missing or not as it was written"
            todo = "restore it from a copy; the other versions are not concerned"
            yield Finding("error", case.name, message, todo, "labels")
    if label is None:
        return
    if not label.geometry.same_grid(geometry):
        message = f"the label of {case.name} does not lie on the scan's grid{_difference(label.geometry, geometry)}"
        todo = "export the label on the scan's own grid and import it again"
        yield Finding("error", case.name, message, todo, "geometry")
    if set(label.values) == {UNJUDGED}:
        message = f"the label of {case.name} has no judged voxel"
        yield Finding("warning", case.name, message, "judge a part of it", "labels")
    elif set(label.values) <= {0, UNJUDGED}:
        message = f"the label of {case.name} holds background only"
        yield Finding("warning", case.name, message, "see if this is meant", "labels")


def read_label(study: Study, case: Case) -> tuple[LabelMap | None, Finding | None]:
    """The current label, or why it cannot be used."""
    try:
        label = case.read_label()
        if label is not None:
            refuse_unknown_values(label, study.label_names, case.label.path if case.label else case.name)
    except InputError as error:
        todo = "make a corrected version, or declare the class"
        return None, Finding("error", case.name, str(error), todo, "labels")
    return label, None


def _value_findings(name: str, path: Path, channel: Array) -> Iterator[Finding]:
    finite = np.isfinite(channel)
    if not finite.all():
        nans = int(np.isnan(channel).sum())
        count = channel.size - int(finite.sum())
        message = f"{path} holds {count} NaN or infinite voxels ({nans} NaN, {count / channel.size:.2%} of the scan)"
        todo = "training takes them as the median of the other voxels; correct the scan if they cover the structure"
        yield Finding("warning", name, message, todo, "values")
    values = channel[finite]
    todo = "remove the case or export the scan anew"
    if not values.size or values.min() == values.max():
        value = f"{float(values[0]):g}" if values.size else "NaN"
        yield Finding("error", name, f"{path} is empty: every voxel is {value}", todo, "values")
        return
    sample = values[:: max(1, values.size // 1_000_000)].astype(np.float64)
    low, bright = (float(v) for v in np.percentile(sample, [0.5, 99.5]))
    if low == bright:
        message = f"{path} is almost empty: 99 % of its voxels are {low:g}"
        yield Finding("warning", name, message, f"look at it; {todo}", "values")
    elif float(np.abs(values).max()) > _SPIKE * max(abs(low), abs(bright)):
        message = f"{path} has single voxels up to {amount(float(np.abs(values).max()))}, while 99 % lie within "
        message += f"{amount(low)} to {amount(bright)}"
        todo = "see if metal or an artefact is meant; otherwise clip the values before the import"
        yield Finding("warning", name, message, todo, "intensity")


def _geometry_findings(case: Case, geometry: Geometry) -> Iterator[Finding]:
    first = case.image_paths[0]
    for path in case.image_paths:
        yield from _stated_findings(case.name, path)
    for path in case.image_paths[1:]:
        other = nifti.read_geometry(path)
        if not other.same_grid(geometry):
            message = f"{path} does not lie on the grid of {first.name}{_difference(other, geometry)}"
            todo = "it is resampled each time it is read; import the scan again to have it done once and recorded"
            yield Finding("warning", case.name, message, todo, "geometry")
    yield from _axes_findings(case.name, first, geometry)


def _stated_findings(name: str, path: Path) -> Iterator[Finding]:
    """Whether the two positions that a header can state agree."""
    try:
        stated = stated_affines(path)
    except InputError as error:
        todo = "the scan can be used, other programs may refuse it"
        yield Finding("warning", name, str(error), todo, "geometry")
        return
    if stated.disagree:
        message = f"{path} states two positions that differ by {stated.disagreement_vox:.1f} voxels (sform and "
        message += "qform); the sform is used"
        todo = "programs that read the qform will see the scan elsewhere; see which is right and write it to both"
        yield Finding("warning", name, message, todo, "geometry")
    if stated.qform is None and stated.sform is None:
        message = f"{path} {_NO_POSITION}, so which side is left is a guess"
        todo = "export the scan from its source with a position, or make sure that all scans lie alike"
        yield Finding("note", name, message, todo, "geometry")


def _axes_findings(name: str, path: Path, geometry: Geometry) -> Iterator[Finding]:
    shear, oblique = shear_degrees(geometry), oblique_degrees(geometry)
    if shear > _SHEAR_DEGREES:
        message = f"{path} is sheared: two of its axes are {90 - shear:.1f}° apart instead of 90°"
        todo = "resample it to a straight grid; lengths and volumes of structures are wrong otherwise"
        yield Finding("warning", name, message, todo, "geometry")
    elif oblique > _OBLIQUE_DEGREES:
        message = f"{path} lies oblique, up to {oblique:.1f}° off the axes of the body"
        todo = "nothing: it is taken along its own axes, and segmentations come back on its own grid"
        yield Finding("note", name, message, todo, "geometry")


def _difference(grid: Geometry, other: Geometry) -> str:
    if grid.shape != other.shape:
        return f": {grid.shape} voxels against {other.shape}"
    apart = float(np.linalg.norm(grid.affine[:3, 3] - other.affine[:3, 3]))
    if not np.allclose(grid.spacing_mm, other.spacing_mm, rtol=1e-3):
        texts = [" × ".join(f"{mm:.4g}" for mm in g.spacing_mm) for g in (grid, other)]
        return f": voxels of {texts[0]} mm against {texts[1]} mm"
    if grid.axis_codes != other.axis_codes:
        return f": axes {grid.axis_codes} against {other.axis_codes}"
    return f": first voxels {apart:.3g} mm apart"
