"""The commands that are printed under the tables are comparisons that `maskmatch bench` takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from maskmatch_med.bench import Design
from maskmatch_med.cli.app import main

ROOT = Path(__file__).resolve().parents[2]
DATA = ("Task04_Hippocampus", "nuclei", "Dataset101_LeftAtriumHalf")


def printed(page: Path) -> list[str]:
    """The bench commands of a page's code blocks, on one line each, with what its variables stand for."""
    told: dict[str, str] = {}
    commands = []
    for block in re.findall(r"(?:^    .*\n)+", page.read_text(encoding="utf-8"), flags=re.MULTILINE):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            given = re.match(r'^\s*([A-Z]+)="?([^"]*)"?$', line)
            if given:
                told[given[1]] = given[2]
            elif line.strip().startswith("maskmatch bench"):
                commands.append(line.strip())
    for name in sorted(told, key=len, reverse=True):
        commands = [command.replace(f"${name}", told[name]) for command in commands]
    return commands


@pytest.mark.parametrize("page", ["docs/results.md", "docs/earlier_results.md", "benchmarks/README.md"])
def test_printed_comparisons_can_be_run(
    page: str, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is trained: each is read by the command line, and checked as it is before the first training."""
    taken: list[Design] = []

    def check(root: Path, design: Design, request: object) -> Path:
        design.check()
        taken.append(design)
        (tmp_path / "table.md").write_text("")
        return tmp_path / "table.md"

    monkeypatch.setattr("maskmatch_med.bench.run_bench", check)
    commands = [command for command in printed(ROOT / page) if "generated" not in command]
    for command in commands:
        words = shlex.split(command.replace("DATA/", ""))[1:]
        places = [str(shared_data / word) if word.split("/")[0] in DATA else word for word in words]
        assert main(places) == 0, command
    assert len(taken) == len(commands) > 0
