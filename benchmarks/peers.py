"""A trained model on real scans against MONAI and nnU-Net: ``python -m benchmarks peers MODEL DATA --splits FILE``.

Ours and the peer predict the same scans in turns with the same weights: MONAI's ``sliding_window_inference`` in one
scale with windows that share half their edge, and nnU-Net's ``nnUNetPredictor`` with all mirror images that the model
was trained with (``--nnunet-python``: an interpreter that has nnunetv2). Prints the median ratio of times and its
range, the share of voxels with the same label, the Dice of both and their paired difference. Reading scans and writing
segmentations is in no time, bringing the probabilities to the scan's own grid in all. Preprocessing is in ours and
MONAI's, not in nnU-Net's, which instead hands its labels over as a file of a byte a voxel.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.interleaved import REPOSITORY, Timed, interleave, tell
from benchmarks.monai_predictor import MonaiPredictor
from benchmarks.scored import peer_environment
from benchmarks.unlearnt import parser_of
from maskmatch_med import service
from maskmatch_med.data.preprocess import preprocess
from maskmatch_med.inference import Engine, PredictOptions, Predictor
from maskmatch_med.io import find_cases, write_segmentation
from maskmatch_med.nets import ModelFolder
from maskmatch_med.planning import Plan
from maskmatch_med.service.apply import selected_cases
from maskmatch_med.service.devices import resolve_device
from maskmatch_med.service.engines import open_engine
from maskmatch_med.volume import Volume

WAYS = {
    "one scale, overlap 0.5": PredictOptions(),
    "scales 0.8, 0.9, 1": PredictOptions(scales=(0.8, 0.9, 1.0)),
    "scales 0.8, 0.9, 1, overlap 0.5": PredictOptions(scales=(0.8, 0.9, 1.0), overlap=0.5),
    "scales 0.85, 1, 1.2": PredictOptions(scales=(0.85, 1.0, 1.2)),
    "scales 0.85, 1, 1.2, overlap 0.5": PredictOptions(scales=(0.85, 1.0, 1.2), overlap=0.5),
}
"""What is timed against MONAI's one scale."""

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class _Scans:
    """What is predicted: scans by name, and where their labels are."""

    volumes: dict[str, Volume]
    references: Path

    def compared(
        self, what: str, peer: str, timed: Timed, ours: Sequence[Labels], theirs: Sequence[Labels]
    ) -> dict[str, Any]:
        """A row of the table."""
        mine, other = self._dice(ours), self._dice(theirs)
        gain = 100 * np.array([mine[name] - other[name] for name in mine])
        same = sum(int((a == b).sum()) for a, b in zip(ours, theirs, strict=True))
        return {
            "what": what,
            "peer": peer,
            "scans": len(gain),
            **timed.record(),
            "labels_agree": round(same / sum(labels.size for labels in ours), 6),
            "dice": round(float(np.nanmean(list(mine.values()))), 4),
            "peer_dice": round(float(np.nanmean(list(other.values()))), 4),
            "points_over_peer": round(float(np.nanmean(gain)), 2),
            "standard_error": round(float(np.nanstd(gain, ddof=1) / np.sqrt(len(gain))), 2),
        }

    def _dice(self, found: Sequence[Labels]) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as scratch:
            for (name, volume), labels in zip(self.volumes.items(), found, strict=True):
                write_segmentation(Path(scratch) / f"{name}.nii.gz", labels, volume.geometry)
            return service.evaluate(scratch, self.references).case_dice()


def main(words: Sequence[str]) -> None:
    """Predict in turns, score, print and write ``OUT/peers-NAME.json``."""
    parser = parser_of("peers", __doc__, "test")
    parser.add_argument("--device", default="auto", help="as of maskmatch predict")
    parser.add_argument("--nnunet-python", type=Path, help="interpreter with nnunetv2")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(words)
    names = service.names_in_splits(given.splits, given.part, first=given.first, last=given.last)
    folder, device = ModelFolder(given.model), resolve_device(given.device)
    plan = folder.plan()
    cases = selected_cases(find_cases([given.data], channels=plan.channel_names), names)
    scans = _Scans({case.name: case.read(channels=len(plan.channel_names)) for case in cases}, given.data)
    _, engine = open_engine(folder, given.engine, device, cases, print)
    network = folder.network(plan, device, channels_last=False)
    rows = list(_against_monai(scans, plan, engine, network, device, given.rounds))
    if given.nnunet_python is None:
        print("nnU-Net is left out: give --nnunet-python an interpreter that has nnunetv2")
    else:
        with NnUNetPredictor(given.nnunet_python, network, plan, device, list(scans.volumes.values())) as peer:
            ours = _ours(engine, plan, PredictOptions(mirror=True), scans)
            timed = interleave(ours.predict, peer.predict, given.rounds)
            what = f"{2 ** len(plan.mirror_axes)} mirror images, one scale, overlap 0.5"
            rows.append(scans.compared(what, "nnU-Net's predictor", timed, ours.labels, peer.labels()))
    tell(f"peers-{given.data.name}", [row | {"device": device.type} for row in rows], given.out)


def _against_monai(
    scans: _Scans, plan: Plan, engine: Engine, network: nn.Module, device: torch.device, rounds: int
) -> Sequence[dict[str, Any]]:
    rows, monai = [], _InTurn(MonaiPredictor(network, plan, device).predict, scans)
    for what, options in WAYS.items():
        ours = _ours(engine, plan, options, scans)
        timed = interleave(ours.predict, monai.predict, rounds)
        rows.append(scans.compared(what, "MONAI, one scale, overlap 0.5", timed, ours.labels, monai.labels))
    return rows


class _InTurn:
    """One predictor, scan after scan."""

    def __init__(self, segment: Callable[[Volume], Labels], scans: _Scans) -> None:
        self._segment, self._scans = segment, scans
        self.labels: list[Labels] = []

    def predict(self) -> None:
        self.labels = [self._segment(volume) for volume in self._scans.volumes.values()]


def _ours(engine: Engine, plan: Plan, options: PredictOptions, scans: _Scans) -> _InTurn:
    predictor = Predictor(engine, plan, options)
    return _InTurn(lambda volume: predictor.predict(volume).labels, scans)


class NnUNetPredictor:
    """nnU-Net's predictor in a process of its own, which has the network as TorchScript and the scans preprocessed.

    Args:
        python: interpreter that has nnunetv2.
        network: in evaluation mode, on the device.
        plan: its plan.
        device: where nnU-Net computes.
        volumes: the scans.

    Raises:
        RuntimeError: the process ends before it answers.
    """

    def __init__(
        self, python: Path, network: nn.Module, plan: Plan, device: torch.device, volumes: Sequence[Volume]
    ) -> None:
        self._stack = ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        with torch.no_grad():
            window = torch.zeros(1, len(plan.channel_names), *plan.patch_vox, device=device)
            torch.jit.trace(network, window).save(str(self._folder / "network.pt"))
        self._grids = []
        for index, volume in enumerate(volumes):
            made = preprocess(volume, plan)
            np.save(self._folder / f"scan_{index:03d}.npy", made.image)
            self._grids.append(made.grid)
        asked = {
            "device": device.type,
            "classes": plan.classes,
            "patch": plan.patch_vox,
            "mirror_axes": plan.mirror_axes,
            "shapes": [grid.shape for grid in self._grids],
        }
        (self._folder / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
        self._process = subprocess.Popen(
            [str(python), "-m", "benchmarks.nnunet_predictor", str(self._folder)],
            cwd=REPOSITORY,
            env=peer_environment() | {"PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> NnUNetPredictor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate("")
        self._stack.close()

    def predict(self) -> None:
        """All scans once; returns when the process has their labels."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.strip() == "done":
                return
        raise RuntimeError(f"nnU-Net's process ended with {self._process.wait()}")

    def labels(self) -> list[Labels]:
        """What it found, each on the scan's own grid in file order."""
        files = sorted(self._folder.glob("labels_*.npy"))
        return [grid.to_native(np.load(file)) for grid, file in zip(self._grids, files, strict=True)]
