"""The overlays of Review, over HTTP from a real server."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.served import Server

CASE = "phantom_002"


@pytest.fixture(scope="module")
def predicted(server: Server) -> np.ndarray:
    """Two predictions of one scan and the uncertainty of the newer; gives the shape of the scan."""
    root = server.folder / "tiny"
    image = nibabel.load(root / "imagesTr" / f"{CASE}_0000.nii.gz")
    for model, stop in (("newer", 9), ("older", 8)):
        voxels = np.zeros(image.shape, np.uint8)
        voxels[5:stop, 5:8, 5:8] = 1
        _save(root / "predictions" / model / f"{CASE}.nii.gz", voxels, image.affine)
    unsure = np.full(image.shape, 0.2, np.float32)
    _save(root / "predictions" / "newer" / f"{CASE}_uncertainty.nii.gz", unsure, image.affine)
    return np.array(image.shape)


def _save(path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)


def _voxels(server: Server, path: str, token: str) -> np.ndarray:
    answer = server.ask(f"/api/tiny/{path}?token={token}")
    assert answer.status == 200, answer.body
    return np.asarray(nibabel.Nifti1Image.from_stream(io.BytesIO(gzip.decompress(answer.body))).dataobj)


def test_uncertainty_and_difference_are_served(server: Server, token: str, predicted: np.ndarray) -> None:
    unsure = _voxels(server, f"uncertainties/newer/{CASE}.nii.gz", token)
    np.testing.assert_array_equal(unsure, np.full(tuple(predicted), 51))
    differs = _voxels(server, f"differences/newer/older/{CASE}.nii.gz", token)
    assert set(np.argwhere(differs)[:, 0]) == {8}
    assert np.unique(differs).tolist() == [0, 1]
    assert _voxels(server, f"differences/older/newer/{CASE}.nii.gz", token).max() == 2


@pytest.mark.parametrize(
    "path",
    [
        f"uncertainties/older/{CASE}.nii.gz?token={{token}}",
        f"uncertainties/newer/{CASE}.nii.gz",
        f"differences/newer/older/{CASE}.nii.gz?token=1.2",
        f"differences/newer/never/{CASE}.nii.gz?token={{token}}",
        f"differences/newer/..%2F..%2Fmodels/{CASE}.nii.gz?token={{token}}",
        "uncertainties/newer/..%2F..%2Fdataset.nii.gz?token={token}",
    ],
)
def test_what_is_not_there_or_not_asked_for_properly_is_refused(
    server: Server, token: str, predicted: np.ndarray, path: str
) -> None:
    answer = server.ask(f"/api/tiny/{path.format(token=token)}")
    assert answer.status in {400, 403, 404}
    assert not answer.body.startswith(b"\x1f\x8b")
