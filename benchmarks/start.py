"""How long a command takes from nothing: ``maskmatch predict`` on a small scan beside ``import torch``, and ``--help``.

The model is a drawn one and predicts at the presets' scales; its engine is in the cache already, as it is from the
second prediction on. Processes of ours and of the peer take turns.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.interleaved import interleave, tell
from benchmarks.made import model_of, plan_of, scan_of
from maskmatch_med.io.nifti import write_scan
from maskmatch_med.training.presets import PRESETS

PREDICT = "import sys; from maskmatch_med.cli import main; main()"


def main(out: Path, rounds: int) -> None:
    """Print the table and write ``OUT/start.json``."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        environment = os.environ | {"MASKMATCH_CACHE": str(root / "cache")}
        model = model_of(plan_of((32, 48, 32)), root / "model")
        (root / "scans").mkdir()
        volume = scan_of((35, 51, 34))
        write_scan(root / "scans" / "one.nii.gz", volume.array[0], volume.geometry)
        run = partial(subprocess.run, env=environment, capture_output=True, check=True)
        words = [
            sys.executable,
            "-c",
            PREDICT,
            "predict",
            str(model.root),
            str(root / "scans"),
            "-o",
            str(root / "out"),
            "--scales",
            ",".join(map(str, PRESETS["quick"].scales)),
        ]
        run([*words, "--engine", "openvino"])
        rows = [
            {
                "what": "predict one scan / import torch",
                **interleave(lambda: run([sys.executable, "-c", "import torch"]), lambda: run(words), rounds).record(),
            },
            {
                "what": "--help / import typer, rich",
                **interleave(
                    lambda: run([sys.executable, "-c", "import typer, rich"]),
                    lambda: run([sys.executable, "-c", PREDICT, "--help"]),
                    rounds,
                ).record(),
            },
        ]
    tell("start", rows, out)
