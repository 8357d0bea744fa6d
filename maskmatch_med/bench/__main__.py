"""``python -m maskmatch_med.bench FOLDER KEY DEVICE PID CREATED`` runs one cell, see ``cell.py``."""

from __future__ import annotations

import sys

from maskmatch_med.bench.cell import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
