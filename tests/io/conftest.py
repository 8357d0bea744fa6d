"""What the tests of DICOM share: slices written with pydicom, and the same series as SimpleITK reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

PATIENT = "Muster^Erika"


@dataclass
class DicomBench:
    """Writes series of 6 rows x 8 columns; a slice's pixels follow from its number."""

    root: Path
    series_uid: str = field(default_factory=generate_uid)

    def slice(self, number: int, **tags: Any) -> Dataset:
        """A CT slice 2 mm above the one before it; a tag given as None is left out."""
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        values: dict[str, Any] = {
            "SOPClassUID": CTImageStorage,
            "SOPInstanceUID": generate_uid(),
            "Modality": "CT",
            "SeriesInstanceUID": self.series_uid,
            "SeriesNumber": 3,
            "InstanceNumber": number + 1,
            "PatientName": PATIENT,
            "PatientID": "4711-secret",
            "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
            "ImagePositionPatient": [-10.0, -20.0, 30.0 + 2.0 * number],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [0.75, 0.5],
            "SliceThickness": 2.0,
            "PhotometricInterpretation": "MONOCHROME2",
            "SamplesPerPixel": 1,
            "Rows": 6,
            "Columns": 8,
            "BitsAllocated": 16,
            "BitsStored": 16,
            "HighBit": 15,
            "PixelRepresentation": 1,
            "PixelData": self.pixels(number).tobytes(),
        }
        values.update(tags)
        for keyword, value in values.items():
            if value is not None:
                setattr(dataset, keyword, value)
        dataset["PixelData"].VR = "OW"
        return dataset

    def pixels(self, number: int) -> np.ndarray[Any, np.dtype[np.int16]]:
        """What slice ``number`` holds, (rows, columns)."""
        return np.random.default_rng(number).integers(-900, 900, (6, 8)).astype(np.int16)

    def save(self, dataset: Dataset, name: str = "") -> Path:
        """Write one file and give its path; names follow no order."""
        path = self.root / (name or f"{np.random.default_rng(len(list(self.root.iterdir()))).integers(1 << 40):x}")
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.file_meta.MediaStorageSOPClassUID = UID(dataset.get("SOPClassUID") or CTImageStorage)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID") or generate_uid()
        dataset.save_as(path, enforce_file_format=True)
        return path

    def series(self, count: int, change: Callable[[int], dict[str, Any]] = lambda _: {}) -> list[Path]:
        """Write ``count`` slices, each with what ``change`` gives for its number."""
        return [self.save(self.slice(number, **change(number))) for number in range(count)]


@pytest.fixture
def bench(tmp_path: Path) -> DicomBench:
    """A writer of DICOM series into an empty folder."""
    root = tmp_path / "dicom"
    root.mkdir()
    return DicomBench(root)


@pytest.fixture(scope="session")
def itk_series() -> Callable[[Path | Sequence[Path]], tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Read a folder, or files in order, with SimpleITK alone: values (X, Y, Z) and affine to RAS+ mm."""

    def read(source: Path | Sequence[Path]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        reader = sitk.ImageSeriesReader()
        names = reader.GetGDCMSeriesFileNames(str(source)) if isinstance(source, Path) else [str(p) for p in source]
        reader.SetFileNames(names)
        image = reader.Execute()
        affine = np.eye(4)
        affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
        affine[:3, 3] = image.GetOrigin()
        return sitk.GetArrayFromImage(image).T, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine

    return read
