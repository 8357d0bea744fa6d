"""The README's Python example runs as it is printed, and what the README names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_trains_predicts_and_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 20
    monkeypatch.chdir(tmp_path)

    exec(compile(example, "README.md", "exec"), {"__name__": "readme"})

    printed = capsys.readouterr().out
    assert "6 scans, 2 of them labelled" in printed
    found = re.search(r"mean Dice (\d\.\d{3}) on 2 test scans", printed)
    assert found is not None
    assert 0 <= float(found[1]) <= 1
    assert {path.name for path in Path("predictions").glob("*.nii.gz")} == {"phantom_006.nii.gz", "phantom_007.nii.gz"}
    assert Path("study/models/maskmatch/weights.safetensors").is_file()


def test_it_is_one_screen_or_little_more_and_shows_the_loop() -> None:
    from tests.browser.loop_picture import draw

    assert len(README.splitlines()) <= 95
    assert "](docs/images/loop.png)" in README
    path = ROOT / "docs" / "images" / "loop.png"
    assert path.stat().st_size < 400_000
    with Image.open(path) as kept:
        assert kept.size == draw().size, "run tests/browser/loop_picture.py"


def test_every_link_into_a_page_leads_to_a_heading() -> None:
    """That links lead to files is held for all pages by ``tests/test_habits.py``."""
    links = re.findall(r"\]\(([^)#]+\.md)#([^)]+)\)", README)
    assert links
    for page, place in links:
        headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert place in {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}, place


def test_every_command_it_shows_exists() -> None:
    from maskmatch_med.cli.app import app

    shown = set(re.findall(r"^maskmatch (\w+)", README, flags=re.MULTILINE))
    assert {"import", "train", "predict", "evaluate"} <= shown
    assert shown <= {command.name for command in app.registered_commands}


def test_every_make_target_it_shows_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make (\w+)", README, flags=re.MULTILINE)) <= targets
