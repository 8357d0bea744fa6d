"""The largest class is the one that argmax gives, also among equals and for as many classes as a byte holds."""

from __future__ import annotations

import pytest
import torch

from maskmatch_med.inference.slab import largest


@pytest.mark.parametrize("classes", [1, 2, 14, 256])
def test_it_is_argmax_and_the_first_of_equals(classes: int) -> None:
    maps = torch.randint(0, 4, (classes, 5, 9, 7), generator=torch.Generator().manual_seed(0)) / 4
    found = largest(maps.movedim(1, 2))  # in whatever order it lies
    assert found.dtype == torch.uint8
    # NumPy promises the first of equals.
    assert torch.equal(found, torch.from_numpy(maps.movedim(1, 2).numpy().argmax(0)).to(torch.uint8))
    assert (maps[:, 0, 0, 0] == maps[:, 0, 0, 0].max()).sum() > 1 or classes < 14
