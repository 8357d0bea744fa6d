"""The verbs: what the command line, the app and a script can ask for. Each does one thing to a study or a model."""

from typing import TYPE_CHECKING

from maskmatch_med.lazy import lazy_names

if TYPE_CHECKING:
    from maskmatch_med.datasets import DATASETS, find_dataset
    from maskmatch_med.datasets.decathlon import CITATION, LICENCE, LICENCE_ADDRESS
    from maskmatch_med.editing import GrowOptions
    from maskmatch_med.evaluation import EvaluateOptions
    from maskmatch_med.planning import describe as describe_plan
    from maskmatch_med.service.apply import PredictRequest, names_in_splits, predict
    from maskmatch_med.service.browsing import (
        Round,
        ScanEntry,
        StudyPage,
        browse,
        label_history,
        make_demo_study,
        may_write,
        studies_in,
        study_stamp,
    )
    from maskmatch_med.service.calibration import calibrate, held_out_names, measure_confidence
    from maskmatch_med.service.check import check_study
    from maskmatch_med.service.display import thumbnail_of
    from maskmatch_med.service.editing import grow_strokes, interpolate_slices
    from maskmatch_med.service.exports import (
        Download,
        ExportOrder,
        download_path,
        export_study,
        exportable,
        prepare_download,
    )
    from maskmatch_med.service.foreign_masks import MaskIntake, take_in_masks
    from maskmatch_med.service.guidance import NextStep, next_step
    from maskmatch_med.service.history import Event, scan_history
    from maskmatch_med.service.inspect import doctor, info
    from maskmatch_med.service.intake import READING, Intake, Refusal, remove_scan, removed_scans, restore_scan, take_in
    from maskmatch_med.service.jobs import (
        JobState,
        TrainingOrder,
        job_log,
        job_log_path,
        job_state,
        job_states,
        pause_job,
        queue_prediction,
        queue_training,
        resume_job,
        stop_job,
        training_curve,
        unlabelled_names,
    )
    from maskmatch_med.service.label import (
        accept_prediction,
        complete_scan,
        complete_slice,
        define_labels,
        label_definitions,
        open_draft,
        predicted_labels,
        restore_version,
        save_label,
        save_strokes,
        start_from_prediction,
    )
    from maskmatch_med.service.learn import TrainRequest, open_study, plan_study, train
    from maskmatch_med.service.outlook import PresetOffer, TrainingOutlook, training_outlook
    from maskmatch_med.service.overlays import display_difference, display_uncertainty
    from maskmatch_med.service.pages import is_study
    from maskmatch_med.service.public_data import GetRequest, Got, get_dataset
    from maskmatch_med.service.rank import next_to_label, rank_scans
    from maskmatch_med.service.reporting import ReportRequest, report
    from maskmatch_med.service.results import (
        Difference,
        ModelScores,
        ReportFile,
        common_cases,
        differences,
        metrics_table,
        predicting_models,
        report_path,
        reports_of,
        score_models,
        scores_pending,
    )
    from maskmatch_med.service.review import (
        ReviewItem,
        accept_reviewed,
        begin_correction,
        reject_prediction,
        review_queue,
        withdraw_acceptance,
    )
    from maskmatch_med.service.scoring import evaluate
    from maskmatch_med.service.strokes import (
        ClassesNow,
        DraftState,
        PackedDraft,
        Saved,
        classes_now,
        draft_revision,
        packed_draft,
        save_box,
        save_box_over,
        save_idle_labels,
        scan_shape,
    )
    from maskmatch_med.service.teacher_view import Microscope, microscope, microscope_picture
    from maskmatch_med.service.viewing import (
        ScanView,
        describe_scan,
        display_colour,
        display_label,
        display_prediction,
        display_scan,
    )
    from maskmatch_med.service.volumetry import ScanVolume, volumes, volumes_table
    from maskmatch_med.study import (
        Box,
        ImportOptions,
        LabelDefinition,
        Painter,
        frame_numbers,
        import_scans,
        refuse_other_classes,
        repair_study,
    )
    from maskmatch_med.training import Snapshot
    from maskmatch_med.training.card import FEW_ITERATIONS, was_too_short

__all__ = [
    "CITATION",
    "DATASETS",
    "FEW_ITERATIONS",
    "LICENCE",
    "LICENCE_ADDRESS",
    "READING",
    "Box",
    "ClassesNow",
    "Difference",
    "Download",
    "DraftState",
    "EvaluateOptions",
    "Event",
    "ExportOrder",
    "GetRequest",
    "Got",
    "GrowOptions",
    "ImportOptions",
    "Intake",
    "JobState",
    "LabelDefinition",
    "MaskIntake",
    "Microscope",
    "ModelScores",
    "NextStep",
    "PackedDraft",
    "Painter",
    "PredictRequest",
    "PresetOffer",
    "Refusal",
    "ReportFile",
    "ReportRequest",
    "ReviewItem",
    "Round",
    "Saved",
    "ScanEntry",
    "ScanView",
    "ScanVolume",
    "Snapshot",
    "StudyPage",
    "TrainRequest",
    "TrainingOrder",
    "TrainingOutlook",
    "accept_prediction",
    "accept_reviewed",
    "begin_correction",
    "browse",
    "calibrate",
    "check_study",
    "classes_now",
    "common_cases",
    "complete_scan",
    "complete_slice",
    "define_labels",
    "describe_plan",
    "describe_scan",
    "differences",
    "display_colour",
    "display_difference",
    "display_label",
    "display_prediction",
    "display_scan",
    "display_uncertainty",
    "doctor",
    "download_path",
    "draft_revision",
    "evaluate",
    "export_study",
    "exportable",
    "find_dataset",
    "frame_numbers",
    "get_dataset",
    "grow_strokes",
    "held_out_names",
    "import_scans",
    "info",
    "interpolate_slices",
    "is_study",
    "job_log",
    "job_log_path",
    "job_state",
    "job_states",
    "label_definitions",
    "label_history",
    "make_demo_study",
    "may_write",
    "measure_confidence",
    "metrics_table",
    "microscope",
    "microscope_picture",
    "names_in_splits",
    "next_step",
    "next_to_label",
    "open_draft",
    "open_study",
    "packed_draft",
    "pause_job",
    "plan_study",
    "predict",
    "predicted_labels",
    "predicting_models",
    "prepare_download",
    "queue_prediction",
    "queue_training",
    "rank_scans",
    "refuse_other_classes",
    "reject_prediction",
    "remove_scan",
    "removed_scans",
    "repair_study",
    "report",
    "report_path",
    "reports_of",
    "restore_scan",
    "restore_version",
    "resume_job",
    "review_queue",
    "save_box",
    "save_box_over",
    "save_idle_labels",
    "save_label",
    "save_strokes",
    "scan_history",
    "scan_shape",
    "score_models",
    "scores_pending",
    "start_from_prediction",
    "stop_job",
    "studies_in",
    "study_stamp",
    "take_in",
    "take_in_masks",
    "thumbnail_of",
    "train",
    "training_curve",
    "training_outlook",
    "unlabelled_names",
    "volumes",
    "volumes_table",
    "was_too_short",
    "withdraw_acceptance",
]

__getattr__ = lazy_names(__name__, __file__)
