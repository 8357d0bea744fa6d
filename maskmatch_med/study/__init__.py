"""The study folder: scans, labels, models, predictions in one place."""

from maskmatch_med.study.admission import SourceInfo
from maskmatch_med.study.case import Case
from maskmatch_med.study.lock import FolderLock
from maskmatch_med.study.records import LabelVersion, SourceRecord
from maskmatch_med.study.study import Study

__all__ = ["Case", "FolderLock", "LabelVersion", "SourceInfo", "SourceRecord", "Study"]
