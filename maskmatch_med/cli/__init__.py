"""The command line, ``maskmatch``; one file a family of commands."""

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    from maskmatch_med.cli.app import main as run

    sys.exit(run())
