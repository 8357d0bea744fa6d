"""The only doors to imaging files: the formats of :mod:`maskmatch_med.io.formats` in, NIfTI and PNG out."""

from maskmatch_med.io.cases import CaseFiles, FoundScans, find_cases, find_scans
from maskmatch_med.io.labels import LabelMap
from maskmatch_med.io.masks import MaskCode, write_mask_png
from maskmatch_med.io.nifti import write_map, write_segmentation
from maskmatch_med.io.volumes import read_labels, read_volume

__all__ = [
    "CaseFiles",
    "FoundScans",
    "LabelMap",
    "MaskCode",
    "find_cases",
    "find_scans",
    "read_labels",
    "read_volume",
    "write_map",
    "write_mask_png",
    "write_segmentation",
]
