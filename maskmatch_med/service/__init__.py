"""The verbs: what the command line, the app and a script can ask for. Each does one thing to a study or a model."""

from maskmatch_med.evaluation import EvaluateOptions
from maskmatch_med.planning import describe as describe_plan
from maskmatch_med.service.apply import PredictRequest, evaluate, names_in_splits, predict
from maskmatch_med.service.check import check_study
from maskmatch_med.service.inspect import doctor, info
from maskmatch_med.service.learn import TrainRequest, open_study, plan_study, train
from maskmatch_med.service.report import ReportRequest, report
from maskmatch_med.study import ImportOptions, export_study, import_scans, repair_study

__all__ = [
    "EvaluateOptions",
    "ImportOptions",
    "PredictRequest",
    "ReportRequest",
    "TrainRequest",
    "check_study",
    "describe_plan",
    "doctor",
    "evaluate",
    "export_study",
    "import_scans",
    "info",
    "names_in_splits",
    "open_study",
    "plan_study",
    "predict",
    "repair_study",
    "report",
    "train",
]
