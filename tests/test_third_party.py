"""Files that others wrote are listed with their licence, whose text lies beside them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIST = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
PLACES = ("app/maskmatch_app", "maskmatch_med", "docs")
BROUGHT = {".woff", ".woff2", ".ttf", ".otf", ".eot", ".wasm", ".map"}
"""Endings of files that nobody writes by hand."""
BUILT = re.compile(r"node_modules/|sourceMappingURL|/\*!|@license|Copyright \(c\)", re.IGNORECASE)
"""What packers of scripts and authors of others leave in a file."""
LONGEST = 1_000
"""Characters of a line beyond which no hand has written it."""


def scripts() -> list[Path]:
    """The files for browsers that are shipped, with the program or with its documentation."""
    found = [path for place in PLACES for path in (ROOT / place).rglob("*") if path.is_file()]
    return [path for path in found if path.suffix in {".js", ".mjs", ".css", ".html", ".svg"} | BROUGHT]


def is_of_others(path: Path) -> bool:
    if path.suffix in BROUGHT:
        return True
    text = path.read_text(encoding="utf-8")
    return BUILT.search(text) is not None or max(map(len, text.splitlines()), default=0) > LONGEST


def rows() -> dict[str, str]:
    """File to the text of its licence, as the list has them."""
    return dict(re.findall(r"^\| `([^`]+)` \|.*\| `([^`]+)` \|$", LIST, flags=re.MULTILINE))


def test_every_file_of_others_is_listed_and_nothing_else() -> None:
    found = {path.relative_to(ROOT).as_posix() for path in scripts() if is_of_others(path)}
    assert found == set(rows())


def test_the_text_of_each_licence_lies_beside_its_file() -> None:
    for name, text in rows().items():
        assert (ROOT / text).parent == (ROOT / name).parent
        assert re.search("copyright", (ROOT / text).read_text(encoding="utf-8"), flags=re.IGNORECASE)
    texts = [path.relative_to(ROOT).as_posix() for place in PLACES for path in (ROOT / place).rglob("LICENSE*")]
    assert sorted(texts) == sorted(rows().values())


@pytest.mark.parametrize("where", ["THIRD_PARTY.md", "app/maskmatch_app/annotator/LICENSE-niivue.txt"])
def test_every_package_within_the_viewer_is_named(where: str) -> None:
    viewer = (ROOT / "app/maskmatch_app/annotator/niivue.js").read_text(encoding="utf-8")
    packages = set(re.findall(r"node_modules/((?:@[\w-]+/)?[\w.-]+)/", viewer))
    assert len(packages) > 8
    told = (ROOT / where).read_text(encoding="utf-8")
    assert [name for name in sorted(packages) if name not in told] == []


def test_the_list_goes_with_the_wheel_and_is_linked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license-files"] == ["LICENSE", "THIRD_PARTY.md"]
    assert "](THIRD_PARTY.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
