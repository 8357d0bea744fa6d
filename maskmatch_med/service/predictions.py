"""Which predictions a study holds, which of a scan is the newest, and what was decided on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from maskmatch_med.errors import MaskMatchError
from maskmatch_med.study import Study
from maskmatch_med.study.verdicts import PREDICTION_ENDING, Verdict, verdict_on


@dataclass(frozen=True)
class Predictions:
    """The predictions of a study at one moment.

    Args:
        folder: where they lie.
        by_case: of each scan the models that have segmented it, the newest file first.
    """

    folder: Path
    by_case: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, study: Study) -> Predictions:
        """Look at the names and times of the files."""
        names = set(study.folder.names())
        found: dict[str, list[tuple[int, str]]] = {}
        for path in study.predictions_dir.glob(f"[!.]*/[!.]*{PREDICTION_ENDING}"):
            case = path.name.removesuffix(PREDICTION_ENDING)
            if case in names:
                found.setdefault(case, []).append((path.stat().st_mtime_ns, path.parent.name))
        order = {case: tuple(model for _, model in sorted(pairs, reverse=True)) for case, pairs in found.items()}
        return cls(study.predictions_dir, order)

    def newest(self, case: str) -> str | None:
        """The model whose prediction of a scan is the newest."""
        return next(iter(self.by_case.get(case, ())), None)

    def previous(self, case: str) -> str | None:
        """The model whose prediction came before the newest."""
        return next(iter(self.by_case.get(case, ())[1:]), None)

    def verdict(self, case: str) -> Verdict | None:
        """What was decided on the newest prediction of a scan; a damaged record counts as none."""
        newest = self.newest(case)
        try:
            return (newest and verdict_on(self.folder / newest / f"{case}{PREDICTION_ENDING}")) or None
        except MaskMatchError:
            return None

    def rejected(self, cases: Iterable[str]) -> set[str]:
        """Those of some scans whose newest prediction was rejected."""
        verdicts = {case: self.verdict(case) for case in cases}
        return {case for case, verdict in verdicts.items() if verdict and verdict.verdict == "rejected"}
