"""The door for labels made by other programs: plain label maps, 3D Slicer, DICOM segmentations, mask pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maskmatch_med.errors import InputError
from maskmatch_med.io import rasters, slicer
from maskmatch_med.io.formats import format_of
from maskmatch_med.io.itksnap import descriptions_beside
from maskmatch_med.io.labels import UNJUDGED, refuse_lone_255
from maskmatch_med.io.masks import MaskCode
from maskmatch_med.io.segments import Segment, Segmentation
from maskmatch_med.io.volumes import read_labels


def segments_of(labels: Sequence[Path]) -> dict[Path, tuple[Segment, ...]]:
    """The classes that label files name themselves, or that an ITK-SNAP label description beside them names.

    Only headers are read; files that nothing describes are left out.

    Raises:
        InputError: a description cannot be used.
    """
    beside = descriptions_beside([path for path in labels if not rasters.is_raster(path)])
    found = {path: _own_segments(path) or beside.get(path, ()) for path in labels}
    return {path: segments for path, segments in found.items() if segments}


def read_segmentation(path: Path, *, unjudged: int | None = None, code: MaskCode | None = None) -> Segmentation:
    """Read the labels of a file with the values by which :func:`segments_of` names them.

    Args:
        path: a label map in any format of scans, a segmentation of 3D Slicer or DICOM, or a mask picture.
        unjudged: the value of a plain label map that stands for "not judged"; where not given, 255 does if classes
            stand beside it.
        code: how a picture's pixels become classes; found from this one picture where not given.

    Raises:
        InputError: missing, damaged, or values that are no class numbers.
    """
    if not rasters.is_raster(path):
        if slicer.is_slicer(path):
            return slicer.read_slicer(path)
        if _is_dicom_file(path):
            from maskmatch_med.io.dicom_seg import read_dicom_seg  # noqa: PLC0415  (slow to import)

            return read_dicom_seg(path)
    labels = read_labels(path, unjudged=UNJUDGED if unjudged is None else unjudged, code=code)
    if unjudged is None and not rasters.is_raster(path):
        refuse_lone_255(labels, path)
    return Segmentation(labels)


def referenced_series(path: Path) -> str | None:
    """The identifier of the series that a DICOM segmentation was drawn on; None for any other file.

    Raises:
        InputError: a DICOM file is damaged.
    """
    if not _is_dicom_file(path):
        return None
    from maskmatch_med.io.dicom_seg import read_head  # noqa: PLC0415  (slow to import)

    head = read_head(path)
    return head.series if head else None


def _own_segments(path: Path) -> tuple[Segment, ...]:
    if slicer.is_slicer(path):
        return slicer.read_segments(path)
    if not rasters.is_raster(path) and _is_dicom_file(path):
        from maskmatch_med.io.dicom_seg import read_head  # noqa: PLC0415  (slow to import)

        head = read_head(path)
        if head is None:
            raise InputError(f"{path} is no DICOM segmentation; give a segmentation object (modality SEG) as label")
        return head.segments
    return ()


def _is_dicom_file(path: Path) -> bool:
    row = format_of(path) if path.is_file() else None
    return row is not None and row.name == "DICOM"
