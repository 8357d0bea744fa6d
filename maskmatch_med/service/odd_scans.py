"""What the user should know of scans that can be predicted and are odd."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from maskmatch_med.errors import InputError, named
from maskmatch_med.io import CaseFiles
from maskmatch_med.io.affines import stated_affines

Notice = Callable[[str], None]


def note_two_positions(cases: Sequence[CaseFiles], notice: Notice) -> None:
    """Segmentations state one position in both forms of their header; a program may show such a scan at the other."""
    two = [case.name for case in cases if case.channels[0].name.endswith((".nii", ".nii.gz")) and _states_two(case)]
    if two:
        notice(
            f"sform and qform of {_scans(two)} disagree ({named(two)}); segmentations lie where the sform says, so "
            "programs that go by the qform will show them beside the scan"
        )


def note_not_finite(names: Sequence[str], notice: Notice) -> None:
    """These scans have voxels without a value, which were given one."""
    if names:
        notice(
            f"some voxels of {_scans(names)} are NaN or infinite ({named(names)}); they took the median of the others "
            "of their channel"
        )


def _states_two(case: CaseFiles) -> bool:
    try:
        return stated_affines(case.channels[0]).disagree
    except InputError:
        return False  # what is wrong with it is said when it is read


def _scans(names: Sequence[str]) -> str:
    return f"{len(names)} scan{'s' * (len(names) != 1)}"
