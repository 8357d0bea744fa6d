"""The report is one page that asks nothing of the network, says what was measured, and shows slices the right way."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskmatch_med.errors import InputError
from maskmatch_med.evaluation.calibration import calibrate_case
from maskmatch_med.evaluation.curves import curve_figure
from maskmatch_med.evaluation.figures import dice_figure
from maskmatch_med.evaluation.overview import Overview, ScanRow
from maskmatch_med.evaluation.pictures import CasePicture, _views, case_figure
from maskmatch_med.evaluation.report import (
    Cost,
    Headline,
    NextStep,
    ReportData,
    render_report,
    worst_median_best,
    write_report,
)
from maskmatch_med.evaluation.results import Evaluation
from maskmatch_med.evaluation.score import EvaluateOptions, score_case
from maskmatch_med.volume import Geometry, Volume

CLASSES = {"liver": 1, "spleen <left>": 2}
GRID = Geometry((20, 16, 12), np.diag([-1.0, -1.0, 2.0, 1.0]))


def truth() -> np.ndarray:
    array = np.zeros(GRID.shape, np.uint8)
    array[3:11, 3:11, 2:9] = 1
    array[13:17, 4:8, 3:7] = 2
    return array


def evaluation(shifts: tuple[int, ...]) -> Evaluation:
    rows = []
    for case, shift in enumerate(shifts):
        rows += score_case(np.roll(truth(), shift, 0), truth(), (1.0, 1.0, 2.0), CLASSES, case=f"case_{case}")
    return Evaluation(tuple(rows), CLASSES, EvaluateOptions())


@pytest.fixture(scope="module")
def data() -> ReportData:
    image = Volume(truth()[None] * 100.0 + 5, GRID)
    picture = CasePicture(
        "Worst case: case_1", image, truth(), {"one": truth(), "two": np.roll(truth(), 1, 0)}, {"one": "Dice 1.000"}
    )
    log = [
        {"step": i, "seconds": 2.0 * i, "loss_supervised": 1 / (i + 1), "val_dice": i / 200 if i % 10 == 0 else None}
        for i in range(100)
    ]
    return ReportData(
        title="Livers & spleens",
        subtitle="a comparison",
        facts=[("Scans", "24, 4 of them <labelled>")],
        headlines=[Headline("maskmatch", "0.871", "mean Dice")],
        evaluations={"one": evaluation((2, 3, 1)), "two": evaluation((1, 1, 1))},
        curves={"one": log, "two": [{**line, "loss_masked": 0.5} for line in log]},
        pictures=[picture],
        next_steps=[NextStep("Longer", "maskmatch train STUDY --minutes 45")],
    )


class Page(HTMLParser):
    """Collects what would make a browser fetch something, and whether tags close in order."""

    VOID = frozenset({"meta", "img", "br", "link", "use", "path"})

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [v or "" for k, v in attrs if k in {"src", "href", "xlink:href", "srcset", "data"}]
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [v or "" for k, v in attrs if k in {"src", "href", "xlink:href", "srcset", "data"}]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def page(data: ReportData) -> Page:
    parsed = Page()
    parsed.feed(render_report(data))
    parsed.close()
    return parsed


def test_the_page_is_well_formed_and_fetches_nothing(page: Page, data: ReportData):
    assert page.stack == []
    assert page.fetched
    assert all(target.startswith(("data:image/png;base64,", "#")) for target in page.fetched)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert not re.findall(r"url\((?!#)|@import", render_report(data))


def test_pictures_are_embedded_and_open(page: Page):
    pictures = [target for target in page.fetched if target.startswith("data:")]
    assert len(pictures) == 1
    picture = Image.open(io.BytesIO(base64.b64decode(pictures[0].split(",")[1])))
    assert picture.width > 400
    assert page.tags.count("svg") == 4  # Dice, volumes, Bland-Altman, learning curves


def test_the_page_says_what_was_measured(page: Page):
    text = re.sub(r"\s+", " ", " ".join(page.text))
    for part in (
        "Livers & spleens",
        "24, 4 of them <labelled>",
        "0.871",
        "spleen <left>",
        "Research use, not a medical device.",
        "maskmatch train STUDY --minutes 45",
        "NSD at 1 mm",
        "3 cases",
        "2 of 3",
    ):
        assert part in text, part


def test_sections_appear_with_what_they_show(data: ReportData):
    plain = render_report(data)
    assert 'id="volumes"' in plain
    assert 'id="confidence"' not in plain
    assert 'id="data"' not in plain
    foreground = np.full((20, 16, 12), 0.9, np.float32)
    found = calibrate_case(np.stack([1 - foreground, foreground]), (truth() > 0).astype(np.uint8))
    scan = ScanRow("a<b>", "complete", (20, 16, 12), (1.0, 1.0, 2.5), "LPS", {"liver": 12.5})
    overview = Overview("study", ("MRI",), ("liver",), (scan,), ("broken",))
    full = render_report(
        replace(
            data,
            calibrations={"one": found},
            overview=overview,
            costs=[Cost("one", "supervised", "15.0 min", "100 of 9.00 s", "cpu", "512 MiB", "3.0")],
            cautions=["careful <now>"],
        )
    )
    for part in (
        "a&lt;b&gt;",
        "1 × 1 × 2.5",
        "careful &lt;now&gt;",
        "512 MiB",
        "1 cannot be read",
        f"{found.called.ece:.3f}",
    ):
        assert part in full, part
    hint = render_report(replace(data, calibration_hint=NextStep("Not measured", "maskmatch predict --probabilities")))
    assert "maskmatch predict --probabilities" in hint


def test_bland_altman_by_hand(page: Page):
    # Whole voxels are rolled along x, inside the grid: volumes equal those of the reference.
    text = " ".join(page.text)
    assert "+0 to +0" in text
    assert "Agreement of volumes" in text


def test_the_teachers_dice_has_a_line_for_each_scale():
    log = [
        {"iteration": i, "seconds": float(i), "teacher_dice": {"1": 0.8, "1.5": 0.7}, "confident": 0.9}
        for i in range(5)
    ]
    figure = curve_figure({"m": log})
    assert figure is not None
    share, scales = (axes for axes in figure.axes if axes.get_visible())
    assert share.get_title(loc="left") == "confident share of unlabelled voxels"
    assert [line.get_label() for line in scales.lines] == ["scale 1", "scale 1.5"]
    assert scales.lines[1].get_ydata().tolist() == [0.7] * 5


def test_a_case_without_reference_is_drawn_without_its_line():
    image = Volume(truth()[None] * 100.0, GRID)
    case = CasePicture("x", image, None, {"m": truth()}, {})
    (key,) = case_figure(case, CLASSES).legends
    assert [text.get_text() for text in key.get_texts()] == list(CLASSES)


def test_paired_differences_by_hand(page: Page):
    # Liver of 8 voxels along x, moved by 2, 3, 1 against 1, 1, 1: Dice (6, 5, 7)/8 against 7/8 each.
    text = " ".join(page.text)
    assert f"{np.mean([1 / 8, 2 / 8, 0]):+.3f} ± {np.std([1 / 8, 2 / 8, 0], ddof=1):.3f}" in text


def test_an_empty_report_is_a_page_and_written_whole(tmp_path: Path):
    write_report(tmp_path / "report.html", ReportData("Nothing yet"))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Nothing yet" in text
    assert "Scores by structure" not in text
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_models_scored_on_other_structures_are_refused():
    other = Evaluation((), {"heart": 1}, EvaluateOptions())
    with pytest.raises(InputError, match="same structures, got one: liver, spleen <left>; two: heart"):
        render_report(ReportData("x", evaluations={"one": evaluation((1,)), "two": other}))


def test_worst_median_and_best_are_told_apart():
    assert worst_median_best(evaluation((1, 3, 0, 2, 4)).case_dice()) == {
        "worst": "case_4",
        "median": "case_3",
        "best": "case_2",
    }
    assert worst_median_best(evaluation((1,)).case_dice()) == {"worst": "case_0"}


def test_curves_need_a_number_to_plot():
    assert curve_figure({"a": []}) is None
    assert curve_figure({"a": [{"step": 1, "loss": float("nan")}, {"step": 2, "loss": "high"}]}) is None
    figure = curve_figure({"a": [{"step": 1, "loss": 0.5, "lr": 0.1}, {"step": 2, "loss": 0.4, "val_dice": 0.7}]})
    assert figure is not None
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["validation Dice", "loss, all terms"]


def test_the_dice_figure_shows_every_case_down_to_zero():
    figure = dice_figure({"": {"liver": [0.0, 0.5, 0.9], "nothing": []}})
    assert figure.axes[0].get_ylim()[0] <= 0
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert sorted(dots[0].get_ydata()) == [0.0, 0.5, 0.9]


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (-1, 1, -1)])
def test_slices_stand_as_a_radiologist_expects(signs: tuple[int, int, int]):
    """A mark at the patient's right, front and head is at the left, top and top of the pictures, whatever the flips."""
    array = np.zeros((1, 9, 11, 13), np.float32)
    corner = [n - 2 if sign > 0 else 1 for n, sign in zip((9, 11, 13), signs, strict=True)]
    array[(0, *corner)] = 1
    mask = (array[0] > 0).astype(np.uint8)
    image = Volume(array, Geometry((9, 11, 13), np.diag([*signs, 1.0])))
    axial, coronal, sagittal = _views(CasePicture("x", image, mask, {"m": mask}, {}))
    assert (axial.name, coronal.name, sagittal.name) == ("axial", "coronal", "sagittal")
    assert axial.ends == coronal.ends == ("R", "L")
    assert sagittal.ends == ("A", "P")
    for view in (axial, coronal, sagittal):
        assert np.argwhere(view.reference).tolist() == [[1, 1]]
        assert np.argwhere(view.picture[..., 0] > 0.5).tolist() == [[1, 1]]


def test_a_picture_stands_upright_as_the_original():
    pixels = np.arange(6 * 4, dtype=np.float32).reshape(4, 6)  # rows, columns
    array = pixels.T[None, :, :, None]
    image = Volume(array, Geometry((6, 4, 1), np.diag([-1.0, -1.0, 1.0, 1.0])))
    mask = np.zeros((6, 4, 1), np.uint8)
    mask[5, 0, 0] = 1  # last column, first row
    (view,) = _views(CasePicture("x", image, mask, {"m": mask}, {}))
    shown = view.picture[..., 0]
    assert (np.diff(shown, axis=1) >= 0).all()
    assert (np.diff(shown, axis=0) >= 0).all()
    assert np.argwhere(view.reference).tolist() == [[0, 5]]
    assert view.ends == ("", "")


def test_views_keep_millimetres_and_colour_pictures_their_colours():
    image = Volume(
        np.random.default_rng(0).random((3, 6, 8, 4)).astype(np.float32), Geometry((6, 8, 4), np.diag([1, 1, 5, 1]))
    )
    mask = np.zeros((6, 8, 4), np.uint8)
    case = CasePicture("x", image, mask, {"m": mask}, {})
    axial, coronal, _ = _views(case)
    assert axial.picture.shape == (8, 6, 3)
    assert axial.aspect == 1
    assert coronal.aspect == 5
    assert len(case_figure(case, CLASSES).axes) == 3


def test_a_mask_on_another_grid_is_refused():
    image = Volume(np.zeros((1, 4, 4, 4), np.float32), Geometry((4, 4, 4), np.eye(4)))
    mask = np.zeros((4, 4, 4), np.uint8)
    with pytest.raises(InputError, match="the mask of two has shape"):
        CasePicture("x", image, mask, {"two": mask[:3]}, {})
    with pytest.raises(InputError, match="no prediction"):
        CasePicture("x", image, mask, {}, {})
