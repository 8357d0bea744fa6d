"""The documentation site: it builds without a warning, needs no network, leads nowhere wrong, and tells no lies."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import maskmatch_med

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
"""What a browser loads by itself, and the attribute that says from where."""
MOST_GROUPS = 6


class Page(HTMLParser):
    """What a page loads, where it leads, and which places it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.places |= {told[name] for name in ("id", "name") if name in told}
        if tag in LOADED and LOADED[tag] in told:
            self.loads.append(told[LOADED[tag]])
        if tag == "a" and "href" in told:
            self.leads.append(told["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with every warning an error."""
    out = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    told = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    far = {load for page in pages.values() for load in page.loads if urlsplit(load).scheme not in ("", "data")}
    far |= {load for page in pages.values() for load in page.loads if load.startswith("//")}
    for sheet in site.rglob("*.css"):
        far |= set(re.findall(r"(?:@import|url\()\s*[\"']?((?:https?:)?//[^\"')]+)", sheet.read_text(encoding="utf-8")))
    assert far == set()


def test_every_link_within_the_site_leads_to_a_place(site: Path, pages: dict[Path, Page]) -> None:
    wrong = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links begin at the root of a server
            continue
        for link in page.leads + page.loads:
            parts = urlsplit(link)
            if parts.scheme or not link:
                continue
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            target = target / "index.html" if target.is_dir() else target
            place = unquote(parts.fragment)
            if not target.is_file() or (place and target in pages and place not in pages[target].places | {"__top"}):
                wrong.append(f"{path.relative_to(site)}: {link}")
    assert wrong == []


def test_the_search_index_lies_in_a_script_that_a_disk_can_serve(site: Path) -> None:
    index = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    assert index.startswith("var __index = {")
    assert "how far to trust a prediction" in index


def test_there_are_few_groups_and_no_page_without_one() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    nav = text[text.index("\nnav:") :]
    assert 1 < len(re.findall(r"^  - [^\n]+:$", nav, flags=re.MULTILINE)) <= MOST_GROUPS
    assert {f"{path.relative_to(DOCS)}" for path in DOCS.glob("*.md")} <= set(re.findall(r"[\w/-]+\.md", nav))


def test_the_references_name_every_command_and_every_public_name(site: Path) -> None:
    import typer

    from maskmatch_med.cli.app import app

    commands, python = Page(site / "reference/cli.html"), Page(site / "reference/python.html")
    for name, command in typer.main.get_command(app).commands.items():
        names = [f"{name}-{below}" for below in command.commands] if hasattr(command, "commands") else [name]
        assert {f"maskmatch-{each}" for each in names} <= commands.places
    public = {name for name in maskmatch_med.__all__ if not name.startswith("__")}
    assert {f"maskmatch_med.{name}" for name in public} - python.places == set()
    rooms = (site / "reference/rooms.html").read_text(encoding="utf-8")
    for room in (path.parent.name for path in (ROOT / "maskmatch_med").glob("*/__init__.py")):
        assert f'id="{room}"' in rooms


@pytest.mark.parametrize("page", ["troubleshooting.md", "app.md"])
def test_every_message_that_is_quoted_occurs_in_the_source(page: str) -> None:
    sources = [*(ROOT / "maskmatch_med").rglob("*.py"), *(ROOT / "app").rglob("*.py")]
    texts = [text for path in sources for text in _texts(path)]
    for path in (ROOT / "app").rglob("*.js"):
        if path.name != "niivue.js":
            texts += [path.read_text(encoding="utf-8")]
    quoted = re.findall(r"^\| (?:`([^`]+)`|\*([^*]+)\*) \|", _section(page), flags=re.MULTILINE)
    messages = [code or words for code, words in quoted]
    assert len(messages) > 3
    lost = [message for message in messages if not any(_occurs(message, text) for text in texts)]
    assert lost == []


def test_choosing_states_the_budgets_that_plans_obey() -> None:
    from maskmatch_med.planning.heuristics import ALLOWANCES
    from maskmatch_med.training import PRESETS

    text = (DOCS / "choosing.md").read_text(encoding="utf-8")
    for (_budget, dims), presets in ALLOWANCES.items():
        for allowance in presets.values():
            products = {_product(found) for found in re.findall(rf"\d+(?: × \d+){{{dims - 1}}}", text)}
            assert allowance.patch_voxels in products
    for name, preset in PRESETS.items():
        assert f"| `{name}` | {preset.minutes:.0f} |" in text


def test_every_file_that_a_page_says_to_touch_is_there() -> None:
    text = (DOCS / "extending.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:maskmatch_med|app|tests|docs)/[\w/.]+\.\w+)`", text))
    made = set(re.findall(r'title="([^"]+)"', text))
    assert {path for path in named - made if not (ROOT / path).is_file()} == set()
    assert len(named) > 10


def test_the_snippets_on_adding_to_it_run_as_they_stand(tmp_path: Path) -> None:
    """Each in the module that its title names, new modules included; in a process of their own."""
    program = """
import importlib, importlib.util, re, sys
text = open(sys.argv[1], encoding="utf-8").read()
here = {"__name__": "snippet"}
for title, code in re.findall(r'```python(?: title="([^"]+)")?\\n(.*?)```', text, flags=re.DOTALL):
    name = title.removesuffix(".py").replace("/", ".")
    if name and importlib.util.find_spec(name) is None:
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, None))
        sys.modules[name] = module
    exec(compile(code, title or "snippet", "exec"), vars(importlib.import_module(name)) if name else here)
"""
    told = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "app")]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error::SyntaxWarning", "-c", program, str(DOCS / "extending.md")],
        cwd=tmp_path,
        env=told,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    losses, logits, scan = done.stdout.splitlines()[-3:]
    assert re.fullmatch(r"\[0\.\d+.*\]", losses)
    assert logits.startswith("(2, 5, ")
    assert scan == "(1, 2, 3, 4)"


def _section(page: str) -> str:
    """The tables of messages of a page: all of it, or what stands under the heading of that name."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return text[text.index("# When something is in the way") :]


def _texts(path: Path) -> list[str]:
    """The texts of a module as they are told, … for what is filled in."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
            found.append("".join(str(part) for part in parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


def _occurs(message: str, text: str) -> bool:
    """Whether the pieces of a message stand in a text, in their order."""
    at = 0
    for piece in filter(None, (part.strip() for part in message.split("…"))):
        at = text.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return True


def _product(edges: str) -> int:
    product = 1
    for edge in edges.split(" × "):
        product *= int(edge)
    return product
