"""Check a study: everything that would spoil training or mislead who reads its results; and repair what can be."""

from maskmatch_med.study.checking.check import Look, check_study
from maskmatch_med.study.checking.finding import Finding
from maskmatch_med.study.checking.repair import repair_study

__all__ = ["Finding", "Look", "check_study", "repair_study"]
