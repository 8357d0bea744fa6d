"""What held-out scans told of a model's confidence: ``models/MODEL/calibration.json``.

The file goes with the model wherever that is copied, so it names no scan; ``calibration_scans.csv`` beside it does, and
is for the study alone.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maskmatch_med.errors import StudyError
from maskmatch_med.evaluation.calibration import Calibration
from maskmatch_med.evaluation.conformal import DiceOffsets, conformal_offsets, rank_correlation
from maskmatch_med.io.atomic import write_text

CALIBRATION_FILE, SCANS_FILE = "calibration.json", "calibration_scans.csv"
"""Names of the files in a model's folder."""


@dataclass(frozen=True)
class HeldOutDice:
    """The Dice of one held-out scan.

    Args:
        case: its name.
        expected: by the model's own tempered probabilities, 0 to 1, without an offset.
        true: with the reference, mean over the structures that either has; NaN where neither has one.
    """

    case: str
    expected: float
    true: float


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ConfidenceErrors(_Record):
    """Expected calibration errors, 0 to 1, on the scans that the temperature was fitted to.

    Args:
        before: of all voxels in the surroundings of the structures.
        after: the same of the tempered probabilities.
        structures_before: of the voxels called a structure alone; None where none was.
        structures_after: the same of the tempered probabilities.
    """

    before: float
    after: float
    structures_before: float | None
    structures_after: float | None

    @classmethod
    def of(cls, before: Calibration, after: Calibration) -> ConfidenceErrors:
        """Those of the counted voxels before and after the temperature."""
        called = [None if math.isnan(one.called.ece) else round(one.called.ece, 5) for one in (before, after)]
        return cls(
            before=round(before.ece, 5),
            after=round(after.ece, 5),
            structures_before=called[0],
            structures_after=called[1],
        )


class DiceAgreement(_Record):
    """How far the expected Dice agrees with the true one, over the held-out scans that have a true one.

    Args:
        scans: how many those are.
        bias: mean of true - expected; None without a scan.
        spearman: rank correlation of both; None where it does not exist.
        offsets: what is added to the expected Dice for a best guess and a 90 % interval; None with fewer than ten such
            scans: then the expected Dice is for ranking only.
    """

    scans: int = Field(ge=0)
    bias: float | None
    spearman: float | None
    offsets: DiceOffsets | None

    @classmethod
    def of(cls, dice: Sequence[HeldOutDice]) -> DiceAgreement:
        """That of some scans; those without a true Dice are left out."""
        scored = [one for one in dice if not math.isnan(one.true)]
        expected, true = [one.expected for one in scored], [one.true for one in scored]
        return cls(
            scans=len(scored),
            bias=(sum(true) - sum(expected)) / len(scored) if scored else None,
            spearman=rank_correlation(expected, true),
            offsets=conformal_offsets(expected, true),
        )


class HeldOutCalibration(_Record):
    """How a model's confidence was calibrated, and on what it rests.

    Args:
        temperature: scales its probabilities, see :mod:`maskmatch_med.inference.temperature`.
        scans: how many held-out scans it was fitted to.
        scans_without_label: how many of them took part in the training without their label.
        confidence: calibration errors before and after.
        dice: expected against true Dice.
        scales: at which it was predicted.
        mirror: whether mirror images were averaged.
        overlap: of windows; None for the default of each scale.
        weights_sha256: of the weights that it belongs to.
        made: when, UTC in ISO 8601.
    """

    temperature: float = Field(gt=0)
    scans: int = Field(ge=1)
    scans_without_label: int = Field(default=0, ge=0)
    confidence: ConfidenceErrors
    dice: DiceAgreement
    scales: tuple[float, ...]
    mirror: bool
    overlap: float | None
    weights_sha256: str
    made: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @classmethod
    def load(cls, folder: Path) -> HeldOutCalibration | None:
        """Read that of a model's folder; None where there is none.

        Raises:
            StudyError: the file is damaged.
        """
        path = folder / CALIBRATION_FILE
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise StudyError(
                f"cannot read {path}, which says how the model's confidence was calibrated: {error}; run "
                "`maskmatch calibrate` again, or delete it"
            ) from error

    def save(self, folder: Path, scans: Sequence[HeldOutDice]) -> None:
        """Write it to a model's folder, and what is known of each scan to a table beside it."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["case", "dice_expected", "dice"])
        writer.writerows([one.case, f"{one.expected:.4f}", f"{one.true:.4f}"] for one in scans)
        write_text(folder / SCANS_FILE, stream.getvalue())
        write_text(folder / CALIBRATION_FILE, self.model_dump_json(indent=2) + "\n")
