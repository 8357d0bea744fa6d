"""``python -m benchmarks predict|export|memory|growth|start|train|app|table [--rounds N]``.

``peers``, ``steps``, ``windows`` and ``uncertainty`` take words of their own: ``--help`` after them tells. Each of the
others times ours and a peer in turns, prints a table of median, least and greatest ratio, and writes ``OUT/NAME.json``.
``table`` prints what lies in OUT as one table. Comparisons of accuracy have commands of their own, see
``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path

import maskmatch_med  # before torch, whose threads it tells to sleep while they wait

NAMES = ("predict", "export", "memory", "growth", "start", "train", "app")


def main(words: list[str]) -> None:
    """Run what the first word says; without one, all of them."""
    if words[:1] in (["peers"], ["steps"], ["windows"], ["uncertainty"]):
        import_module(f"benchmarks.{words[0]}").main(words[1:])
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, "table", []], help="all by default")
    parser.add_argument("-o", "--out", type=Path, default=Path("bench-speed"), help="folder of the records")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nnunet-python", type=Path, help="interpreter with nnunetv2, for `export`")
    asked = parser.parse_args(words)
    print(f"maskmatch-med {maskmatch_med.__version__}")
    import torch  # noqa: PLC0415 - see above

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    for name in asked.names or (*NAMES, "table"):
        _run(name, asked)


def _run(name: str, asked: argparse.Namespace) -> None:
    print(f"\n{name}")
    module = import_module(f"benchmarks.{'speed_table' if name == 'table' else name}")
    if name == "export":
        module.main(asked.out, asked.rounds, asked.nnunet_python)
    elif name in {"memory", "table"}:
        module.main(asked.out)
    else:
        module.main(asked.out, asked.rounds)


if __name__ == "__main__":
    main(sys.argv[1:])
