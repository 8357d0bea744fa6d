"""The first try: a generated study from import to report, with nothing to bring along.

24 generated scans, 4 of them labelled, and 6 more to test on: ``supervised`` and ``maskmatch`` train for the same wall
time on the same labels, predict the test scans, and one HTML page shows the difference.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from maskmatch_med.config import TrainConfig
from maskmatch_med.errors import InputError
from maskmatch_med.evaluation import (
    CasePicture,
    EvaluateOptions,
    Evaluation,
    Headline,
    NextStep,
    ReportData,
    worst_median_best,
    write_report,
)
from maskmatch_med.evaluation.overview import look_at
from maskmatch_med.io import read_labels, read_volume
from maskmatch_med.nets import ModelFolder
from maskmatch_med.phantom import PhantomOptions, write_phantom
from maskmatch_med.progress import Progress
from maskmatch_med.service import (
    ImportOptions,
    PredictRequest,
    TrainRequest,
    evaluate,
    import_scans,
    names_in_splits,
    plan_study,
    predict,
    train,
)
from maskmatch_med.service.reported import cost
from maskmatch_med.study import Study
from maskmatch_med.training import Report, read_log

METHODS = ("supervised", "maskmatch")
SURFACE_TOLERANCE_MM = 4.0


@dataclass(frozen=True)
class Demo:
    """Where the demo lies and how it shows what it does.

    Args:
        root: a new or empty folder.
        minutes: wall time of each of the two trainings.
        show_progress: gives a context whose value is called with (done, total, name).
        show_training: gives a context whose value receives the events of a training.
        say: prints a line.
        phantom: what to generate.
    """

    root: Path
    minutes: float
    show_progress: Callable[[str], AbstractContextManager[Progress]]
    show_training: Callable[[], AbstractContextManager[Report]]
    say: Callable[[str], None]
    phantom: PhantomOptions = field(default_factory=PhantomOptions)


def run_demo(demo: Demo) -> dict[str, Evaluation]:
    """Generate, import, train twice, predict, evaluate, report.

    Returns:
        The test scores by method.

    Raises:
        InputError: the folder holds something.
    """
    if demo.root.exists() and (not demo.root.is_dir() or any(demo.root.iterdir())):
        raise InputError(f"{demo.root} exists and is not an empty folder; delete it or name another place for the demo")
    data, study, options = demo.root / "data", demo.root / "study", demo.phantom
    demo.say(f"Generating {options.scans} scans, {options.labelled} of them labelled, and {options.test} to test on")
    write_phantom(data, options)
    with demo.show_progress("Importing") as progress:
        import_scans(data, study, ImportOptions(splits=data / "splits.json", labelled=options.labelled), progress)
    # The liver lies on the right and the spleen on the left, so nothing is mirrored; patches are kept small for speed.
    plan_study(study, preset="quick", settings={"mirror_axes": [], "patch_vox": [32, 32, 32]})
    scores = {method: _train_and_score(demo, method) for method in METHODS}
    for method, score in scores.items():
        demo.say(f"{method:<12} test Dice {score.mean_dice:.3f}")
    report = demo.root / "report.html"
    write_report(report, _report(demo, scores))
    demo.say(f"Report: {report}")
    demo.say(f"Segmentations: {demo.root / 'predictions' / METHODS[-1]}")
    demo.say("Try next, with your own scans:")
    for step in _next_steps():
        demo.say(f"  {step.command:<64} {step.text}")
    return scores


def _train_and_score(demo: Demo, method: str) -> Evaluation:
    data, out = demo.root / "data", demo.root / "predictions" / method
    demo.say(f"Training {method} for {demo.minutes:g} minutes")
    began = time.monotonic()
    with demo.show_training() as report:
        config = TrainConfig(method=method, minutes=demo.minutes, preset="quick")
        model = train(demo.root / "study", config, TrainRequest(began=began, report=report))
    with demo.show_progress("Predicting") as progress:
        only = names_in_splits(data / "splits.json", "test")
        predict(model, data / "imagesTr", out, PredictRequest(uncertainty=True, only=only, progress=progress))
    options = EvaluateOptions(nsd_mm=SURFACE_TOLERANCE_MM)
    return evaluate(out, data, options, demo.root / "scores" / method)


def _report(demo: Demo, scores: dict[str, Evaluation]) -> ReportData:
    options = demo.phantom
    models = demo.root / "study" / "models"
    return ReportData(
        title="Few labels, all scans",
        subtitle="A generated study: supervised learning and MaskMatch on the same labels for the same time",
        facts=[
            ("Scans to learn from", f"{options.scans}, {options.labelled} of them labelled"),
            ("Scans to test on", str(options.test)),
            ("Training time", f"{demo.minutes:g} minutes each"),
            ("Surface tolerance", f"{SURFACE_TOLERANCE_MM:g} mm"),
        ],
        headlines=[
            Headline(method, f"{score.mean_dice:.3f}", f"mean Dice, {len(score.cases)} test scans")
            for method, score in scores.items()
        ],
        evaluations=scores,
        curves={method: read_log(models / method / "log.jsonl") for method in scores},
        pictures=[
            _picture(demo, name, case, scores)
            for name, case in worst_median_best(scores[METHODS[-1]].case_dice()).items()
        ],
        next_steps=_next_steps(),
        overview=look_at(Study.open(demo.root / "study")),
        costs=[cost(ModelFolder(models / method), demo.root / "predictions" / method) for method in scores],
        kicker="Report of the demo",
    )


def _picture(demo: Demo, name: str, case: str, scores: dict[str, Evaluation]) -> CasePicture:
    data, predictions = demo.root / "data", demo.root / "predictions"
    return CasePicture(
        title=f"{name.capitalize()} case: {case}",
        image=read_volume(data / "imagesTr" / f"{case}_0000.nii.gz"),
        reference=read_labels(data / "labelsTr" / f"{case}.nii.gz").array,
        predictions={method: read_labels(predictions / method / f"{case}.nii.gz").array for method in scores},
        notes={method: f"Dice {score.case_dice()[case]:.2f}" for method, score in scores.items()},
    )


def _next_steps() -> list[NextStep]:
    return [
        NextStep("make a study from a folder or data set", "maskmatch import SCANS mystudy"),
        NextStep("train on its labelled and unlabelled scans", "maskmatch train mystudy --minutes 60"),
        NextStep("segment the rest", "maskmatch predict mystudy/models/maskmatch SCANS -o out"),
        NextStep("measure it where you have references", "maskmatch evaluate out REFERENCES -o scores"),
    ]
