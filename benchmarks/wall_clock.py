"""A learning-rate schedule by the wall clock, of the standard library alone, so that any program can import it."""

from __future__ import annotations


def step_of(elapsed_s: float, budget_s: float, steps: float) -> float:
    """How far a schedule of ``steps`` steps has come after a share of the time.

    Args:
        elapsed_s: seconds since training began.
        budget_s: seconds that it may take.
        steps: what the schedule is written in: epochs, or iterations.

    Returns:
        From 0 to ``steps``, in proportion to the time; ``steps`` when it is spent.

    Raises:
        ValueError: there is no time to train in.
    """
    if not budget_s > 0:
        raise ValueError(f"a training needs more than 0 seconds, got {budget_s:g}")
    return steps * min(1.0, max(0.0, elapsed_s / budget_s))
