"""Which DICOM objects are scans, and what the others are called when they are skipped."""

from __future__ import annotations

SEGMENTATION = "segmentations"
MOSAIC = "mosaics"
DAMAGED = "damaged files"
FORBIDDEN = "files that this account may not read"
NO_IMAGE = "files without an image, cut off or no scans"

_CLASSES = "1.2.840.10008.5.1.4.1.1"
_KIND_OF_CLASS = (
    (f"{_CLASSES}.7", "secondary captures (screenshots)"),
    (f"{_CLASSES}.66.4", SEGMENTATION),
    (f"{_CLASSES}.66.7", SEGMENTATION),
    (f"{_CLASSES}.66.5", "surfaces"),
    (f"{_CLASSES}.66", "registrations, fiducials or raw data"),
    (f"{_CLASSES}.88.59", "key object selections"),
    (f"{_CLASSES}.88", "structured reports"),
    (f"{_CLASSES}.11", "presentation states"),
    (f"{_CLASSES}.481.3", "radiotherapy structure sets"),
    (f"{_CLASSES}.481.2", "radiotherapy doses"),
    (f"{_CLASSES}.481", "radiotherapy objects"),
    (f"{_CLASSES}.104", "documents"),
    (f"{_CLASSES}.9", "waveforms"),
    (f"{_CLASSES}.67", "tables of real-world values"),
    (f"{_CLASSES}.4.2", "spectra"),
    (f"{_CLASSES}.77.1.6", "whole slides"),
    ("1.2.840.10008.1.3.10", "directories (DICOMDIR)"),
)
"""SOP classes by the beginning of their identifiers, the longer ones first."""

_KIND_OF_MODALITY = {
    "SEG": SEGMENTATION,
    "SR": "structured reports",
    "KO": "key object selections",
    "PR": "presentation states",
    "RTSTRUCT": "radiotherapy structure sets",
    "RTDOSE": "radiotherapy doses",
    "RTPLAN": "radiotherapy objects",
    "RTRECORD": "radiotherapy objects",
    "REG": "registrations, fiducials or raw data",
    "FID": "registrations, fiducials or raw data",
    "DOC": "documents",
    "ECG": "waveforms",
    "SM": "whole slides",
}
_KIND_OF_TYPE = {"LOCALIZER": "localizers", "SCREEN SAVE": "secondary captures (screenshots)", "MOSAIC": MOSAIC}

CROSS_SECTIONAL = frozenset({"CT", "MR", "PT", "NM"})
"""Modalities whose images mean nothing to a volume without a position."""
QUANTITATIVE = frozenset({"CT", "PT"})
"""Modalities whose values carry a unit, so that they are never inverted for display."""


def kind_to_skip(sop_class: str, modality: str, image_type: tuple[str, ...]) -> str | None:
    """What an object is that is no scan, in the plural; None where it may be one."""
    for beginning, kind in _KIND_OF_CLASS:
        if sop_class == beginning or sop_class.startswith(f"{beginning}."):
            return kind
    if modality in _KIND_OF_MODALITY:
        return _KIND_OF_MODALITY[modality]
    return next((_KIND_OF_TYPE[value] for value in image_type if value in _KIND_OF_TYPE), None)
