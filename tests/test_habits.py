"""Makefile, pre-commit, CONTRIBUTING, CITATION and the examples of the docs say the same as the code."""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from maskmatch_med.version import __version__

ROOT = Path(__file__).resolve().parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CITATION: dict[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def recipe(target: str) -> list[str]:
    """The commands of a target, with .venv/bin for $(BIN)."""
    found = re.search(rf"^{target}:[^\n]*\n((?:\t[^\n]*\n)+)", MAKEFILE, flags=re.MULTILINE)
    assert found is not None, target
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in found[1].splitlines()]


def test_pre_commit_runs_the_commands_of_make_lint() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert [hook["entry"] for hook in hooks] == recipe("lint")
    assert all(hook["language"] == "system" and hook["pass_filenames"] is False for hook in hooks)


def test_every_target_is_listed_and_named_in_contributing() -> None:
    named = re.findall(r"^([a-z]+):.*?## \S", MAKEFILE, flags=re.MULTILINE)
    (phony,) = re.findall(r"^\.PHONY: (.+)$", MAKEFILE, flags=re.MULTILINE)
    assert sorted(phony.split()) == sorted(named)
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [name for name in named if f"make {name}" not in text] == []
    assert set(re.findall(r"`make (\w+)`", text)) <= set(named)


def test_coverage_is_measured_on_the_engine_and_held() -> None:
    assert PROJECT["tool"]["coverage"]["report"]["fail_under"] >= 90
    assert PROJECT["tool"]["coverage"]["run"]["source_pkgs"] == ["maskmatch_med"]
    assert "--cov " in recipe("coverage")[0]


def test_links_between_pages_lead_to_files() -> None:
    """As whoever reads the sources follows them; those of the site are followed where it is built."""
    pages = [
        *PAGES,
        ROOT / "CONTRIBUTING.md",
        ROOT / "THIRD_PARTY.md",
        ROOT / "benchmarks" / "README.md",
        ROOT / "notebooks" / "README.md",
    ]
    found = [
        f"{page.name}: {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
        if not link.startswith(("https://", "http://")) and not (page.parent / link).exists()
    ]
    assert found == []


def test_the_citation_is_in_form() -> None:
    known = (
        *("cff-version", "message", "title", "type", "version", "license", "authors", "keywords", "references"),
        *("abstract", "date-released", "doi", "identifiers", "preferred-citation", "repository-code", "url"),
    )
    assert set(CITATION) <= set(known)
    assert re.fullmatch(r"1\.2\.\d", str(CITATION["cff-version"]))
    assert CITATION["type"] == "software"
    assert CITATION["version"] == __version__
    assert CITATION["license"] == PROJECT["project"]["license"]
    assert isinstance(CITATION.get("date-released", datetime.date.today()), datetime.date)
    for entry in [CITATION, *CITATION["references"]]:
        assert entry["title"]
        assert entry["authors"]
        for author in entry["authors"]:
            assert set(author) <= {"name", "family-names", "given-names", "orcid", "affiliation", "email", "website"}
            assert ("name" in author) != ("family-names" in author)
    for reference in CITATION["references"]:
        assert reference["type"] in {"article", "conference-paper", "software", "generic"}
        assert isinstance(reference["year"], int)
        assert reference["url"].startswith("https://")


def examples() -> dict[str, str]:
    """The Python of each page, its blocks one after another; those of extending.md are run in the test of the site."""
    blocks = {
        page: re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
        for page in PAGES
        if page.stem != "extending"
    }
    return {page.stem.lower().replace("-", "_"): "\n".join(found) for page, found in blocks.items() if found}


def test_examples_pass_mypy_as_the_code_does(tmp_path: Path) -> None:
    found = examples()
    assert "readme" in found
    for name, text in found.items():
        (tmp_path / f"example_{name}.py").write_text(text, encoding="utf-8")
    done = mypy(sorted(tmp_path.glob("example_*.py")))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.proof
def test_an_example_that_is_wrong_does_not_pass(tmp_path: Path) -> None:
    text = examples()["readme"].replace('"study"', "7", 1)
    assert text != examples()["readme"]
    (tmp_path / "example_wrong.py").write_text(text, encoding="utf-8")
    assert mypy([tmp_path / "example_wrong.py"]).returncode == 1


def mypy(files: list[Path]) -> subprocess.CompletedProcess[str]:
    """As ``make lint`` runs it, on other files; what it knows of the package is kept in the same place."""
    words = [sys.executable, "-m", "mypy", "--no-error-summary", *map(str, files)]
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)


def test_tests_of_a_group_share_a_worker(tmp_path: Path) -> None:
    """A browser is heavy; some versions of pytest and xdist pass groups over without a word."""
    one = '@pytest.mark.xdist_group("heavy")\n@pytest.mark.parametrize("n", range(4))\ndef test_it(n): pass\n'
    for name in ("test_a.py", "test_b.py"):
        (tmp_path / name).write_text(f"import pytest\n{one}")
    words = ["-m", "pytest", "-n", "2", "--dist", "loadgroup", "-v", "-p", "no:cacheprovider", str(tmp_path)]
    ran = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert len(workers := re.findall(r"\[(gw\d)\].* PASSED", ran.stdout)) == 8
    assert len(set(workers)) == 1
