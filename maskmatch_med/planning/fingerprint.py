"""The fingerprint of a study: the numbers that a plan is made from, and nothing that names a case."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from skimage import measure

from maskmatch_med.errors import InputError
from maskmatch_med.io.labels import UNJUDGED, LabelMap
from maskmatch_med.io.nifti import read_geometry

if TYPE_CHECKING:
    from maskmatch_med.study import Case, Study

_VOXELS_PER_CASE = 20_000
_SEED = 1234


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScanFingerprint(_Frozen):
    """One scan's grid, axes turned closest to RAS+."""

    shape_vox: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]


class ChannelStatistics(_Frozen):
    """Intensities of one channel inside the labelled structures, over all labelled cases."""

    mean: float
    std: float
    percentile_00_5: float
    percentile_99_5: float


class Fingerprint(_Frozen):
    """What the data of a study look like.

    ``scans`` are those of all images, labelled or not. ``foreground`` has one entry a channel, ``extents_mm`` one a
    case with foreground (bounding box of all structures, canonical axes); ``pieces_mm`` has one a complete case with
    foreground (median diameter of the structures' connected pieces). All are empty where nothing is labelled.
    """

    channel_names: tuple[str, ...]
    label_names: dict[str, int]
    labelled: int
    unlabelled: int
    pictures: bool
    """Whether every image came from a picture file (PNG, JPEG, …) and not from a scanner."""
    scans: tuple[ScanFingerprint, ...]
    foreground: tuple[ChannelStatistics, ...] = ()
    extents_mm: tuple[tuple[float, float, float], ...] = ()
    pieces_mm: tuple[float, ...] = ()

    @property
    def spatial_dims(self) -> Literal[2, 3]:
        """2 when every scan has an axis of one voxel, else 3."""
        return 2 if all(min(scan.shape_vox) == 1 for scan in self.scans) else 3

    @property
    def voxels(self) -> int:
        """Voxels of all scans together."""
        return int(sum(np.prod(scan.shape_vox) for scan in self.scans))


def is_ct(channel_name: str) -> bool:
    """Whether a channel holds Hounsfield units: its name says ``CT`` as a word, in any case; never guessed."""
    return re.search(r"\bct\b", channel_name, flags=re.IGNORECASE) is not None


def fingerprint(study: Study) -> Fingerprint:
    """Measure a study.

    Shapes and spacings come from the headers of all images. Image data are read of labelled cases only: 20,000
    voxels of each case's foreground (evenly drawn, always the same ones) make the intensity statistics.

    Raises:
        InputError: the study has no images.
    """
    cases = study.cases()
    if not cases:
        raise InputError(f"the study {study.root} has no images: import some first")
    labelled = [case for case in cases if case.judged != "none"]
    samples: list[NDArray[np.float32]] = []
    extents: list[tuple[float, float, float]] = []
    pieces: list[float] = []
    for case in labelled:
        label = case.read_label()
        if label is not None and foreground_mask(label.array).any():
            extents.append(_extent_mm(label))
            if not (label.array == UNJUDGED).any():  # what was not judged cuts a structure into pieces
                pieces.append(_piece_mm(label))
            samples.append(_foreground_sample(case, label))
    return Fingerprint(
        channel_names=tuple(study.channel_names),
        label_names=dict(study.label_names),
        labelled=len(labelled),
        unlabelled=len(cases) - len(labelled),
        pictures=all(case.is_raster for case in cases),
        scans=tuple(_scan(case) for case in cases),
        foreground=_statistics(samples),
        extents_mm=tuple(extents),
        pieces_mm=tuple(pieces),
    )


def foreground_mask(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a label map says anything but background and not judged."""
    mask: NDArray[np.bool_] = (labels != 0) & (labels != UNJUDGED)
    return mask


def _scan(case: Case) -> ScanFingerprint:
    target = read_geometry(case.image_paths[0]).to_canonical().target
    return ScanFingerprint(shape_vox=target.shape, spacing_mm=target.spacing_mm)


def _extent_mm(label: LabelMap) -> tuple[float, float, float]:
    """Edges of the box around all structures, canonical axes."""
    orientation = label.geometry.to_canonical()
    where = np.nonzero(orientation.apply(foreground_mask(label.array)))
    spacing = orientation.target.spacing_mm
    edges = [float(np.ptp(index) + 1) * size for index, size in zip(where, spacing, strict=True)]
    return edges[0], edges[1], edges[2]


def _piece_mm(label: LabelMap) -> float:
    """Median diameter in mm of the connected pieces of all structures: that of a ball, or in 2D a disc, of their size.

    Pieces below a hundredth of the largest of their structure are left out: single voxels say nothing of its size.
    """
    labels, spacing = label.array, np.array(label.geometry.spacing_mm)
    sizes: list[NDArray[np.int64]] = []
    for value in np.unique(labels[foreground_mask(labels)]):
        inside = labels == value
        box = tuple(slice(int(at.min()), int(at.max()) + 1) for at in np.nonzero(inside))
        found = np.bincount(measure.label(inside[box], connectivity=1).ravel())[1:]
        sizes.append(found[found >= 0.01 * found.max()])
    flat = min(labels.shape) == 1
    voxel = float(np.prod(spacing[np.array(labels.shape) > 1])) if flat else float(np.prod(spacing))
    volume = np.concatenate(sizes) * voxel
    diameters = 2 * np.sqrt(volume / np.pi) if flat else np.cbrt(6 * volume / np.pi)
    return float(np.median(diameters))


def _foreground_sample(case: Case, label: LabelMap) -> NDArray[np.float32]:
    """(C, n) finite foreground intensities of one case; n at most 20,000."""
    inside: NDArray[np.float32] = case.read_image().array[:, foreground_mask(label.array)]
    inside = inside[:, np.isfinite(inside).all(axis=0)]
    if inside.shape[1] > _VOXELS_PER_CASE:
        inside = inside[:, np.random.default_rng(_SEED).choice(inside.shape[1], _VOXELS_PER_CASE, replace=False)]
    return inside


def _statistics(samples: list[NDArray[np.float32]]) -> tuple[ChannelStatistics, ...]:
    if not samples or not sum(sample.shape[1] for sample in samples):
        return ()
    return tuple(
        ChannelStatistics(
            mean=float(channel.mean()),
            std=float(channel.std()),
            percentile_00_5=float(np.percentile(channel, 0.5)),
            percentile_99_5=float(np.percentile(channel, 99.5)),
        )
        for channel in np.concatenate(samples, axis=1).astype(np.float64)
    )
