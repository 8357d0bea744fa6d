"""What a benchmark compares: data, label counts, recipes and seeds, as a file that its folder keeps."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from maskmatch_med.config import Preset, TrainConfig, first_fault
from maskmatch_med.errors import InputError
from maskmatch_med.evaluation.score import EvaluateOptions
from maskmatch_med.inference.options import PredictOptions
from maskmatch_med.io.atomic import write_text
from maskmatch_med.methods import parse_recipe
from maskmatch_med.study.options import Splits

FILE, LOCK = "bench.json", "lock"
Mode = Literal["iterations", "minutes"]
_DECIDED = {
    "method": "--recipes or --variant",
    "preset": "--preset",
    "seed": "--seeds",
    "device": "--devices",
    "minutes": "--minutes",
    "iterations": "--iterations",
}
"""Settings of a training that the benchmark gives it, and by which option."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Variant(_Record):
    """A recipe with settings of its own.

    Args:
        name: what tables call it; letters, digits and ``+-._`` only.
        method: the recipe.
        settings: what differs from the defaults, keys may be dotted.
    """

    name: str
    method: str
    settings: dict[str, str] = {}

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Read ``fixmatch+masked``, or ``narrow=maskmatch;pseudo_labels.scales=[0.9,1,1.1]`` with a name of its own.

        Raises:
            InputError: the recipe is unknown, or a setting has no value.
        """
        head, *rest = text.split(";")
        name, _, method = head.rpartition("=")
        pairs = [word.partition("=") for word in rest]
        if bad := [key for key, equals, _ in pairs if not equals or not key.strip()]:
            raise InputError(f"{text!r}: a recipe's settings are key=value after a semicolon, got {bad[0]!r}")
        parse_recipe(method)
        settings = {key.strip(): value.strip() for key, _, value in pairs}
        TrainConfig().override(settings)
        name = name or method
        if not re.fullmatch(r"[A-Za-z0-9+._-]+", name) or (settings and name == method):
            raise InputError(
                f"{text!r} needs a name for its table row, of letters, digits and +-._ as in name=method;key=value"
            )
        return cls(name=name, method=method, settings=settings)


class LabelBudget(_Record):
    """How much is labelled: the first scans of ``label_order``, whole or a few slices of each.

    Args:
        scans: how many.
        slices: painted slices of each that show a structure; all slices where not given.
        empty: slices of each that show none and are marked complete besides.
    """

    scans: int
    slices: int | None = None
    empty: int = 0

    @classmethod
    def parse(cls, text: str) -> LabelBudget:
        """Read ``5``, ``5x3`` for 3 slices in each of 5 scans, or ``5x3+2`` for 2 empty ones besides.

        Raises:
            InputError: it is neither.
        """
        found = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*)(?:\+([1-9]\d*))?)?", text.strip())
        if not found:
            raise InputError(
                "--labelled takes numbers of scans such as 5, 5x3 for 3 slices of each, or 5x3+2 for 2 empty slices "
                f"besides, got {text!r}"
            )
        return cls(scans=int(found[1]), slices=int(found[2]) if found[2] else None, empty=int(found[3] or 0))

    def __str__(self) -> str:
        if self.slices is None:
            return str(self.scans)
        return f"{self.scans}x{self.slices}" + (f"+{self.empty}" if self.empty else "")


@dataclass(frozen=True)
class Cell:
    """One training of a benchmark."""

    labelled: LabelBudget
    variant: Variant
    seed: int
    mode: Mode
    amount: float

    @property
    def key(self) -> str:
        """Its name among the cells, and that of its model."""
        return f"{self.labelled}_{self.variant.name}_s{self.seed}_{self.amount:g}{self.mode}"


class Design(_Record):
    """A whole benchmark.

    Args:
        data: an nnU-Net or MSD data set, a study, or a folder of scans with labels.
        splits: a ``splits.json`` with ``label_order`` and ``test``.
        labelled: label counts.
        variants: recipes.
        seeds: each trains anew.
        iterations: trainings of this many iterations each, or None.
        minutes: trainings of this wall time each, or None; both may be given, and are then two comparisons.
        preset: of plan and trainings.
        settings: of all trainings.
        plan: values of the plan to replace.
        unseen: score on the last so many of ``label_order`` instead of ``test``: to choose settings on.
        scales: that predictions average over; the preset's where not given.
        nsd_mm: tolerance of the surface Dice.
        shared_start: recipes that are alike until their unlabelled terms begin go on from one state of that moment.
        parts: fingerprint of what the splits list, which a folder keeps: a scan that was trained on must not become one
            to score on. Empty before the design is kept.
    """

    data: Path
    splits: Path
    labelled: tuple[LabelBudget, ...]
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    iterations: int | None = None
    minutes: float | None = None
    preset: Preset = "balanced"
    settings: dict[str, str] = {}
    plan: dict[str, str] = {}
    unseen: int = 0
    scales: tuple[float, ...] | None = None
    nsd_mm: float = 1.0
    shared_start: bool = False
    parts: str = ""

    @field_validator("data", "splits")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().resolve()

    def cells(self) -> Iterator[Cell]:
        """Every training, seed by seed, so that an unfinished benchmark compares all recipes on the first seeds."""
        budgets: list[tuple[Mode, float | None]] = [("iterations", self.iterations), ("minutes", self.minutes)]
        for seed in self.seeds:
            for labelled in self.labelled:
                for mode, amount in budgets:
                    if amount is not None:
                        yield from (Cell(labelled, variant, seed, mode, amount) for variant in self.variants)

    def check(self) -> None:
        """Refuse what cannot be run, before anything is.

        Raises:
            InputError: no budget, an impossible setting, scale or tolerance, a repeated name, or splits that cannot be
                read, list fewer scans, or others than when the folder was begun.
        """
        if self.iterations is None and self.minutes is None:
            raise InputError("a benchmark needs --iterations, --minutes, or both")
        if self.scales is not None:
            PredictOptions(scales=self.scales)
        EvaluateOptions(nsd_mm=self.nsd_mm)
        if self.shared_start and self.iterations is None:
            raise InputError("--shared-start needs --iterations: what recipes have in common is counted in iterations")
        for what, given in (("recipe", [v.name for v in self.variants]), ("seed", self.seeds)):
            if not given or len(set(given)) != len(given):
                raise InputError(f"each {what} is compared once, and at least one is needed, got {list(given)}")
        for settings in (self.settings, *(variant.settings for variant in self.variants)):
            if decided := sorted(set(settings) & set(_DECIDED)):
                raise InputError(f"--set {decided[0]} is what a benchmark decides itself; use {_DECIDED[decided[0]]}")
        order = self._listed().label_order
        most = max((budget.scans for budget in self.labelled), default=0)
        if not 0 < most + self.unseen <= len(order):
            raise InputError(
                f"{self.splits} lists {len(order)} scans in label_order; {most} labelled and {self.unseen} unseen ones "
                "were asked for"
            )
        for cell in self.cells():
            self.config_of(cell, "cpu")

    def config_of(self, cell: Cell, device: str) -> TrainConfig:
        """The settings of one training; all its labelled scans train, for others are there to score on."""
        method, seed = cell.variant.method, cell.seed
        base = TrainConfig(method=method, preset=self.preset, seed=seed, device=device, validation_share=0.0)
        amount = int(cell.amount) if cell.mode == "iterations" else cell.amount
        return base.override({**self.settings, **cell.variant.settings, cell.mode: amount})

    def scored_cases(self) -> list[str]:
        """Names of the scans to score on: ``test``, or the unseen last ones of ``label_order``."""
        splits = self._listed()
        return list(splits.label_order[-self.unseen :] if self.unseen else splits.test)

    def _listed(self) -> Splits:
        splits = Splits.load(self.splits)
        if self.parts not in ("", _fingerprint(splits)):
            raise InputError(
                f"{self.splits} lists other scans than when this benchmark was begun; give the file as it was, or "
                "another folder"
            )
        return splits

    def keep_in(self, root: Path) -> Design:
        """Write the design to the benchmark's folder, or add what is new to the one there.

        Returns:
            The design with all recipes, seeds and label counts that the folder compares.

        Raises:
            InputError: the folder compares on other data or under other settings, or holds files of others.
        """
        self.check()
        path = root / FILE
        parts = _fingerprint(self._listed())
        whole = self.model_copy(update={"parts": parts})
        if path.exists():
            kept = Design.load(root)
            growing = ("labelled", "variants", "seeds", "iterations", "minutes")
            fixed = set(Design.model_fields) - {*growing, "parts"}
            if different := [name for name in sorted(fixed) if getattr(kept, name) != getattr(self, name)]:
                told = ", ".join(f"{name} {_short(kept, name)}, not {_short(self, name)}" for name in different)
                raise InputError(f"{root} compares with {told}; give the same, or another folder")
            whole = kept.model_copy(update={name: _union(kept, self, name) for name in growing})
            whole.check()
            whole = whole.model_copy(update={"parts": parts})
        elif others := _files_of_others(root):
            raise InputError(f"{root} is no benchmark and holds other files, such as {others[0]}; give another folder")
        root.mkdir(parents=True, exist_ok=True)
        write_text(path, whole.model_dump_json(indent=2) + "\n")
        return whole

    @classmethod
    def load(cls, root: Path) -> Design:
        """Read the design of a benchmark's folder.

        Raises:
            InputError: there is none, or it is damaged.
        """
        path = root / FILE
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise InputError(f"cannot use {path}: {first_fault(error)}") from error
        except OSError as error:
            raise InputError(f"{root} is no benchmark: {error.strerror} {path}") from error


def _short(design: Design, name: str) -> str:
    return json.dumps(design.model_dump(mode="json")[name])


def _files_of_others(root: Path) -> list[str]:
    names = [entry.name for entry in root.iterdir()] if root.is_dir() else []
    return sorted(name for name in names if name != LOCK and not name.startswith("."))


def _fingerprint(splits: Splits) -> str:
    return hashlib.sha256(json.dumps([splits.label_order, splits.test]).encode()).hexdigest()[:16]


def _union(kept: Design, given: Design, name: str) -> object:
    old, new = getattr(kept, name), getattr(given, name)
    if not isinstance(old, tuple):
        if None not in (old, new) and old != new:
            raise InputError(f"the benchmark trains for {old:g} {name}, {new:g} were asked for; use another folder")
        return new if old is None else old
    return (*old, *(value for value in new if value not in old))
