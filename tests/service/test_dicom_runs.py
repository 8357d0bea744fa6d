"""A CT series in DICOM from the folder to a prediction on its own grid."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813

from maskmatch_med import service
from maskmatch_med.config import TrainConfig
from maskmatch_med.errors import InputError
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


@pytest.fixture
def dicom_study_of_two(tmp_path: Path) -> Path:
    """A folder with two CT series, one that lacks a slice, and a localizer."""
    root = tmp_path / "disc"
    slices = [(number, z) for number in (3, 4, 5) for z in range(4) if (number, z) != (5, 1)]
    for number, z in [*slices, (6, 0)]:
        dataset = pydicom.dcmread(Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm")
        dataset.PatientName, dataset.PatientID = "Muster^Erika", "secret"
        dataset.SeriesInstanceUID, dataset.SeriesNumber = f"1.2.{number}", number
        dataset.SOPInstanceUID = f"1.2.{number}.{z + 1}"
        dataset.ImagePositionPatient = [-158.1, -179.0, 5.0 * z]
        if number == 6:
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        path = root / f"{number}" / f"{9 - z}"
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path)
    return root


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


def test_info_lists_every_series_and_what_was_skipped(dicom_study_of_two: Path) -> None:
    title, rows = service.info(dicom_study_of_two)
    assert title.startswith("DICOM folder")
    assert ("Format", "DICOM, 2 series") in rows
    assert [value.rsplit("_", 1)[0] for name, value in rows if name == "Series"] == ["CT_s003", "CT_s004"]
    skipped = [value for name, value in rows if name == "Skipped"]
    assert len(skipped) == 2
    assert any("missing" in line for line in skipped)
    assert any("localizers" in line for line in skipped)


def test_predict_takes_the_scans_and_tells_the_rest(
    coarse_model: Path, dicom_study_of_two: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    written = service.predict(coarse_model, dicom_study_of_two, tmp_path, service.PredictRequest(notice=told.append))
    assert [path.name.rsplit("_", 1)[0] for path in written] == ["CT_s003", "CT_s004"]
    assert any("missing" in sentence for sentence in told)
    assert any("localizers" in sentence for sentence in told)


def test_import_brings_the_scans_and_tells_the_rest(dicom_study_of_two: Path, tmp_path: Path) -> None:
    summary = import_scans(dicom_study_of_two, tmp_path / "study", ImportOptions())
    assert [name.rsplit("_", 1)[0] for name in summary.added] == ["CT_s003", "CT_s004"]
    assert any("missing" in note for note in summary.notes)
    assert any("localizers" in note for note in summary.notes)
    assert import_scans(dicom_study_of_two, tmp_path / "study", ImportOptions()).added == ()
    for path in (tmp_path / "study").rglob("*"):
        if path.suffix in {".json", ".sqlite"}:
            content = path.read_bytes()
            assert b"Muster" not in content
            assert b"secret" not in content


def test_info_on_a_folder_says_what_import_would_take(shared_data: Path) -> None:
    title, rows = service.info(shared_data / "ct")
    assert title.startswith("Folder")
    assert dict(rows)["First"] == "example_ct"


def test_archive_that_points_outside_leaves_no_trace(dicom_study_of_two: Path, tmp_path: Path) -> None:
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted((dicom_study_of_two / "3").iterdir()):
            packed.write(path, path.name)
        packed.writestr("../evil", b"x")
    before = sorted(tmp_path.rglob("*"))
    for use in (service.info, lambda path: import_scans(path, tmp_path / "study", ImportOptions())):
        with pytest.raises(InputError, match="points outside the archive"):
            use(archive)
    assert sorted(tmp_path.rglob("*")) == before
