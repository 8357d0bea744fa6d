"""What the live view of a training says of the time left."""

from __future__ import annotations

from typing import Any

from maskmatch_med.cli.console import TrainingDisplay


def note(display: TrainingDisplay, **event: Any) -> str:
    display.report({"event": "train", "loss_labelled": 0.5, **event})
    return str(display._bar.tasks[-1].fields["note"])


def test_no_time_left_is_told_before_there_is_something_to_estimate_from():
    display = TrainingDisplay()
    assert "left" not in note(display, iteration=1, seconds=4.0, progress=0.0)
    assert "left" not in note(display, iteration=5, seconds=6.0, progress=0.005)
    told = note(display, iteration=100, seconds=64.0, progress=0.25)
    assert "3.0 min left" in told
    assert "labelled 0.500" in told


def test_the_estimate_of_a_resumed_run_counts_its_own_share():
    """From half to three quarters in a minute: one more minute."""
    display = TrainingDisplay()
    assert "left" not in note(display, iteration=500, seconds=1000.0, progress=0.5)
    assert "1.0 min left" in note(display, iteration=750, seconds=1060.0, progress=0.75)
