"""A round of `rank` in a process of its own: choose the next scans, label them, train, score.

``python -m benchmarks.rank_rounds OUT KEY PID CREATED`` is what ``rank.py`` starts. Each strategy and seed has a
study, which grows from round to round as somebody's would; the true labels come from a study that holds them all. A
training on the same scans with the same seed is done once, whichever strategy asks for it first, as all do in the first
round.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmarks.scored import READY, read_json, scored_study, write_json
from maskmatch_med import service
from maskmatch_med.bench.cell import score_rows
from maskmatch_med.config import TrainConfig, first_fault
from maskmatch_med.errors import InputError, MaskMatchError, StoppedError
from maskmatch_med.io.atomic import copy_file, write_text
from maskmatch_med.jobs.processes import Identity
from maskmatch_med.nets import ModelFolder
from maskmatch_med.ranking import STRATEGIES
from maskmatch_med.study import FolderLock, Splits, Study

FILE = "rank.json"
GROWING = ("strategies", "seeds", "counts")
"""What may be added to in a folder; the rest stays as it was begun."""
UNFINISHED = 3
"""Exit code of a round that was asked to stop."""
_PREDICTS = {"foreground-random": False, "uncertainty": True, "mix": True}
"""Strategies that go by what a model predicts, and whether by its uncertainty."""
_PATIENCE_S = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Round:
    """One training of a strategy."""

    strategy: str
    seed: int
    count: int
    before: int | None
    """The label count of the round before; None in the first."""

    @property
    def key(self) -> str:
        """Its name among the rounds."""
        return f"{self.strategy}_s{self.seed}_{self.count}"


class Simulation(BaseModel):
    """What is simulated.

    Args:
        data: a data set of which every scan has a label.
        splits: its ``splits.json``.
        counts: labelled scans of each round, rising.
        strategies: in which order scans are labelled, see :mod:`maskmatch_med.ranking.strategies`.
        seeds: of chance and training.
        iterations: of each training.
        scans: score on the first so many of ``test``; on all where None.
        preset: of plan and trainings.
        settings: of all trainings.
        plan: values of the plan to replace.
        device: where to train.
        nsd_mm: tolerance of the surface Dice.
        scales: that predictions average over; those of the preset where None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path
    splits: Path
    counts: tuple[int, ...]
    strategies: tuple[str, ...]
    seeds: tuple[int, ...]
    iterations: int
    scans: int | None = None
    preset: Literal["quick", "balanced", "best"] = "balanced"
    settings: dict[str, str] = {}
    plan: dict[str, str] = {}
    device: str = "auto"
    nsd_mm: float = 1.0
    scales: tuple[float, ...] | None = None

    def rounds(self) -> Iterator[Round]:
        """Every round, seed by seed and count by count, so that an unfinished simulation compares all strategies."""
        for seed in self.seeds:
            for before, count in zip((None, *self.counts), self.counts, strict=False):
                yield from (Round(strategy, seed, count, before) for strategy in self.strategies)

    def check(self) -> None:
        """Refuse what cannot be run, before anything is.

        Raises:
            InputError: counts that do not rise or are more than there are, an unknown strategy or setting.
        """
        if unknown := [name for name in self.strategies if name not in STRATEGIES]:
            raise InputError(f"there is no strategy {unknown[0]!r}; choose among {', '.join(STRATEGIES)}")
        there = len(Splits.load(self.splits).label_order)
        if list(self.counts) != sorted(set(self.counts)) or not 0 < self.counts[0] <= self.counts[-1] <= there:
            raise InputError(f"--counts must rise from 1 to at most {there}, got {list(self.counts)}")
        self.config(self.seeds[0])

    def keep(self, root: Path) -> Simulation:
        """Write it to its folder with what that holds already; rounds of both are then run.

        Raises:
            InputError: the folder simulates something else, or nothing that can be run.
        """
        whole = self
        if (root / FILE).exists():
            known = Simulation.load(root)
            fixed = [name for name in type(self).model_fields if name not in GROWING]
            if different := [name for name in fixed if getattr(known, name) != getattr(self, name)]:
                raise InputError(f"{root} has another {', '.join(different)}; give the same, or another folder")
            if known.counts != self.counts[: len(known.counts)]:
                raise InputError(f"{root} labels {list(known.counts)}; only larger counts can be added")
            both = {name: (*getattr(known, name), *getattr(self, name)) for name in GROWING}
            whole = self.model_copy(update={name: tuple(dict.fromkeys(values)) for name, values in both.items()})
        whole.check()
        write_text(root / FILE, whole.model_dump_json(indent=2) + "\n")
        return whole

    @classmethod
    def load(cls, root: Path) -> Simulation:
        """Read the simulation of a folder.

        Raises:
            InputError: there is none, or it is damaged.
        """
        try:
            return cls.model_validate_json((root / FILE).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{root} is no simulation: {error.strerror} {FILE}") from error
        except ValidationError as error:
            raise InputError(f"cannot use {root / FILE}: {first_fault(error)}") from error

    def config(self, seed: int) -> TrainConfig:
        """The settings of a training; all its labelled scans train, as in `maskmatch bench`."""
        config = TrainConfig(
            method="supervised", preset=self.preset, seed=seed, device=self.device, validation_share=0.0
        )
        return config.override({**self.settings, "iterations": self.iterations})


def result_path(root: Path, this: Round) -> Path:
    """Where a round tells what it found."""
    return root / "rounds" / this.key / "result.json"


def run_round(root: Path, what: Simulation, this: Round, stop_requested: Callable[[], bool]) -> bool:
    """Run one round; whether it is finished now (False: stopped on request).

    ``result.json`` appears last and whole: the scans that were labelled, the model, and one row a scan and structure.

    Raises:
        MaskMatchError: what ranking, training, predicting or scoring raise.
    """
    result = result_path(root, this)
    with FolderLock(root / "round.lock", f"the simulation's {this.key}").held(timeout_s=_PATIENCE_S, waiting=print):
        if read_json(result) is not None:
            return True
        study = _study(root, what, this)
        if this.before is not None:
            _label_next(root, what, this, study)
        labelled = [case.name for case in study.labelled_cases()]
        told = _same_training(root, what, this, labelled)
        if told is None:
            request = service.TrainRequest(name=f"c{this.count}", resume=True, stop_requested=stop_requested)
            try:
                model = service.train(study, what.config(this.seed), request)
            except StoppedError:
                return False
            if not model.metrics().get("finished"):
                return False
            told = _scored(root, what, this, model)
        write_json(result, {**told, "labelled": labelled})
    return True


def _study(root: Path, what: Simulation, this: Round) -> Study:
    """The study of a strategy and seed, made with the first labels and the plan that all rounds of all studies obey."""
    path, plan = root / "studies" / f"{this.strategy}_s{this.seed}", root / "plan.json"
    if not (path / READY).exists():
        options = service.ImportOptions(splits=what.splits, labelled=what.counts[0], link=True)
        service.import_scans(what.data, path, options)
        if not plan.exists():
            copy_file(service.plan_study(path, what.preset, what.device, what.plan)[1], plan)
        copy_file(plan, path / "plan.json")
        (path / READY).touch()
    return Study.open(path)


def _true_labels(root: Path, what: Simulation) -> Study:
    """A study that holds the label of every scan that can be asked for."""
    path = root / "truth"
    if not (path / READY).exists():
        service.import_scans(what.data, path, service.ImportOptions(splits=what.splits, link=True))
        (path / READY).touch()
    return Study.open(path)


def _label_next(root: Path, what: Simulation, this: Round, study: Study) -> None:
    """Label the scans that come first; which ones is written down before, so that a killed round labels no others."""
    path = result_path(root, this).with_name("chosen.json")
    chosen = (read_json(path) or {}).get("chosen")
    if chosen is None:
        if this.strategy in _PREDICTS:
            _predict_pool(root, what, this, study)
        order = service.rank_scans(study, this.strategy, seed=this.seed)  # type: ignore[arg-type]
        ranked = order[: this.count - (this.before or 0)]
        chosen = [one.name for one in ranked]
        write_json(path, {"chosen": chosen, "reasons": [one.reason for one in ranked]})
    truth = _true_labels(root, what)
    for name in chosen:
        label = truth.case(name).read_label()
        if label is None:
            raise InputError(f"{what.data} has no label of {name}; the simulation needs one for each of label_order")
        if study.case(name).label is None:
            study.add_label(name, label.array, source="import")


def _predict_pool(root: Path, what: Simulation, this: Round, study: Study) -> None:
    """Segment the unlabelled scans with the model of the round before, once for all strategies that share the model."""
    before = Round(this.strategy, this.seed, this.before or 0, None)
    told = read_json(result_path(root, before))
    if told is None:
        raise InputError(f"the round {before.key} before {this.key} is not finished")
    model = ModelFolder(root / told["model"])
    made, own = model.root.parents[1] / "predictions" / model.root.name, study.predictions_dir / f"c{this.before}"
    pool = [case.name for case in study.cases() if case.label is None]
    unsure = _PREDICTS[this.strategy]
    endings = (".nii.gz", "_uncertainty.nii.gz")[: 1 + unsure]
    missing = [name for name in pool if not all((made / f"{name}{ending}").exists() for ending in endings)]
    if missing:
        request = service.PredictRequest(only=missing, uncertainty=unsure, device=what.device, scales=what.scales)
        service.predict(model, study.root / "imagesTr", made, request)
    if made != own:
        for name in (f"{name}{ending}" for name in pool for ending in endings):
            copy_file(made / name, own / name)


def _same_training(root: Path, what: Simulation, this: Round, labelled: list[str]) -> dict[str, Any] | None:
    """What a finished round on the same scans with the same seed found, if there is one."""
    alike = [one for one in what.rounds() if (one.seed, one.count) == (this.seed, this.count) and one != this]
    found = [(one.key, read_json(result_path(root, one))) for one in alike]
    same = [(key, told) for key, told in found if told is not None and told["labelled"] == labelled]
    return {**same[0][1], "same_as": same[0][0]} if same else None


def _scored(root: Path, what: Simulation, this: Round, model: ModelFolder) -> dict[str, Any]:
    scored, out = scored_study(root / "scored", what.data, what.splits, what.scans), result_path(root, this).parent
    request = service.PredictRequest(device=what.device, scales=what.scales)
    service.predict(model, scored.root / "imagesTr", out / "predictions", request)
    options = service.EvaluateOptions(nsd_mm=what.nsd_mm)
    scores = service.evaluate(out / "predictions", scored.root / "labelsTr", options)
    told = {name: model.metrics()[name] for name in ("iterations", "seconds", "device")}
    return {**told, "model": model.root.relative_to(root).as_posix(), "rows": score_rows(scores)}


def main(words: list[str]) -> int:
    """Run the round that the words name; the exit code is 0 when it is finished."""
    root, key, parent = Path(words[0]), words[1], Identity(int(words[2]), float(words[3]))
    try:
        what = Simulation.load(root)
        this = next((one for one in what.rounds() if one.key == key), None)
        if this is None:
            raise InputError(f"{root} has no round {key!r}")
        return 0 if run_round(root, what, this, lambda: not parent.alive()) else UNFINISHED
    except MaskMatchError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
