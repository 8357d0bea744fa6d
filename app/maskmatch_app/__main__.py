"""``python -m maskmatch_app [STUDY]``: start the app."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from maskmatch_app import launch


def main() -> int:
    """Read the command line and serve until stopped; 2 where what was given cannot be used."""
    parser = argparse.ArgumentParser("maskmatch app", description="Open the app in the browser.")
    parser.add_argument("study", nargs="?", type=Path, help="a study folder; it is made with the first scans")
    parser.add_argument("--folder", type=Path, default=launch.default_folder(), help="where the studies lie")
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser window")
    parser.add_argument("--host", default="localhost", help="where to listen; a network needs --password-file")
    parser.add_argument("--password-file", type=Path, help="a file that holds the password people sign in with")
    given = parser.parse_args()
    folder, browser = given.folder, not given.no_browser
    try:
        launch.serve(launch.Launch(given.study, folder, given.port, browser, given.host, given.password_file))
    except ValueError as error:
        print(f"maskmatch: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
