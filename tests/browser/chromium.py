"""Find Chromium for the tests in the browser, or install it: ``python tests/browser/chromium.py``.

Looked for are, in this order: the program that the environment variable CHROMIUM names, Chromium and Chrome as the
system knows them, and the one that Playwright downloads for itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

VARIABLE = "CHROMIUM"
HOW = (
    "install Chromium (Debian and Ubuntu: apt-get install chromium; elsewhere: python -m playwright install chromium), "
    f"or name its program in the environment variable {VARIABLE}"
)
"""How to get it."""
FLAGS = (
    *("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost",
)
"""Drawing without a graphics card, and no way to any other computer."""
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Google/Chrome/Application/chrome.exe",
)
_INSTALL_S = 600


def find() -> str | None:
    """The program to start, or None where there is none.

    Raises:
        FileNotFoundError: the environment variable names no program.
    """
    named = os.environ.get(VARIABLE)
    if named:
        found = shutil.which(named)
        if found is None:
            raise FileNotFoundError(f"{VARIABLE} names {named!r}, which is no program; correct or unset it")
        return found
    known = next((found for name in _NAMES if (found := shutil.which(name))), None)
    return known or next((place for place in _PLACES if Path(place).is_file()), None) or _own_of_playwright()


def install() -> str | None:
    """Try to install it; gives the program, or None where that did not work."""
    ways = [[sys.executable, "-m", "playwright", "install", "chromium"]]
    if shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        apt = "apt-get update && apt-get install --yes --no-install-recommends chromium"
        ways.insert(0, ["sh", "-c", apt])
    for way in ways:
        print(f"Chromium was not found; trying: {' '.join(way)}", flush=True)
        try:
            subprocess.run(way, check=False, timeout=_INSTALL_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            print(error)
        if (found := find()) is not None:
            return found
    return None


def _own_of_playwright() -> str | None:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).is_file() else None


def main() -> None:
    """Find it, else install it, and say what came of that; without it the tests in the browser are skipped."""
    try:
        program = find() or install()
    except FileNotFoundError as error:
        sys.exit(str(error))
    print(f"Chromium: {program}" if program else f"No Chromium, so the tests in the browser are skipped; {HOW}.")


if __name__ == "__main__":
    main()
