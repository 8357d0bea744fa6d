"""What `windows` and `peers` ask for: a trained model, and scans with labels that it has not learnt from."""

from __future__ import annotations

import argparse
from pathlib import Path


def parser_of(name: str, about: str | None, part: str) -> argparse.ArgumentParser:
    """The words of ``python -m benchmarks NAME MODEL DATA --splits FILE``.

    Args:
        name: of the benchmark.
        about: its docstring, whose first line is shown.
        part: of the splits, where none is given.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {name}", description=(about or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path, help="data set with scans and labels")
    parser.add_argument("--splits", type=Path, required=True, help="JSON with named parts")
    parser.add_argument("--part", default=part, help="whose scans the model has not learnt from")
    parser.add_argument("--first", type=int, default=None, help="only the first so many of the part")
    parser.add_argument("--last", type=int, default=None, help="only the last so many of the part")
    parser.add_argument("--engine", default="auto", help="as of maskmatch predict")
    parser.add_argument("-o", "--out", type=Path, default=Path("bench-speed"))
    return parser
