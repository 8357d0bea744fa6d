"""What tests in the browser share: Chromium, a server, and pages that say what they asked for and complained of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import chromium
from tests.browser.watch import Watch
from tests.served import Server

WINDOW = {"width": 1280, "height": 800}
_REPORT: pytest.StashKey[dict[str, pytest.TestReport]] = pytest.StashKey()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Keep how a test went, and lay the end of the server's log beside a failure."""
    report = yield
    item.stash.setdefault(_REPORT, {})[report.when] = report
    if report.failed:
        for one in item.funcargs.values() if isinstance(item, pytest.Function) else ():
            if isinstance(one, Server) and one.log.is_file():
                report.sections.append(("log of the server", one.log.read_text(errors="replace")[-6000:]))
    return report


@pytest.fixture(scope="session")
def program() -> str:
    """Chromium; the test is skipped where there is none."""
    found = chromium.find()
    if found is None:
        pytest.skip(f"no Chromium was found: {chromium.HOW}")
    return found


@pytest.fixture(scope="session")
def playwright(program: str) -> Iterator[Any]:
    del program  # looked for first, as Playwright runs but once in a process
    sync_api = pytest.importorskip("playwright.sync_api", reason="the tests in the browser need playwright")
    with sync_api.sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def browser(playwright: Any, program: str) -> Iterator[Any]:
    """A browser that reaches this computer alone."""
    opened = playwright.chromium.launch(executable_path=program, args=list(chromium.FLAGS))
    yield opened
    opened.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts servers of folders, and ends them with the test."""
    started: list[Server] = []

    def start(folder: Path, *more: str, **environment: str) -> Server:
        started.append(Server(folder, more=more, environment=environment).start())
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def open_page(
    browser: Any, serve: Callable[..., Server], request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[], Watch]]:
    """Opens pages, each in a window of its own; fails the test where one asked elsewhere or complained."""
    del serve  # its servers outlive the pages
    opened: list[Watch] = []

    def new() -> Watch:
        opened.append(Watch(browser.new_context(viewport=WINDOW).new_page()))
        return opened[-1]

    yield new
    report = request.node.stash.get(_REPORT, {}).get("call")
    failed = report is None or report.failed
    for rank, watch in enumerate(opened):
        if failed and not watch.page.is_closed():
            picture = tmp_path / f"page{rank}.png"
            watch.page.screenshot(path=picture)
            print(f"the page as it was: {picture}; it complained of {watch.complaints or 'nothing'}")
        watch.page.context.close()
    if not failed:
        for watch in opened:
            watch.check()


@pytest.fixture
def watch(open_page: Callable[[], Watch]) -> Watch:
    """One page."""
    return open_page()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A browser is heavy: with several workers all these tests run in one of them."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("browser"))
