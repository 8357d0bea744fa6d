"""Two programs timed in turns, so that whatever else the machine does falls on both; and the record of a benchmark."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.scored import markdown_table, write_json

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Timed:
    """Seconds of each round, of ours and of the peer.

    Args:
        ours: seconds.
        peer: seconds of the same rounds.
    """

    ours: tuple[float, ...]
    peer: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """How many times as long the peer took, by round."""
        return [theirs / ours for ours, theirs in zip(self.ours, self.peer, strict=True)]

    def record(self) -> dict[str, Any]:
        """For JSON."""
        found = self.ratios
        return {
            "ours_s": round(statistics.median(self.ours), 4),
            "peer_s": round(statistics.median(self.peer), 4),
            "ratio": round(statistics.median(found), 3),
            "ratio_low": round(min(found), 3),
            "ratio_high": round(max(found), 3),
            "rounds": len(found),
        }


def interleave(ours: Callable[[], object], peer: Callable[[], object], rounds: int, *, warm: bool = False) -> Timed:
    """Run both in turns; who begins changes with every round.

    Args:
        ours: our way.
        peer: the other.
        rounds: of both.
        warm: both have run before; else each runs once unmeasured.
    """
    if not warm:
        ours()
        peer()
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    for number in range(rounds):
        pair = [("ours", ours), ("peer", peer)]
        for name, work in pair if number % 2 == 0 else reversed(pair):
            began = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - began)
    return Timed(tuple(seconds["ours"]), tuple(seconds["peer"]))


def growth_exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The exponent p of seconds = c * size^p, by least squares of the logarithms."""
    slope, _ = np.polyfit(np.log(sizes), np.log(seconds), 1)
    return float(slope)


def machine() -> dict[str, Any]:
    """Where and with what a benchmark ran."""
    commit = subprocess.run(
        ["git", "-C", str(REPOSITORY), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "date": datetime.now(tz=UTC).date().isoformat(),
        "commit": commit.stdout.strip() or "not in a repository",
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        **{package: version(package) for package in ("torch", "monai")},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def tell(name: str, rows: Sequence[dict[str, Any]], out: Path) -> None:
    """Print the rows as a table and write them with the machine as ``OUT/NAME.json``."""
    heads = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_shown(row.get(head)) for head in heads] for row in rows]
    print("\n".join(markdown_table(heads, cells)))
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / f"{name}.json", {"benchmark": name, "machine": machine(), "rows": list(rows)})


def _shown(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def read(path: Path) -> dict[str, Any]:
    """A record that :func:`tell` wrote."""
    return dict(json.loads(path.read_text(encoding="utf-8")))
