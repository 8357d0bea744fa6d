"""A page in the browser whose requests and complaints are written down."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

_HERE = {"localhost", "127.0.0.1"}
_LARGEST_PICTURE = 250_000
# Streamlit looks for its server below the address of the page first, and beside it then.
_USUAL = re.compile(r"404 .*/_stcore/(health|host-config)\)$")

# Drawing without a graphics card lacks a kind of buffer that the viewer would blur volumes with in 3D.
_DRAWING = re.compile(r"niivue-error (blur|sobel) shader: +36061")


class Watch:
    """A page, what it asked for and what it complained of.

    Args:
        page: Playwright's page.
    """

    def __init__(self, page: Any) -> None:
        self.page = page
        self.asked: list[tuple[str, str]] = []
        self.complaints: list[str] = []
        self._allowed = [_USUAL, _DRAWING]
        page.on("request", lambda request: self.asked.append((request.method, request.url)))
        page.on("websocket", lambda socket: self.asked.append(("WS", socket.url)))
        page.on("console", self._told)
        page.on("pageerror", lambda error: self.complaints.append(f"error in the page: {error}"))

    def allow(self, pattern: str) -> None:
        """Let the page complain of something that the test brings about itself."""
        self._allowed.append(re.compile(pattern))

    def elsewhere(self) -> list[str]:
        """The addresses on other computers that the page asked for."""
        asked = [urlparse(url.removeprefix("blob:")) for _, url in self.asked if not url.startswith("data:")]
        return [url.geturl() for url in asked if url.hostname not in _HERE]

    def asked_for(self, pattern: str, method: str = "GET") -> list[str]:
        """The addresses it asked for that hold a pattern."""
        return [url for how, url in self.asked if how == method and re.search(pattern, url)]

    def check(self) -> None:
        """Fail where the page asked another computer, or complained of what no test has brought about."""
        assert not self.elsewhere(), f"the page asked other computers: {self.elsewhere()}"
        unexpected = [text for text in self.complaints if not any(one.search(text) for one in self._allowed)]
        assert not unexpected, f"the page complained in its console: {unexpected}"

    def picture(self, path: Path) -> None:
        """Save the window as a small PNG."""
        import io

        from PIL import Image

        raw = Image.open(io.BytesIO(self.page.screenshot(animations="disabled"))).convert("RGB")
        for colours in (256, 128, 64):
            raw.quantize(colours, method=Image.Quantize.MEDIANCUT).save(path, optimize=True)
            if path.stat().st_size <= _LARGEST_PICTURE:
                break

    def settled(self) -> None:
        """Wait until Streamlit has run the page."""
        self.page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=60_000)

    def _told(self, message: Any) -> None:
        if message.type == "error":
            place = message.location.get("url", "") if message.location else ""
            self.complaints.append(f"{message.text} ({place})")
