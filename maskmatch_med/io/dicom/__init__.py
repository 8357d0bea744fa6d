"""DICOM in: folders, zip archives and single files become one scan for each stack of slices on a regular grid.

The rules are told in docs/dicom.md. Nothing of the patient is kept: a scan has its geometry, its values and a name
made of the modality, the number of the series and a hash.
"""

from maskmatch_med.io.dicom.series import DicomFolder, DicomSeries, find_series, header, read
from maskmatch_med.io.dicom.source import DicomFile, is_dicom

__all__ = ["DicomFile", "DicomFolder", "DicomSeries", "find_series", "header", "is_dicom", "read"]
