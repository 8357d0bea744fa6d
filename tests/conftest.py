"""What every test shares: where the real scans lie, and one thread a process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

torch.set_num_threads(2)
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans beside the repository; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"real scans are not at {SHARED}")
    return SHARED
