"""The study folder: scans, labels, models, predictions in one place."""

from typing import TYPE_CHECKING

from maskmatch_med.lazy import lazy_names

if TYPE_CHECKING:
    from maskmatch_med.study.admission import SourceInfo
    from maskmatch_med.study.case import Case
    from maskmatch_med.study.checking import Finding, check_study, repair_study
    from maskmatch_med.study.draft import Box, Draft
    from maskmatch_med.study.drafts import Drafts
    from maskmatch_med.study.importing import import_scans
    from maskmatch_med.study.lock import FolderLock
    from maskmatch_med.study.numbering import classes_of, origin_of, refuse_other_classes, values_now
    from maskmatch_med.study.opened import OpenedDrafts
    from maskmatch_med.study.options import ImportOptions, ImportSummary, Splits, frame_numbers
    from maskmatch_med.study.painting import Painter, Painting, packed_voxels
    from maskmatch_med.study.records import LabelVersion, SourceRecord
    from maskmatch_med.study.relabelling import LabelDefinition, define_labels, names_now
    from maskmatch_med.study.study import Study

__all__ = [
    "Box",
    "Case",
    "Draft",
    "Drafts",
    "Finding",
    "FolderLock",
    "ImportOptions",
    "ImportSummary",
    "LabelDefinition",
    "LabelVersion",
    "OpenedDrafts",
    "Painter",
    "Painting",
    "SourceInfo",
    "SourceRecord",
    "Splits",
    "Study",
    "check_study",
    "classes_of",
    "define_labels",
    "frame_numbers",
    "import_scans",
    "names_now",
    "origin_of",
    "packed_voxels",
    "refuse_other_classes",
    "repair_study",
    "values_now",
]

__getattr__ = lazy_names(__name__, __file__)
