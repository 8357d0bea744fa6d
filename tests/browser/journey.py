"""The steps of the loop, each done in the browser as a person does it and looked at on the disk afterwards."""

from __future__ import annotations

import re
import time
import zipfile
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import nibabel
import numpy as np
from numpy.typing import NDArray
from skimage.measure import find_contours

from maskmatch_med.service import job_log, job_states, label_history
from tests.browser.desk import Desk, Voxel
from tests.browser.hand import Hand
from tests.browser.watch import Watch

_WHO = "Dr. Anna Keller"
_STEP_MS = 60_000
_PLAUSIBLE_DICE = 0.85
_PREDICT_S = 240.0
_IN_FULL_SWING = 0.6
"""Share of a training after which its page is worth a picture."""
_PICTURES_ARE_THERE = """[...document.images].every((one) => {
    const { top, bottom } = one.getBoundingClientRect();
    return one.complete || bottom < 0 || top > window.innerHeight;
}) && !document.querySelector("[data-stale=true]")"""
_EVERY = 3
"""Of how many slices a structure is outlined on one; those between are interpolated."""


class Journey:
    """A person's way through the app.

    Args:
        watch: the page.
        address: of a server with no study yet.
        studies: the folder of its studies.
        scans: the files to bring in, each with its true label in ``../labelsTr``.
        pictures: where pictures of the pages go, where they are wanted.
    """

    def __init__(
        self, watch: Watch, address: str, studies: Path, scans: list[Path], pictures: Path | None = None
    ) -> None:
        self.watch = watch
        self.page = watch.page
        self.address = address
        self.studies = studies
        self.scans = scans
        self.pictures = pictures
        self.name = ""

    @property
    def root(self) -> Path:
        """The study."""
        return self.studies / self.name

    def sign_in(self, password: str) -> None:
        """Give the password that the server asks for."""
        self.watch.allow(r"401|403")
        self.page.goto(self.address)
        self.page.get_by_label("Password of this server").fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_role("textbox", name="Your name").wait_for(timeout=_STEP_MS)

    def begin(self, name: str, structures: tuple[str, ...]) -> None:
        """Begin a study with its structures."""
        self.name = name
        self.page.goto(self.address)
        who = self.page.get_by_role("textbox", name="Your name")
        who.fill(_WHO)
        who.press("Enter")
        self.watch.settled()
        self.page.get_by_role("textbox", name="Name", exact=True).fill(name)
        self.page.get_by_label("Structures to segment").fill(", ".join(structures))
        self.page.get_by_role("button", name="Continue to the scans").click()
        self.page.get_by_text("Drop scans here").wait_for(timeout=_STEP_MS)

    def home(self) -> None:
        """Look at the start page and at the scans, now that they are in many states."""
        for name in ("home", "scans"):
            self.page.goto(f"{self.address}/{'' if name == 'home' else name}?study={self.name}")
            self.page.get_by_text(self.scans[0].name.removesuffix(".nii.gz")).first.wait_for(timeout=_STEP_MS)
            self.watch.settled()
            self.keep(name)

    def upload(self) -> None:
        """Choose the scans; they are in the study with their voxels as they were."""
        self.page.locator(".pick-files").set_input_files(self.scans)
        self.page.get_by_text(f"{len(self.scans)} scans added").wait_for(timeout=_STEP_MS)
        for path in self.scans:
            stored = nibabel.load(self.root / "imagesTr" / path.name.replace(".nii.gz", "_0000.nii.gz"))
            source = nibabel.load(path)
            np.testing.assert_array_equal(stored.get_fdata(), source.get_fdata())
            np.testing.assert_allclose(stored.affine, source.affine, atol=1e-5)

    def paint(self) -> str:
        """Outline the structures of the scan that is open, mark it complete, and go on; gives its name.

        What a person knows of the anatomy is taken from the true label: one slice in three is outlined with the filled
        pen, and the slices between are filled by the program.
        """
        case = self.in_view()
        truth = self.truth(case)
        desk = Desk(self.watch).ready()
        hand = Hand(desk, truth.shape).turn("sagittal")
        assert hand.plane is not None
        axis = hand.plane.axis
        for label in (1, 2):
            hand.take("fill", label)
            slices = np.flatnonzero((truth == label).any(tuple(one for one in range(3) if one != axis)))
            for index in sorted({*slices[::_EVERY].tolist(), int(slices[-1])}):
                hand.go(index)
                for rim in outlines(truth, axis, index, label):
                    hand.stroke(*rim)
            hand.saved()
            desk.find(".interpolate").click()
            hand.saved()
        if self.pictures is not None:
            hand.go(_fullest(truth, axis))
            desk.view("multi")
            self.keep("label")
        desk.find(".complete-scan").click()
        label = self.complete_label(case)
        assert label_history(self.root, case)[0].author == _WHO
        for value in (1, 2):
            assert dice(label == value, truth == value) > _PLAUSIBLE_DICE
        desk.find(".next").click()
        self.turned(case)
        return case

    def train(self, seconds: float) -> None:
        """Train for a while and wait until all other scans are segmented."""
        self.go("Train")
        self.page.get_by_text("Own time").click()
        minutes = self.page.get_by_role("spinbutton", name="Minutes")
        minutes.fill(str(seconds / 60))
        minutes.press("Enter")
        self.watch.settled()
        self.page.get_by_role("button", name="Start training").click()
        self.page.get_by_text("Running").first.wait_for(timeout=_STEP_MS)
        limit = time.monotonic() + seconds + _PREDICT_S
        while (job := job_states(self.root)[0]).status in {"waiting", "running"}:
            assert time.monotonic() < limit, f"{job}\n{job_log(self.root, job.id)}"
            time.sleep(1)
            if job.doing == "Training" and (job.share or 0.0) > _IN_FULL_SWING:
                self.keep("train")
        assert job.status == "done", f"{job.message}\n{job_log(self.root, job.id)}"
        self.page.get_by_text("Done").first.wait_for(timeout=_STEP_MS)

    def review(self) -> tuple[str, str]:
        """Accept the first segmentation and correct the second, each by its key; gives their names."""
        self.go("Review")
        desk = Desk(self.watch).ready()
        self.keep("review")
        accepted = self.in_view()
        predicted = self.predicted(accepted)
        desk.canvas.press("a")
        np.testing.assert_array_equal(self.complete_label(accepted), predicted)
        assert label_history(self.root, accepted)[0].source == "model accepted"
        corrected = self.turned(accepted)
        predicted = self.predicted(corrected)
        desk.ready().canvas.press("c")
        self.page.wait_for_url(re.compile(rf"/label\?.*scan={corrected}"), timeout=_STEP_MS)
        self.page.locator(".painter[data-state=ready]").wait_for(timeout=_STEP_MS)
        hand = Hand(desk, predicted.shape).turn("sagittal")
        assert hand.plane is not None
        rim = [predicted.shape[axis] // 3 for axis in range(3)]
        start, end = (rim[0], rim[1], rim[2]), (rim[0], rim[1] + 4, rim[2])
        row = (rim[0], slice(rim[1], rim[1] + 5), rim[2])
        value = 1 if (predicted[row] == 2).all() else 2  # so that something is corrected, however the model did
        hand.go(rim[hand.plane.axis]).take("brush", value, size=1).stroke(start, end)
        hand.saved()
        desk.find(".complete-scan").click()
        predicted[row] = value
        np.testing.assert_array_equal(self.complete_label(corrected), predicted)
        assert label_history(self.root, corrected)[0].source == "model corrected"
        return accepted, corrected

    def export(self, cases: list[str], folder: Path) -> None:
        """Download the labels as NIfTI; nibabel finds in them the voxels of the study and the affines of the scans."""
        self.go("Results")
        self.keep("results")
        self.page.get_by_test_id("stMain").get_by_text("Export", exact=True).first.click()
        self.page.get_by_role("button", name="Prepare the export").click()
        with self.page.expect_download(timeout=_STEP_MS) as waiting:
            self.page.get_by_role("link", name=re.compile(r"Download .*\.zip")).click(timeout=_STEP_MS)
        waiting.value.save_as(folder / "export.zip")
        with zipfile.ZipFile(folder / "export.zip") as archive:
            archive.extractall(folder / "export")
        for case in cases:
            (exported,) = (folder / "export").rglob(f"{case}.nii.gz")
            opened = nibabel.load(exported)
            source = nibabel.load(next(path for path in self.scans if path.name == f"{case}.nii.gz"))
            np.testing.assert_array_equal(np.asarray(opened.dataobj), self.complete_label(case))
            np.testing.assert_allclose(opened.affine, source.affine, atol=1e-5)

    def in_view(self) -> str:
        """The scan that the address names."""
        return str(parse_qs(urlparse(self.page.url).query)["scan"][0])

    def turned(self, before: str) -> str:
        """The scan in view, once it is another one."""
        self.page.wait_for_url(lambda url: f"scan={before}" not in url and "scan=" in url, timeout=_STEP_MS)
        self.watch.settled()
        return self.in_view()

    def predicted(self, case: str) -> NDArray[np.uint8]:
        """What the model made of a scan."""
        (path,) = (self.root / "predictions").glob(f"*/{case}.nii.gz")
        return np.asarray(nibabel.load(path).dataobj).astype(np.uint8)

    def truth(self, case: str) -> NDArray[np.uint8]:
        """The true label of a scan."""
        folder = self.scans[0].parents[1] / "labelsTr"
        return np.asarray(nibabel.load(folder / f"{case}.nii.gz").dataobj).astype(np.uint8)

    def complete_label(self, case: str) -> NDArray[np.uint8]:
        """The label that nnU-Net would read, once it is the newest version and every voxel of it is judged."""
        path, limit = self.root / "labelsTr" / f"{case}.nii.gz", time.monotonic() + _STEP_MS / 1000
        while not (found := label_history(self.root, case)) or not found[0].complete or not path.is_file():
            assert time.monotonic() < limit, f"{case} has no complete label: {found}"
            time.sleep(0.3)
        version = nibabel.load(self.root / "history" / case / f"{found[0].version}.nii.gz")
        while not np.array_equal(np.asarray(version.dataobj), np.asarray(nibabel.load(path).dataobj)):
            assert time.monotonic() < limit, f"{path} does not hold the newest version of the label"
            time.sleep(0.3)
        scan = nibabel.load(self.root / "imagesTr" / f"{case}_0000.nii.gz")
        np.testing.assert_allclose(nibabel.load(path).affine, scan.affine, atol=1e-5)
        return np.asarray(version.dataobj).astype(np.uint8)

    def go(self, title: str) -> None:
        """Turn to a page by its name in the navigation."""
        self.page.get_by_test_id("stSidebarNav").get_by_role("link", name=title).click()
        self.page.wait_for_timeout(500)
        self.watch.settled()

    def keep(self, name: str) -> None:
        """Keep a picture of the page, where that is wanted."""
        if self.pictures is not None:
            self.page.mouse.move(4, 4)
            self.page.wait_for_function(_PICTURES_ARE_THERE)
            self.page.wait_for_timeout(1_500)  # for what fades in
            self.watch.picture(self.pictures / f"{name}.png")


def outlines(truth: NDArray[np.uint8], axis: int, index: int, label: int) -> list[list[Voxel]]:
    """Voxels along the rims of a structure in a slice, as somebody would draw round it; a list a part."""
    plane = np.pad(np.take(truth, index, axis) == label, 1)
    found = []
    for rim in find_contours(plane.astype(float), 0.95):
        points = [np.insert(np.rint(point).astype(int) - 1, axis, index) for point in rim[:: max(1, len(rim) // 24)]]
        found.append([(int(a), int(b), int(c)) for a, b, c in points])
    return found


def _fullest(truth: NDArray[np.uint8], axis: int) -> int:
    """The slice that shows most of the structure that shows least in it."""
    others = tuple(one for one in range(3) if one != axis)
    return int(np.minimum((truth == 1).sum(others), (truth == 2).sum(others)).argmax())


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """2 · overlap / (one + other)."""
    return float(2 * (one & other).sum() / max(1, one.sum() + other.sum()))
