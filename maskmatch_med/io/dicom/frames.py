"""What the header of a DICOM file says of each of its frames. Only what geometry and values need is ever looked at."""

from __future__ import annotations

import logging
import math
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.sequence import Sequence as ItemSequence

from maskmatch_med.io.dicom import kinds
from maskmatch_med.io.dicom.extent import is_cut_off
from maskmatch_med.io.dicom.source import DicomFile
from maskmatch_med.io.dicom.traits import TABLE

_PRIVATE = {0x0019100C: "SiemensBValue", 0x0019100E: "SiemensDirection", 0x00431039: "GeBValue"}
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "SequenceOfUltrasoundRegions")
_SINGLE = (
    *("SOPClassUID", "SOPInstanceUID", "Modality", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber"),
    *("StudyInstanceUID", "FrameOfReferenceUID", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel"),
    *("PhotometricInterpretation", "BitsStored", "BitsAllocated", "PixelRepresentation"),
    *("RescaleSlope", "RescaleIntercept", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("ImagerPixelSpacing", "SliceThickness", "SpacingBetweenSlices", "ImageType"),
)
_WANTED = frozenset({*_SINGLE, *(tag for _, _, tags in TABLE for tag in tags)})
_SPECIFIC: list[Any] = [*sorted(t for t in _WANTED if t[:7] not in {"Siemens", "GeBValu"}), *_PRIVATE, *_GROUPS]
_SPECIFIC += ["ModalityLUTSequence", "TransferSyntaxUID"]
_CENTIMETRE = 3
BROKEN = (
    BytesLengthException,
    InvalidDicomError,
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    EOFError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom and the decoders raise for files that are not as they should be."""


class SkippedError(Exception):
    """A file that is no scan; the message says what it is, in the plural."""


@dataclass(frozen=True)
class Origin:
    """Which series and which image a frame belongs to. None of it leaves this package but hashed.

    Args:
        series: what the frames of one series share.
        modality: such as ``"CT"``.
        number: of the series, where it has one.
        image: the identifier of the image; empty where it has none.
        instance: the number of the image within its series.
    """

    series: tuple[str, ...]
    modality: str
    number: int | None
    image: str
    instance: int


@dataclass(frozen=True)
class Plane:
    """Where one frame lies, in DICOM's own patient axes (LPS, mm).

    Args:
        shape: (columns, rows).
        position: of the centre of the first pixel.
        orientation: direction along a row, then direction down a column.
        spacing: (between rows, between columns).
        spacing_tag: the attribute that the spacing is from.
        thickness: distance to the next slice where no other slice tells it.
    """

    shape: tuple[int, int]
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    spacing_tag: str
    thickness: float | None


@dataclass(frozen=True)
class Coding:
    """How stored numbers become values.

    Args:
        slope: factor of the rescaling; None where a look-up table takes its place.
        intercept: addend of the rescaling.
        photometric: how the numbers are meant, such as ``"MONOCHROME2"``.
        samples: numbers a pixel.
        bits: of a stored number; 0 where it is a float.
        signed: whether it may be negative.
    """

    slope: float | None
    intercept: float
    photometric: str
    samples: int
    bits: int
    signed: bool


@dataclass(frozen=True)
class Frame:
    """One slice.

    Args:
        file: where it is stored.
        index: which frame of that file, counted from 0; -1 where the file holds just one.
        origin: its series and image.
        plane: its place.
        coding: its numbers.
        traits: what may tell stacks of one series apart, by the names of the table of traits.
        cut_off: whether the file ends before its pixels do, or has none.
    """

    file: DicomFile
    index: int
    origin: Origin
    plane: Plane
    coding: Coding
    traits: Mapping[str, str]
    cut_off: bool = False


@contextmanager
def quiet() -> Iterator[None]:
    """Without pydicom's remarks on values that break the standard but can be read: they quote what the file says."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def read_frames(file: DicomFile) -> tuple[Frame, ...]:
    """What a file's header says of its frames.

    Raises:
        SkippedError: it is no scan, or damaged.
    """
    try:
        with quiet(), file.open() as stream:
            dataset = pydicom.dcmread(stream, stop_before_pixels=True, force=True, specific_tags=_SPECIFIC)
            frames = _frames(file, dataset)
            cut_off = is_cut_off(stream, dataset)
            return tuple(replace(frame, cut_off=True) for frame in frames) if cut_off else frames
    except PermissionError as error:
        raise SkippedError(kinds.FORBIDDEN) from error
    except BROKEN as error:
        raise SkippedError(kinds.DAMAGED) from error


def _frames(file: DicomFile, dataset: Dataset) -> tuple[Frame, ...]:
    top = _flat(dataset, depth=0)
    sop_class = str(top.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID", ""))
    top["SOPInstanceUID"] = top.get("SOPInstanceUID") or dataset.file_meta.get("MediaStorageSOPInstanceUID", "")
    kind = kinds.kind_to_skip(sop_class, str(top.get("Modality", "")).upper(), _strings(top.get("ImageType")))
    if kind is not None:
        raise SkippedError(kind)
    if not top.get("Rows") or not top.get("Columns"):
        raise SkippedError(kinds.NO_IMAGE if sop_class else kinds.DAMAGED)
    top["HasLut"] = "ModalityLUTSequence" in dataset
    top["UltrasoundSpacing"] = _ultrasound_spacing(dataset)
    count = int(top.get("NumberOfFrames") or 1)
    frames = dataset.get("PerFrameFunctionalGroupsSequence")
    if not frames and count == 1:
        return (_frame(file, -1, top),)
    if not frames:
        top.pop("ImagePositionPatient", None)  # that of the first frame at best
        return tuple(_frame(file, index, top) for index in range(count))
    if len(frames) != count:
        raise SkippedError(kinds.DAMAGED)
    shared = dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]
    base = {**top, **_flat(shared[0], depth=3)}
    return tuple(_frame(file, index, {**base, **_flat(item, depth=3)}) for index, item in enumerate(frames))


def _flat(dataset: Dataset, depth: int) -> dict[str, Any]:
    """The wanted attributes by keyword, those of the first items of nested sequences among them."""
    found: dict[str, Any] = {}
    for element in dataset:
        name = _PRIVATE.get(int(element.tag), element.keyword)
        if name in _WANTED:
            found[name] = element.value
        elif depth and isinstance(element.value, ItemSequence) and len(element.value):
            found = {**_flat(element.value[0], depth - 1), **found}
    return found


def _frame(file: DicomFile, index: int, tags: Mapping[str, Any]) -> Frame:
    if "LOCALIZER" in _strings(tags.get("FrameType")):
        raise SkippedError("localizers")
    plane = _plane(tags)
    traits = {**_traits_of(tags), "place": _place(plane)}
    return Frame(file, index, _origin(file, tags), plane, _coding(tags), traits)


def _origin(file: DicomFile, tags: Mapping[str, Any]) -> Origin:
    number = _number(tags.get("SeriesNumber"))
    series: tuple[str, ...] = (str(tags.get("SeriesInstanceUID") or ""),)
    if not series[0]:
        rest = (tags.get("StudyInstanceUID"), tags.get("FrameOfReferenceUID"), number)
        series = ("", file.folder, *(str(value or "") for value in rest))
    modality = "".join(c for c in str(tags.get("Modality") or "").upper() if c.isascii() and c.isalnum())[:8]
    return Origin(
        series=series,
        modality=modality or "DICOM",
        number=None if number is None else int(number),
        image=str(tags.get("SOPInstanceUID") or ""),
        instance=int(_number(tags.get("InstanceNumber")) or 0),
    )


def _plane(tags: Mapping[str, Any]) -> Plane:
    sources = ("PixelSpacing", "UltrasoundSpacing", "ImagerPixelSpacing")
    spacings = ((tag, _numbers(tags.get(tag), 2)) for tag in sources)
    tag, spacing = next(((t, s) for t, s in spacings if s is not None and min(s) > 0), ("", None))
    lengths = (_number(tags.get(name)) for name in ("SpacingBetweenSlices", "SliceThickness"))
    return Plane(
        shape=(int(tags["Columns"]), int(tags["Rows"])),
        position=_numbers(tags.get("ImagePositionPatient"), 3),
        orientation=_numbers(tags.get("ImageOrientationPatient"), 6),
        spacing=spacing,
        spacing_tag=tag,
        thickness=next((abs(length) for length in lengths if length), None),
    )


def _coding(tags: Mapping[str, Any]) -> Coding:
    slope, intercept = _number(tags.get("RescaleSlope")), _number(tags.get("RescaleIntercept"))
    return Coding(
        slope=None if tags.get("HasLut") else (slope or 1.0),
        intercept=intercept or 0.0,
        photometric=str(tags.get("PhotometricInterpretation") or "MONOCHROME2").upper(),
        samples=int(tags.get("SamplesPerPixel") or 1),
        bits=int(tags.get("BitsStored") or 0),
        signed=bool(tags.get("PixelRepresentation")),
    )


def _traits_of(tags: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for name, _, keywords in TABLE:
        values = [_strings(tags.get(keyword)) for keyword in keywords]
        if name == "type":
            values = [value[2:] if len(value) > 2 else () if len(value) == 2 else value for value in values]
        found[name] = " ".join("\\".join(value) for value in values if value)
    return found


def _place(plane: Plane) -> str:
    """Where the first pixel lies across the normal, to the millimetre: what tells stations of one examination apart."""
    if plane.position is None or plane.orientation is None:
        return ""
    axes = np.array(plane.orientation).reshape(2, 3)
    return "\\".join(f"{mm:.0f}" for mm in axes @ np.array(plane.position) + 0.0)


def _ultrasound_spacing(dataset: Dataset) -> tuple[float, float] | None:
    """Spacing in mm from the calibrated regions of an ultrasound image, where all of them agree."""
    found = set()
    for region in dataset.get("SequenceOfUltrasoundRegions") or []:
        if region.get("PhysicalUnitsXDirection") == region.get("PhysicalUnitsYDirection") == _CENTIMETRE:
            found.add((abs(float(region.PhysicalDeltaY)) * 10, abs(float(region.PhysicalDeltaX)) * 10))
    return found.pop() if len(found) == 1 else None


def _strings(value: Any) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    values = [value] if isinstance(value, str | bytes | int | float) or not hasattr(value, "__iter__") else value
    return tuple(str(v).strip() for v in values)


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """That many finite numbers, or None."""
    try:
        numbers = tuple(float(v) for v in value)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and all(math.isfinite(n) for n in numbers) else None


def _number(value: Any) -> float | None:
    found = _numbers((value,), 1)
    return found[0] if found else None
