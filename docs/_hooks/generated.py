"""Pages that are written when the site is built: the references, from the code, and files of the repository's root.

MkDocs calls ``on_files``, ``on_page_markdown`` and ``on_page_content``. Nothing here is needed by the program itself.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from command_line import command_line_page  # noqa: E402  beside this file
from python_names import python_page, rooms_page  # noqa: E402

FROM_ROOT = {
    "benchmarks/README.md": "benchmarks.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "THIRD_PARTY.md": "third_party.md",
}
"""Pages that lie outside docs/ and where they stand in the site."""
FROM_CODE = {
    "maskmatch_med/cli/app.py": "reference/cli.md",
    "maskmatch_med/__init__.py": "reference/python.md",
    "maskmatch_med/config.py": "reference/python.md#settings-of-a-training",
}
"""Code that a page links to, so that whoever reads the sources gets there, and what the site shows of it."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is generated to the files of docs/."""
    pages = {
        "reference/cli.md": command_line_page(),
        "reference/python.md": python_page(),
        "reference/rooms.md": rooms_page(ROOT / "maskmatch_med"),
    }
    pages |= {page: _from_root(source) for source, page in FROM_ROOT.items()}
    for page, text in pages.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links that leave docs/ in the sources to the pages that the site has instead."""
    for source, target in (FROM_ROOT | FROM_CODE).items():
        markdown = markdown.replace(f"](../{source})", f"]({target})")
    return markdown


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Take out the roles of docstrings, such as ``:class:``, which stand before a name in code letters."""
    return re.sub(r":(?:mod|class|func|meth|attr|data):(?=<code>)", "", html)


def _from_root(source: str) -> str:
    """A file of the repository with its links to docs/ made links between pages."""
    return (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
