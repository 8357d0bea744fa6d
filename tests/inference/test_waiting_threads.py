"""Threads of NumPy's products that wait leave the processor to the network."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import time
{first}
import numpy as np
one = np.ones((400, 400), dtype=np.float32)
one @ one
began = time.process_time()
time.sleep(0.1)
print(time.process_time() - began)
"""


def seconds_at_rest(first: str) -> float:
    """Processor time in a tenth of a second of sleep after a product."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "OPENBLAS_"))}
    words = [sys.executable, "-c", PROGRAM.format(first=first)]
    return float(subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout)


def test_after_a_product_nothing_spins() -> None:
    if seconds_at_rest("") < 0.01:
        pytest.skip("NumPy's threads do not spin here: another BLAS, or one processor")
    assert seconds_at_rest("import maskmatch_med") < 0.005
