"""Numbers, figures and reports."""

from typing import TYPE_CHECKING

from maskmatch_med.lazy import lazy_names

if TYPE_CHECKING:
    from maskmatch_med.evaluation.pictures import CasePicture
    from maskmatch_med.evaluation.report import Headline, NextStep, ReportData, worst_median_best, write_report
    from maskmatch_med.evaluation.results import ClassSummary, Evaluation, MetricSummary
    from maskmatch_med.evaluation.score import EvaluateOptions, PaperScore, Row, score_case
    from maskmatch_med.evaluation.scoring import evaluate

__all__ = [
    "CasePicture",
    "ClassSummary",
    "EvaluateOptions",
    "Evaluation",
    "Headline",
    "MetricSummary",
    "NextStep",
    "PaperScore",
    "ReportData",
    "Row",
    "evaluate",
    "score_case",
    "worst_median_best",
    "write_report",
]

__getattr__ = lazy_names(__name__, __file__)
