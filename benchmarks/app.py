"""How long the server takes for a page of the app, first and again, in studies of 10, 100 and 500 scans.

Timed is the page's script, as Streamlit runs it for a browser; pictures and scans that the page then asks for come on
top. An exponent below 1 says that a page does not slow down as fast as a study grows.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from streamlit.testing.v1 import AppTest

import maskmatch_app
from benchmarks.interleaved import growth_exponent, tell
from maskmatch_app.shelf import STUDY
from maskmatch_med import Study

COUNTS = (10, 100, 500)
PAGES = ("home", "scans", "label", "train", "review", "results")
_MAIN = Path(maskmatch_app.__file__).with_name("main.py")


def main(out: Path, rounds: int) -> None:
    """Print the table and write ``OUT/app.json``."""
    seconds: dict[str, list[tuple[float, float]]] = {page: [] for page in PAGES}
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_STATE_HOME"] = str(Path(scratch) / "state")
        for count in COUNTS:
            os.environ[STUDY] = str(_study(Path(scratch), count))
            for page in PAGES:
                seconds[page].append(_timed(page, rounds))
    rows = [_row(page, found) for page, found in seconds.items()]
    tell("app", rows, out)


def _study(root: Path, count: int) -> Path:
    study = Study.create(root / f"s{count}", channel_names=["MR"], label_names={"background": 0, "a": 1})
    values = np.random.default_rng(0).integers(0, 200, (32, 32, 20), dtype=np.int16)
    labels = (values > 100).astype(np.uint8)
    image = root / "scan.nii.gz"
    nib.save(nib.Nifti1Image(values, np.diag([1.0, 1.0, 2.0, 1.0])), image)
    for number in range(count):
        # The label of every tenth scan is there.
        name = f"scan{number:03d}"
        study.add_case(name, image)
        if number % 10 == 0:
            study.add_label(name, labels)
    return study.root


def _timed(page: str, rounds: int) -> tuple[float, float]:
    """Seconds of the page's first run and the median of those after."""
    app = AppTest.from_file(str(_MAIN), default_timeout=300).run()
    if page != "home":
        app.switch_page(f"screens/{page}.py")
    took = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        app.run()
        took.append(time.perf_counter() - began)
        if app.exception:
            raise RuntimeError(f"the page {page} failed: {app.exception[0].message}")
    return took[0], float(np.median(took[1:]))


def _row(page: str, found: list[tuple[float, float]]) -> dict[str, object]:
    again = [max(one[1], 1e-3) for one in found]
    return {
        "cost grows with": f"scans of a study, page {page}",
        "sizes": " ".join(map(str, COUNTS)),
        "first_s": " ".join(f"{one[0]:.2f}" for one in found),
        "again_s": " ".join(f"{one[1]:.2f}" for one in found),
        "exponent": round(growth_exponent(COUNTS, again), 3),
    }
