"""The verbs: what the command line, the app and a script can ask for. Each does one thing to a study or a model."""

from maskmatch_med.evaluation import EvaluateOptions
from maskmatch_med.planning import describe as describe_plan
from maskmatch_med.service.apply import PredictRequest, evaluate, names_in_splits, predict
from maskmatch_med.service.check import check_study
from maskmatch_med.service.inspect import doctor, info
from maskmatch_med.service.jobs import (
    JobState,
    TrainingOrder,
    TrainingOutlook,
    job_log,
    job_state,
    job_states,
    pause_job,
    queue_prediction,
    queue_training,
    resume_job,
    stop_job,
    training_curve,
    training_outlook,
    unlabelled_names,
)
from maskmatch_med.service.label import (
    accept_prediction,
    complete_scan,
    complete_slice,
    open_draft,
    predicted_labels,
    save_idle_labels,
    save_label,
    save_strokes,
    save_strokes_over,
    start_from_prediction,
)
from maskmatch_med.service.learn import TrainRequest, open_study, plan_study, train
from maskmatch_med.service.report import ReportRequest, report
from maskmatch_med.study import ImportOptions, export_study, import_scans, repair_study

__all__ = [
    "EvaluateOptions",
    "ImportOptions",
    "JobState",
    "PredictRequest",
    "ReportRequest",
    "TrainRequest",
    "TrainingOrder",
    "TrainingOutlook",
    "accept_prediction",
    "check_study",
    "complete_scan",
    "complete_slice",
    "describe_plan",
    "doctor",
    "evaluate",
    "export_study",
    "import_scans",
    "info",
    "job_log",
    "job_state",
    "job_states",
    "names_in_splits",
    "open_draft",
    "open_study",
    "pause_job",
    "plan_study",
    "predict",
    "predicted_labels",
    "queue_prediction",
    "queue_training",
    "repair_study",
    "report",
    "resume_job",
    "save_idle_labels",
    "save_label",
    "save_strokes",
    "save_strokes_over",
    "start_from_prediction",
    "stop_job",
    "train",
    "training_curve",
    "training_outlook",
    "unlabelled_names",
]
