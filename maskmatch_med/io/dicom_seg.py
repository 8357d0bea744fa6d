"""DICOM segmentations: binary or fractional masks, a frame for each segment and slice, and label maps.

Frames without a labelled voxel are often left out, so the grid of the file is the box around what is labelled; beyond
it nothing is. Source: DICOM PS3.3, C.8.20 Segmentation and its Supplement 243 (label maps).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pydicom
from numpy.typing import NDArray

from maskmatch_med.errors import InputError
from maskmatch_med.io.dicom.decoding import decoded_in_child, needs_a_library
from maskmatch_med.io.dicom.frames import BROKEN
from maskmatch_med.io.dicom.source import DicomFile
from maskmatch_med.io.labels import LabelMap
from maskmatch_med.io.segments import Segment, Segmentation, hex_colour, merged, numbered
from maskmatch_med.volume import Array, Geometry

SOP_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation, and label map segmentation."""
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
_TOLERANCE_MM = 1e-2


@dataclass(frozen=True)
class SegmentationHead:
    """What a DICOM segmentation says of itself.

    Args:
        segments: its classes; the values are the segment numbers where these fit.
        series: the identifier of the series it was drawn on; empty where it does not say.
    """

    segments: tuple[Segment, ...]
    series: str


def read_head(path: Path) -> SegmentationHead | None:
    """The segments and the series of a DICOM segmentation; None for a DICOM file that is none.

    Raises:
        InputError: the file is damaged, or its segments cannot be told apart.
    """
    dataset = _load(path, pixels=False)
    if str(dataset.get("SOPClassUID", "")) not in SOP_CLASSES:
        return None
    referenced = dataset.get("ReferencedSeriesSequence") or []
    series = str(referenced[0].get("SeriesInstanceUID", "")) if referenced else ""
    return SegmentationHead(tuple(s for _, s in _segments(dataset, path)), series)


def read_dicom_seg(path: Path) -> Segmentation:
    """Read a DICOM segmentation with the values of :func:`read_head`.

    Raises:
        InputError: the file is damaged or no segmentation, its frames do not lie on a regular grid, hold fractions, or
            its segments overlap.
    """
    dataset = _load(path, pixels=True)
    if str(dataset.get("SOPClassUID", "")) not in SOP_CLASSES:
        raise InputError(f"{path} is no DICOM segmentation; give a segmentation object (modality SEG) as label")
    try:
        _guard_size(dataset, path)
        stack = _Stack.of(dataset, path)
        frames = _frames(dataset, path)
        if len(frames) != len(stack.slices):
            raise InputError(f"{path} holds {len(frames)} frames and describes {len(stack.slices)}; export it anew")
        labels = _labels(dataset, frames, stack, path)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path} does not fit into memory; export fewer segments") from error
    except BROKEN as error:
        raise InputError(f"cannot read the segmentation {path} ({_reason(error)}); export it anew") from error
    return Segmentation(labels, background_outside=True)


def _frames(dataset: Any, path: Path) -> Array:
    """(frames, rows, columns) stored numbers."""
    if needs_a_library(dataset):
        count, samples = int(dataset.get("NumberOfFrames", 1) or 1), int(dataset.Rows) * int(dataset.Columns)
        return decoded_in_child(DicomFile(path), range(count), samples)
    frames = np.asarray(dataset.pixel_array)
    return frames.reshape(-1, *frames.shape[-2:])


@dataclass(frozen=True, eq=False)
class _Stack:
    """The grid of the frames, and for each frame the slice it is."""

    geometry: Geometry
    slices: tuple[int, ...]

    @classmethod
    def of(cls, dataset: Any, path: Path) -> _Stack:
        frames = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])
        shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
        if not frames or any(_item(f, shared, "PlanePositionSequence") is None for f in frames):
            raise InputError(f"{path} does not say where its frames lie; expected a segmentation of CT or MR slices")
        turns = [_floats(_needed(f, shared, "PlaneOrientationSequence", path).ImageOrientationPatient) for f in frames]
        if not np.allclose(turns, turns[0], atol=1e-4):
            raise InputError(f"{path} has frames of several orientations; export each as a segmentation of its own")
        measures = _needed(frames[0], shared, "PixelMeasuresSequence", path)
        rows_mm, columns_mm = _floats(measures.PixelSpacing)
        along, down = turns[0][:3], turns[0][3:]
        normal = np.cross(along, down)
        places = np.array([_floats(_item(f, shared, "PlanePositionSequence").ImagePositionPatient) for f in frames])
        heights = places @ normal
        origin = places[heights.argmin()]
        if np.abs(places - origin - np.outer(heights - heights.min(), normal)).max() > 10 * _TOLERANCE_MM:
            raise InputError(f"the frames of {path} do not lie above each other; export it on an untilted grid")
        steps = heights - heights.min()
        step_mm = _step(steps, measures, path)
        slices = np.rint(steps / step_mm).astype(int)
        affine = np.eye(4)
        affine[:3, :3] = _LPS_TO_RAS @ np.column_stack([along * columns_mm, down * rows_mm, normal * step_mm])
        affine[:3, 3] = _LPS_TO_RAS @ origin
        shape = (int(dataset.Columns), int(dataset.Rows), int(slices.max()) + 1)
        return cls(Geometry(shape, affine), tuple(slices.tolist()))


def _step(steps_mm: NDArray[np.float64], measures: Any, path: Path) -> float:
    """The distance between slices: as stated where the positions agree with it, else the smallest between them."""
    apart = np.diff(np.unique(np.round(steps_mm, 3)))
    apart = apart[apart > _TOLERANCE_MM]
    stated = [float(measures.get(key) or 0) for key in ("SpacingBetweenSlices", "SliceThickness")]
    for step in (*stated, float(apart.min()) if apart.size else 0.0):
        if step > 0 and np.abs(steps_mm / step - np.rint(steps_mm / step)).max() * step <= 10 * _TOLERANCE_MM:
            return step
    raise InputError(f"the slices of {path} are not equally far apart; export it on a regular grid")


def _labels(dataset: Any, frames: Array, stack: _Stack, path: Path) -> LabelMap:
    by_number = dict(_segments(dataset, path))
    kind = str(dataset.get("SegmentationType", "BINARY"))
    if kind == "LABELMAP":
        background = int(dataset.get("PixelPaddingValue", 0) or 0)
        return merged(_of_label_map(frames, stack, by_number, background, path), stack.geometry, path)
    full = int(dataset.get("MaximumFractionalValue", 255)) if kind == "FRACTIONAL" else 1
    if not np.isin(frames, (0, full)).all():
        raise InputError(f"{path} holds fractions of voxels; export it as a binary segmentation or a label map")
    numbers = _frame_numbers(dataset, path)
    lost = next((number for number in numbers if number not in by_number), None)
    if lost is not None:
        raise InputError(f"{path} has frames of a segment {lost} that it does not describe; export it anew")
    return merged(_of_masks(frames != 0, stack, [by_number[n] for n in numbers]), stack.geometry, path)


def _of_masks(
    frames: NDArray[np.bool_], stack: _Stack, segments: Sequence[Segment]
) -> Iterator[tuple[Segment, NDArray[np.bool_]]]:
    for segment in sorted(set(segments), key=lambda one: one.value):
        mask = np.zeros(stack.geometry.shape, bool)
        for frame, place, owner in zip(frames, stack.slices, segments, strict=True):
            if owner == segment:
                mask[:, :, place] |= frame.T
        yield segment, mask


def _of_label_map(
    frames: Array, stack: _Stack, by_number: dict[int, Segment], background: int, path: Path
) -> Iterator[tuple[Segment, NDArray[np.bool_]]]:
    values = np.full(stack.geometry.shape, background, frames.dtype)
    for frame, place in zip(frames, stack.slices, strict=True):
        values[:, :, place] = frame.T
    for number in np.unique(values).tolist():
        if number != background:
            if number not in by_number:
                raise InputError(f"{path} holds the segment {number}, which it does not describe; export it anew")
            yield by_number[number], values == number


def _frame_numbers(dataset: Any, path: Path) -> list[int]:
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
    frames = dataset.PerFrameFunctionalGroupsSequence
    items = [_needed(frame, shared, "SegmentIdentificationSequence", path) for frame in frames]
    return [int(item.ReferencedSegmentNumber) for item in items]


def _segments(dataset: Any, path: Path) -> list[tuple[int, Segment]]:
    """Segment numbers with their descriptions, without the background that a label map may describe."""
    try:
        kind = str(dataset.get("SegmentationType", ""))
        background = int(dataset.get("PixelPaddingValue", 0) or 0) if kind == "LABELMAP" else 0
        items = [item for item in dataset.SegmentSequence if int(item.SegmentNumber) != background]
        bare = [Segment(int(i.SegmentNumber), str(i.get("SegmentLabel", "")).strip(), _colour(i)) for i in items]
    except BROKEN as error:
        raise InputError(f"{path} does not describe its segments ({_reason(error)}); export it anew") from error
    return [(segment.value, new) for segment, new in zip(bare, numbered(bare, path), strict=True)]


def _colour(item: Any) -> str | None:
    """The recommended display colour: CIELab in 16 bits a part."""
    stored = item.get("RecommendedDisplayCIELabValue")
    if stored is None or len(stored) != 3:
        return None
    from skimage.color import lab2rgb  # noqa: PLC0415  (slow to import)

    share = np.asarray([float(part) for part in stored]) / 65535
    lab = share * [100.0, 255.0, 255.0] - [0.0, 128.0, 128.0]
    return hex_colour(*lab2rgb(lab[None, None])[0, 0].tolist())


def _load(path: Path, *, pixels: bool) -> Any:
    try:
        return pydicom.dcmread(path, stop_before_pixels=not pixels, force=False)
    except BROKEN as error:
        raise InputError(f"cannot read {path} as DICOM ({_reason(error)}); export it anew") from error


def _guard_size(dataset: Any, path: Path) -> None:
    voxels = int(dataset.get("NumberOfFrames", 1) or 1) * int(dataset.Rows) * int(dataset.Columns)
    if voxels * 4 > psutil.virtual_memory().total:
        raise InputError(f"{path} with {voxels} voxels in its frames does not fit into memory; export fewer segments")


def _item(frame: Any, shared: Any, name: str) -> Any:
    for group in (frame, shared):
        sequence = None if group is None else group.get(name)
        if sequence:
            return sequence[0]
    return None


def _needed(frame: Any, shared: Any, name: str, path: Path) -> Any:
    item = _item(frame, shared, name)
    if item is None:
        raise InputError(f"{path} lacks {name}, which every DICOM segmentation has; export it anew")
    return item


def _floats(values: Any) -> NDArray[np.float64]:
    return np.array([float(value) for value in values])


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
