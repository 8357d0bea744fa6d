"""Two thousand small scans: how fast they come in, how much memory that takes, and what an interruption costs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from maskmatch_med.io import write_map, write_segmentation
from maskmatch_med.study import Study, check_study, import_scans
from maskmatch_med.volume import Geometry

GEOMETRY = Geometry((16, 16, 16), np.eye(4))
COMMAND = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "  # a shell's background jobs ignore it
    "from maskmatch_med.cli import main; main()"
)


def _write_scans(folder: Path, count: int) -> Path:
    draw = np.random.default_rng(0)
    (folder / "labelsTr").mkdir(parents=True)
    for number in range(count):
        name = f"s{number:04d}"
        write_map(folder / f"imagesTr/{name}_0000.nii.gz", draw.normal(size=GEOMETRY.shape), GEOMETRY)
        labels = draw.integers(0, 2, GEOMETRY.shape, dtype=np.uint8)
        write_segmentation(folder / f"labelsTr/{name}.nii.gz", labels, GEOMETRY)
    names = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 1}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(names))
    return folder


def _start(source: Path, study: Path, log: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    with log.open("wb") as stream:
        words = [sys.executable, "-c", COMMAND, "import", str(source), str(study)]
        return subprocess.Popen(words, stdout=stream, stderr=subprocess.STDOUT, env=environment)


def _import(source: Path, study: Path, log: Path) -> tuple[float, float]:
    """Import in a process of its own; seconds, and the most memory that was resident, in MiB."""
    began, peak = time.monotonic(), 0
    process = _start(source, study, log)
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            peak = max(peak, watched.memory_info().rss)
        except psutil.Error:
            break
        time.sleep(0.1)
    assert process.wait() == 0, log.read_text()
    return time.monotonic() - began, peak / 2**20


def _interrupt(source: Path, study: Path, log: Path, how: int, written: int) -> int:
    """Start an import and end it once so many scans are written; its exit code."""
    process = _start(source, study, log)
    while len(list((study / "sources").glob("*.json"))) < written:
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)
    process.send_signal(how)
    return process.wait()


def _content(study: Path) -> dict[str, bytes]:
    """Every scan and label, by name; voxels that a killed process left without sidecar count for nothing."""
    files = [p for part in ("imagesTr", "labelsTr") for p in (study / part).rglob("*.nii.gz")]
    current = {p.parent.name: p.with_suffix(".nii.gz") for p in sorted((study / "history").glob("*/*.json"))}
    shown = {str(p.relative_to(study)): p.read_bytes() for p in files}
    return shown | {f"history/{case}": path.read_bytes() for case, path in current.items()}


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT and SIGKILL are those of Linux and macOS")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_import_goes_on_with_the_same_command(tmp_path, how):
    source = _write_scans(tmp_path / "source", 40)
    code = _interrupt(source, tmp_path / "study", tmp_path / "log", how, written=5)
    assert code == (130 if how == signal.SIGINT else -signal.SIGKILL)
    if how == signal.SIGINT:
        assert "the same command goes on from there" in (tmp_path / "log").read_text()
    there = len(list((tmp_path / "study/sources").glob("*.json")))
    assert 5 <= there < 40
    summary = import_scans(source, tmp_path / "study")
    assert len(summary.added) + len(summary.unchanged) == 40
    assert len(summary.unchanged) >= there - 1
    import_scans(source, tmp_path / "whole")
    assert _content(tmp_path / "study") == _content(tmp_path / "whole")
    assert not [f for f in check_study(tmp_path / "study") if f.severity == "error"]


@pytest.mark.proof
def test_two_thousand_scans(tmp_path, capsys):
    source = _write_scans(tmp_path / "source", 2000)
    small = tmp_path / "small"
    for part in ("imagesTr", "labelsTr"):
        (small / part).mkdir(parents=True)
        for path in sorted((source / part).iterdir())[:200]:
            shutil.copy(path, small / part / path.name)
    shutil.copy(source / "dataset.json", small / "dataset.json")
    log = tmp_path / "log"
    few_s, few_mib = _import(small, tmp_path / "study200", log)
    many_s, many_mib = _import(source, tmp_path / "study2000", log)
    again_s, _ = _import(source, tmp_path / "study2000", log)
    assert "0 scans added, 2000 unchanged" in log.read_text()
    assert log.read_text().count("Importing") == 1
    _interrupt(source, tmp_path / "cut", log, signal.SIGKILL, written=1000)
    began = time.monotonic()
    summary = import_scans(source, tmp_path / "cut")
    resumed_s = time.monotonic() - began
    said = (
        f"200 scans: {few_s:.1f} s, {few_mib:.0f} MiB; 2000 scans: {many_s:.1f} s, {2000 / many_s:.0f} a second, "
        f"{many_mib:.0f} MiB; again, nothing new: {again_s:.1f} s; killed in the middle and resumed: "
        f"{len(summary.unchanged)} unchanged, {len(summary.added)} added in {resumed_s:.1f} s"
    )
    with capsys.disabled():
        print(f"\n{said}")
    assert len(summary.added) + len(summary.unchanged) == 2000
    assert len(Study.open(tmp_path / "cut").labelled_cases()) == 2000
    assert _content(tmp_path / "cut") == _content(tmp_path / "study2000")
    assert many_mib < few_mib * 1.25 + 16
    assert many_s < few_s * 10 * 1.5
    assert again_s < many_s
