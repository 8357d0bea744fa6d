"""Folders against folders: what is paired, what is refused with which words, what is counted and written."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from maskmatch_med.errors import InputError
from maskmatch_med.evaluation.score import EvaluateOptions
from maskmatch_med.evaluation.scoring import evaluate
from maskmatch_med.io import write_map, write_mask_png, write_segmentation
from maskmatch_med.volume import Geometry

GRID = Geometry((10, 8, 6), np.diag([1.0, 2.0, 3.0, 1.0]))
NAMES = {"liver": 1, "spleen": 2}


def labels(shift: int = 0, spleen: bool = True) -> NDArray[np.uint8]:
    array = np.zeros(GRID.shape, np.uint8)
    array[1 + shift : 5 + shift, 1:5, 1:5] = 1
    if spleen:
        array[7:9, 5:7, 1:3] = 2
    return array


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A dataset with three references, and predictions of two of them: one perfect, one shifted without spleen."""
    pred, ref = tmp_path / "pred", tmp_path / "dataset"
    for name in ("a", "b", "c"):
        write_segmentation(ref / "labelsTr" / f"{name}.nii.gz", labels(), GRID)
    (ref / "dataset.json").write_text(json.dumps({"labels": {"background": 0, **NAMES}}))
    write_segmentation(pred / "a.nii.gz", labels(), GRID)
    write_segmentation(pred / "b.nii.gz", labels(1, spleen=False), GRID)
    return pred, ref


def test_scores_counts_and_side_products(folders: tuple[Path, Path]):
    pred, ref = folders
    write_map(pred / "a_uncertainty.nii.gz", np.zeros(GRID.shape, np.float32), GRID)
    write_map(pred / "a_probabilities.nii.gz", np.zeros(GRID.shape, np.float32), GRID)
    (pred / "summary.csv").write_text("x")
    (pred / "summary.json").write_text("{}")
    Image.new("L", (3, 3)).save(pred / "a.png")
    found = evaluate(pred, ref)
    assert found.cases == ("a", "b")
    assert found.without_prediction == ("c",)
    rows = {(row.case, row.class_name): row for row in found.rows}
    assert rows["a", "liver"].dice == rows["a", "spleen"].dice == 1.0
    assert rows["b", "liver"].dice == 2 * 48 / 128
    assert rows["b", "liver"].hd95_mm == 1.0
    assert rows["b", "liver"].volume_pred_ml == 64 * 6 / 1000
    assert rows["b", "spleen"].one_empty
    assert rows["b", "spleen"].hd95_mm == pytest.approx(math.sqrt(10**2 + 16**2 + 18**2))
    assert found.mean_dice == pytest.approx((0.875 + 0.5) / 2)
    assert found.case_dice() == {"a": 1.0, "b": 0.375}


def test_summary_by_hand(folders: tuple[Path, Path]):
    found = evaluate(*folders)
    liver, spleen = found.by_class()
    assert liver.metrics["dice"].mean == pytest.approx(0.875)
    assert liver.metrics["dice"].sd == pytest.approx(0.25 / math.sqrt(2))
    assert liver.metrics["dice"].median == pytest.approx(0.875)
    assert (spleen.empty_predictions, spleen.empty_references, spleen.both_empty) == (1, 0, 0)
    overall = found.overall().metrics["dice"]
    assert overall.n == 2
    assert overall.mean == pytest.approx(0.6875)
    assert overall.sd == pytest.approx(0.625 / math.sqrt(2))


def test_an_absent_structure_is_left_out_of_the_mean(tmp_path: Path):
    write_segmentation(tmp_path / "pred" / "a.nii.gz", labels(spleen=False), GRID)
    write_segmentation(tmp_path / "ref" / "a.nii.gz", labels(spleen=False), GRID)
    found = evaluate(tmp_path / "pred", tmp_path / "ref", EvaluateOptions(label_names=NAMES))
    assert found.mean_dice == 1.0
    assert found.by_class()[1].both_empty == 1
    assert found.summary()["classes"]["spleen"]["dice"] == {"n": 0, "mean": None, "sd": None, "median": None}
    line = next(line for line in csv.DictReader(found.as_csv().splitlines()) if line["class"] == "spleen")
    assert (line["dice"], line["both_empty"]) == ("", "1")


def test_written_files_say_the_same(folders: tuple[Path, Path], tmp_path: Path):
    found = evaluate(*folders, EvaluateOptions(nsd_mm=2, paper=True))
    out = tmp_path / "scores"
    found.write(out)
    assert sorted(p.name for p in out.iterdir()) == ["cases.csv", "figure.png", "summary.json"]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["mean"]["dice"]["mean"] == pytest.approx(0.6875)
    assert summary["references_without_prediction"] == ["c"]
    assert summary["nsd_mm"] == 2
    lines = list(csv.DictReader((out / "cases.csv").read_text().splitlines()))
    assert len(lines) == 4
    assert float(lines[2]["dice"]) == 0.75
    assert float(lines[2]["paper_hd95_voxels"]) == 1.0
    assert float(lines[3]["paper_hd95_voxels"]) == 0.0  # an empty prediction, as published
    with Image.open(out / "figure.png") as picture:
        assert min(picture.size) > 300


def test_scores_may_be_written_beside_the_predictions_again_and_again(folders: tuple[Path, Path]):
    pred, ref = folders
    first = evaluate(pred, ref)
    first.write(pred)
    again = evaluate(pred, ref)
    assert again.rows == first.rows
    again.write(pred)
    (pred / "summary.json").unlink()
    with pytest.raises(InputError, match="no reference for figure"):
        evaluate(pred, ref)


def test_the_table_shows_every_structure_and_the_counts(folders: tuple[Path, Path]):
    console = Console(width=160)
    with console.capture() as capture:
        console.print(evaluate(*folders).as_table())
    text = capture.get()
    assert "2 cases, 1 of the references had no prediction" in " ".join(text.split())
    for part in ("liver", "spleen", "mean", "NSD 1 mm", "0.875 ± 0.177", "missed"):
        assert part in text


def test_label_names_from_msd_and_unjudged_value_from_nnunet(folders: tuple[Path, Path]):
    pred, ref = folders
    (ref / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "liver", "2": "spleen"}}))
    assert evaluate(pred, ref).classes == NAMES
    (ref / "dataset.json").write_text(json.dumps({"labels": {"background": 0, **NAMES, "ignore": 3}}))
    partial = labels()
    partial[5:] = 3
    write_segmentation(ref / "labelsTr" / "b.nii.gz", partial, GRID)
    found = evaluate(pred, ref)
    assert found.classes == NAMES
    liver = next(row for row in found.rows if row.case == "b" and row.class_name == "liver")
    assert liver.dice == pytest.approx(2 * 48 / (48 + 64))
    assert evaluate(pred, ref / "labelsTr").classes == NAMES


def test_values_are_the_names_where_nothing_declares_them(folders: tuple[Path, Path]):
    pred, ref = folders
    (ref / "dataset.json").unlink()
    assert evaluate(pred, ref).classes == {"label 1": 1, "label 2": 2}
    one = evaluate(pred / "b.nii.gz", ref / "labelsTr" / "a.nii.gz")
    assert one.cases == ("b",)


def test_a_prediction_without_reference_is_named(folders: tuple[Path, Path]):
    pred, ref = folders
    write_segmentation(pred / "stranger.nii.gz", labels(), GRID)
    with pytest.raises(InputError, match=r"no reference for stranger in .*dataset.*found a, b, c"):
        evaluate(pred, ref)


def test_a_reference_stored_with_other_axes_is_turned(folders: tuple[Path, Path]):
    before = evaluate(*folders)
    path = folders[1] / "labelsTr" / "a.nii.gz"
    stored = nib.load(path)
    turned = stored.as_reoriented(nib.orientations.axcodes2ornt(("P", "S", "L")))
    assert turned.shape != stored.shape
    nib.save(turned, path)
    assert evaluate(*folders).as_csv() == before.as_csv()


def test_another_shape_and_another_place_are_refused_with_both(folders: tuple[Path, Path]):
    pred, ref = folders
    smaller = Geometry((5, 8, 6), GRID.affine)
    write_segmentation(pred / "a.nii.gz", labels()[:5], smaller)
    with pytest.raises(InputError, match=r"a\.nii\.gz does not lie .*\(5, 8, 6\) voxels against \(10, 8, 6\)"):
        evaluate(pred, ref)
    moved = GRID.affine.copy()
    moved[0, 3] = 7.5
    write_segmentation(pred / "a.nii.gz", labels(), Geometry(GRID.shape, moved))
    with pytest.raises(InputError, match=r"affine .*7\.5.* against .*a\.nii\.gz|affine .*7\.5.* against"):
        evaluate(pred, ref)


def test_an_undeclared_label_is_refused(folders: tuple[Path, Path]):
    pred, ref = folders
    wrong = labels()
    wrong[0, 0, 0] = 7
    write_segmentation(pred / "b.nii.gz", wrong, GRID)
    with pytest.raises(InputError, match=r"label 7 is not among 0 and 1 \(liver\), 2 \(spleen\): .*b\.nii\.gz"):
        evaluate(pred, ref)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot read the labels"),
        ('{"name": 1}', "cannot read the labels"),
        ('{"labels": {"x": [1, 2]}}', "region"),
        ('{"labels": {"x": "one"}}', "the value 'one'"),
    ],
)
def test_a_bad_dataset_json_is_named(folders: tuple[Path, Path], content: str, message: str):
    pred, ref = folders
    (ref / "dataset.json").write_text(content)
    with pytest.raises(InputError, match=message):
        evaluate(pred, ref)


def test_missing_and_empty_folders_are_named(folders: tuple[Path, Path], tmp_path: Path):
    pred, ref = folders
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no folder of predictions at"):
        evaluate(tmp_path / "nowhere", ref)
    with pytest.raises(InputError, match="no folder of references at"):
        evaluate(pred, tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no prediction"):
        evaluate(tmp_path / "empty", ref)
    with pytest.raises(InputError, match=r"no reference for a, b in .*found nothing"):
        evaluate(pred, tmp_path / "empty")
    with pytest.raises(InputError, match="is one file, but there are 2 predictions"):
        evaluate(pred, ref / "labelsTr" / "a.nii.gz")


def test_two_predictions_of_one_case_are_refused(folders: tuple[Path, Path]):
    pred, ref = folders
    write_segmentation(pred / "a.nii", labels(), GRID)
    with pytest.raises(InputError, match="two predictions of one case"):
        evaluate(pred, ref)


def test_references_of_unjudged_and_background_alone_are_refused(tmp_path: Path):
    write_segmentation(tmp_path / "pred" / "a.nii.gz", labels(), GRID)
    write_segmentation(tmp_path / "ref" / "a.nii.gz", labels() // 2 * 255, GRID)
    with pytest.raises(InputError, match="0 and 255 only"):
        evaluate(tmp_path / "pred", tmp_path / "ref")


def test_two_dimensional_masks_as_pictures(tmp_path: Path):
    truth = np.zeros((12, 9, 1), np.uint8)
    truth[2:8, 2:7] = 1
    guess = np.zeros_like(truth)
    guess[3:9, 2:7] = 1
    flat = Geometry((12, 9, 1), np.diag([-1.0, -1.0, 1.0, 1.0]))
    for name, array in (("x", guess), ("y", truth), ("z", np.zeros_like(truth))):
        write_segmentation(tmp_path / "pred" / f"{name}.nii.gz", array, flat)
        write_mask_png(tmp_path / "pred" / f"{name}.png", array)
        write_mask_png(tmp_path / "png" / f"{name}.png", array)
        write_mask_png(tmp_path / "set" / "masks" / f"{name}_mask.png", truth)
    names = EvaluateOptions(label_names={"nucleus": 1})
    found = evaluate(tmp_path / "pred", tmp_path / "set", names)
    assert [row.dice for row in found.rows] == [pytest.approx(2 * 25 / 60), 1.0, 0.0]
    assert found.rows[0].hd95_mm == 1.0
    assert found.rows[2].hd95_mm == pytest.approx(15.0)
    assert found.without_prediction == ()
    again = evaluate(tmp_path / "png", tmp_path / "set" / "masks", names)
    assert again.rows == found.rows
    console = Console(width=160)
    with console.capture() as capture:
        console.print(again.as_table())
    assert all(head in capture.get() for head in ("NSD 1 px", "HD95 px", "ASSD px"))
    assert "ASSD in px" in again.summary()["rules"]


def _colour_set(tmp_path: Path) -> tuple[Path, Path, NDArray[np.uint8]]:
    """Two coloured references, the first without the colour that comes second in order, and the classes of the first.

    The classes are black, (0, 0, 200) and (200, 0, 0).
    """
    labels = np.zeros((6, 5, 1), np.uint8)
    labels[1:4, 1:3] = 2
    pred, ref = tmp_path / "pred", tmp_path / "masks"
    ref.mkdir()
    for name, colours in (("x", [(200, 0, 0)]), ("y", [(200, 0, 0), (0, 0, 200)])):
        pixels = np.zeros((5, 6, 3), np.uint8)
        for column, colour in enumerate(colours):
            pixels[1:3, 1 + 3 * column : 4 + 3 * column] = colour
        Image.fromarray(pixels).save(ref / f"{name}.png")
    flat = Geometry((6, 5, 1), np.diag([-1.0, -1.0, 1.0, 1.0]))
    write_segmentation(pred / "x.nii.gz", labels, flat)
    return pred, ref, labels


def test_the_colours_mean_what_all_masks_of_the_folder_say(tmp_path: Path):
    pred, ref, labels = _colour_set(tmp_path)
    names = EvaluateOptions(label_names={"cell": 1, "wall": 2})
    assert {row.class_name: row.dice for row in evaluate(pred, ref, names).rows}["wall"] == 1.0
    write_mask_png(tmp_path / "pictures" / "x.png", labels, classes=3)
    assert evaluate(tmp_path / "pictures", ref, names).mean_dice == 1.0
    (tmp_path / "same").mkdir()
    (tmp_path / "same" / "x.png").write_bytes((ref / "x.png").read_bytes())
    assert evaluate(tmp_path / "same", ref, names).mean_dice == 1.0


def test_grey_levels_mean_what_all_masks_of_the_folder_say(tmp_path: Path):
    pred, ref, labels = _colour_set(tmp_path)
    Image.fromarray((labels[..., 0].T * 100).astype(np.uint8)).save(ref / "x.png")
    Image.fromarray(((labels[..., 0].T > 0) * 100).astype(np.uint8)).save(ref / "y.png")
    assert evaluate(pred, ref).mean_dice == 1.0


def test_more_classes_than_the_masks_show_are_refused(tmp_path: Path):
    pred, ref, _ = _colour_set(tmp_path)
    (ref / "y.png").unlink()
    with pytest.raises(InputError, match=r"x\.nii\.gz holds the label 2, but .*x\.png show only 2 colours"):
        evaluate(pred, ref)


def test_scans_beside_their_masks_are_no_references(tmp_path: Path):
    pred, ref, _ = _colour_set(tmp_path)
    for name in ("x", "y"):
        (ref / f"{name}.png").rename(ref / f"{name}_mask.png")
    noise = np.random.default_rng(0).integers(0, 255, (5, 6, 3), dtype=np.uint8)
    Image.fromarray(noise).save(ref / "x.png")
    found = evaluate(pred, ref)
    assert found.mean_dice == 1.0
    assert found.without_prediction == ("y",)


def test_real_references_score_full_against_themselves(shared_data: Path):
    folder = shared_data / "Task04_Hippocampus"
    found = evaluate(folder / "labelsTr" / "hippocampus_001.nii.gz", folder / "labelsTr" / "hippocampus_001.nii.gz")
    assert found.mean_dice == 1.0
