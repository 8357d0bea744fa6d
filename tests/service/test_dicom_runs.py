"""A CT series in DICOM from the folder to a prediction on its own grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813

from maskmatch_med import service
from maskmatch_med.config import TrainConfig
from maskmatch_med.study import ImportOptions, Study, import_scans


@pytest.fixture(scope="module")
def coarse_model(phantom_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A one-channel model of two steps on a grid of 12 mm, so that half a metre of CT costs a second."""
    root = tmp_path_factory.mktemp("coarse") / "study"
    import_scans(phantom_source, root, ImportOptions(splits=phantom_source / "splits.json", labelled=2))
    settings = {"patch_vox": "[16, 16, 16]", "network.features": "[4, 8, 8]", "spacing_mm": "[12.0, 12.0, 12.0]"}
    service.plan_study(root, "quick", "cpu", settings)
    config = TrainConfig(method="supervised", iterations=2).override({"labelled_batch": 1, "unlabelled_batch": 1})
    return service.train(root, config).root


def test_ct_series_to_prediction(coarse_model: Path, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "ct" / "example_ct_dicom"
    summary = import_scans(folder, tmp_path / "study", ImportOptions())
    (name,) = summary.added
    (image,) = (tmp_path / "study" / "imagesTr").iterdir()
    (written,) = service.predict(coarse_model, folder, tmp_path / "out")
    assert written.name == f"{name}.nii.gz"
    assert Study.open(tmp_path / "study").cases()[0].name == name

    reader = sitk.ImageSeriesReader()
    depth = {path: pydicom.dcmread(path, stop_before_pixels=True).ImagePositionPatient[2] for path in folder.iterdir()}
    reader.SetFileNames([str(path) for path in sorted(depth, key=depth.__getitem__)])
    series = reader.Execute()
    for path in (image, written):
        found = sitk.ReadImage(str(path))
        assert found.GetSize() == series.GetSize() == (512, 512, 20)
        for corner in np.ndindex(2, 2, 2):
            index = [int(c * (n - 1)) for c, n in zip(corner, series.GetSize(), strict=True)]
            expected = series.TransformIndexToPhysicalPoint(index)
            np.testing.assert_allclose(found.TransformIndexToPhysicalPoint(index), expected, atol=1e-3)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(image))), sitk.GetArrayFromImage(series))
