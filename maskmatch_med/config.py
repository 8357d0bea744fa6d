"""What a training run is told: one pydantic model, TOML in, JSON out, unknown keys refused."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from maskmatch_med.errors import InputError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Preset = Literal["quick", "balanced", "best"]
_LABELS_ALONE: dict[Preset, float] = {"quick": 0.85, "balanced": 0.7, "best": 0.35}


class OptimiserConfig(_Section):
    """AdamW with a linear warm-up and a cosine fall to zero over the run's progress, or two of them."""

    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=3e-2, ge=0)
    warm_up: float = Field(default=0.02, ge=0, lt=1)
    """Share of the run in which the learning rate rises linearly."""
    restart: float = Field(default=0.0, ge=0, le=1)
    """Share of the learning rate with which a second warm-up and fall begin with the unlabelled terms; 0: one fall."""
    gradient_clip: float = Field(default=12.0, gt=0)
    """Largest L2 norm of the whole gradient."""


class SpatialConfig(_Section):
    """The weak view: one affine draw a sample, shared by image, label and every scale of the teacher."""

    rotation_degrees: float = Field(default=20.0, ge=0, le=180)
    rotation_probability: float = Field(default=0.3, ge=0, le=1)
    zoom: tuple[float, float] = (0.75, 1.35)
    zoom_probability: float = Field(default=0.3, ge=0, le=1)

    @model_validator(mode="after")
    def _zoom_range(self) -> SpatialConfig:
        if not 0 < self.zoom[0] <= self.zoom[1]:
            raise ValueError(f"zoom must be two positive factors, the smaller first, got {self.zoom}")
        return self


class MaskingConfig(_Section):
    """The masked view: an isotropic grid of patches in millimetres, a share of which is hidden."""

    ratio: float = Field(default=0.7, gt=0, lt=1)
    patch_mm: float | None = Field(default=None, gt=0)
    """Edge of a mask patch; by default an eighth (3D) or a sixteenth (2D) of the training patch's shortest edge, but no
    more than a quarter of the diameter of a structure's piece."""
    fill: Literal["noise", "mean", "zero"] = "noise"
    """What hidden voxels hold: Gaussian noise of each channel's mean and standard deviation over the view, that mean,
    or 0 as in the authors' code."""
    held_to: Literal["all", "visible"] = "all"
    """Where the masked view is held to the targets: everywhere, as its authors' code does, or where it is visible."""
    exact_count: bool = True
    """Hide exactly ``round(ratio * patches)`` patches instead of one Bernoulli draw each."""


class PseudoLabelConfig(_Section):
    """How the teacher's predictions on unlabelled scans become targets."""

    threshold: float = Field(default=0.95, ge=0, le=1)
    scales: tuple[float, ...] = (0.8, 0.9, 1.0)
    """At which the teacher looks. The authors' code has 0.7, 1 and 1.5; finer ones than 1 see less of what surrounds a
    structure, and find it worse (docs/results.md)."""
    scale_mode: Literal["resize", "window"] = "resize"
    """``resize``: the same patch is resized, as the reference code does. ``window``: a window of the training size is
    cut at each scale, so 0.7 sees more context and 1.5 more detail; it taught less (docs/results.md) and costs more."""
    mirror_scales: bool = True
    """Whether each scale but 1 is asked about a mirror image, another axis for each, where the plan mirrors at all.
    Where the gate keeps such a scale out, its mirror image at scale 1 takes its place."""
    target: Literal["label", "probabilities"] = "label"
    """What the student is held to: the likeliest class, or the averaged probabilities themselves."""
    gate: bool = True
    """A scale enters the ensemble only while the teacher's Dice on labelled patches is hardly lower for it."""
    gate_margin: float = Field(default=0.015, ge=0, le=1)
    """How much lower: the teacher knows labelled patches by heart, at scale 1 best."""
    gate_by: Literal["paired", "alone"] = "paired"
    """Whose Dice must be at least that of scale 1: the scale's mean with scale 1, or the scale's own."""
    weigh_by: Literal["equal", "dice", "entropy"] = "equal"
    """How scales that speak are weighed: alike, by their Dice on labelled patches, or by certainty at each voxel."""
    scales_start: float = Field(default=0.0, ge=0, lt=1)
    """Share of the run before which scale 1 speaks alone; never before the unlabelled terms begin."""
    train_scales: bool = False
    """Whether labelled patches are cut at the ensemble's scales too, one scale a step."""
    measure_every: int = Field(default=20, ge=1)
    """Iterations between two measurements of the teacher's Dice at each scale."""

    @model_validator(mode="after")
    def _scale_one(self) -> PseudoLabelConfig:
        if 1.0 not in self.scales or min(self.scales) <= 0:
            raise ValueError(f"scales must be positive and contain 1, got {self.scales}")
        if self.scales_start and not self.gate:
            raise ValueError("scales_start needs gate = true: without the gate all scales speak from the beginning")
        return self


class UnlabelledConfig(_Section):
    """Weights and timing of the terms on unlabelled scans."""

    strong_weight: float = Field(default=1.0, ge=0)
    masked_weight: float = Field(default=0.1, ge=0)
    """The authors' code has 1; docs/results.md tells what that costs in short trainings."""
    mean_teacher_weight: float = Field(default=10.0, ge=0)
    """Of mean-teacher's and ua-mt's squared distance."""
    feature_weight: float = Field(default=1.0, ge=0)
    cross_weight: float = Field(default=1.0, ge=0)
    paste_weight: float = Field(default=1.0, ge=0)
    masked_labelled_weight: float = Field(default=1.0, ge=0)
    start: float | None = Field(default=None, ge=0, lt=1)
    """Share of the run that trains on labels alone: such steps cost a third, and a poor teacher teaches its errors. By
    default the preset's, see :attr:`TrainConfig.labels_alone`."""
    ramp: float = Field(default=0.1, ge=0, le=1)
    """Share of the run, after ``start``, over which the terms rise to their weight along a sigmoid."""
    cutmix_probability: float = Field(default=0.5, ge=0, le=1)
    uncertainty_passes: int = Field(default=8, ge=2)
    """How often ua-mt asks the teacher about noisy copies."""
    feature_dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of the encoder's channels that unimatch silences."""
    paste_edge: float = Field(default=2 / 3, gt=0, lt=1)
    """Edge of the box that bcp and +copy-paste paste, as a share of the patch's edge."""
    paste_pseudo_weight: float = Field(default=0.5, ge=0)
    """Weight of bcp's pseudo-labelled region against its labelled one."""
    entropy_beta: tuple[float, float] = (5.0, 0.5)
    """How fast +entropy-weighting discounts uncertain voxels, at the beginning and at the end of the run."""
    one_term_a_step: bool = False
    """Draw one of the terms at each step and weigh it by their number: the same gradient on average, for less time, but
    each term has fewer steps to teach in."""
    normalise_by: Literal["valid", "confident", "class"] = "valid"
    """Whether the terms average over all valid voxels, over the confident ones, or over those of each class alike."""

    @model_validator(mode="after")
    def _positive_beta(self) -> UnlabelledConfig:
        if min(self.entropy_beta) <= 0:
            raise ValueError(f"entropy_beta must be two positive numbers, got {self.entropy_beta}")
        return self


class TrainConfig(_Section):
    """Everything that decides a training run besides the data and the plan."""

    method: str = "maskmatch"
    preset: Preset = "balanced"
    minutes: float | None = Field(default=None, gt=0)
    iterations: int | None = Field(default=None, gt=0)
    seed: int = Field(default=0, ge=0)
    device: str = "auto"
    precision: Literal["auto", "full", "bf16"] = "auto"
    """Of the networks while training: bf16 computes convolutions in bfloat16 and keeps weights and losses in single
    precision; auto does so where the device is faster for it."""
    start_from: str | None = None
    """A model folder whose plan and weights to begin with; kept for a resume before the first state."""
    labelled_batch: int | None = Field(default=None, ge=1)
    """Labelled patches a step; the plan's batch size by default."""
    unlabelled_batch: int | None = Field(default=None, ge=1)
    """Unlabelled patches a step; half the plan's batch size by default, at least 2 so that CutMix has a partner."""
    foreground_share: float = Field(default=0.5, ge=0, le=1)
    """Share of labelled patches that are centred on a voxel of a labelled structure."""
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    checkpoint_seconds: float = Field(default=10.0, gt=0)
    validation_share: float = Field(default=0.2, ge=0, le=0.5)
    """Share of the completely labelled scans to hold out for validation, of ten or more; 0 trains on all."""
    validation_rounds: int = Field(default=10, ge=1)
    """How many times a run scores its held-out labelled scans."""
    optimiser: OptimiserConfig = OptimiserConfig()
    spatial: SpatialConfig = SpatialConfig()
    masking: MaskingConfig = MaskingConfig()
    pseudo_labels: PseudoLabelConfig = PseudoLabelConfig()
    unlabelled: UnlabelledConfig = UnlabelledConfig()

    @model_validator(mode="after")
    def _one_budget(self) -> TrainConfig:
        if self.minutes is not None and self.iterations is not None:
            raise ValueError("give either minutes or iterations, not both")
        return self

    @property
    def labels_alone(self) -> float:
        """Share of the run that trains on labels alone: ``unlabelled.start``, or the preset's.

        A run of hours has learnt its labels long before 70 % of it, and more iterations on unlabelled scans bring
        more; one of minutes is still learning them then (docs/results.md).
        """
        return _LABELS_ALONE[self.preset] if self.unlabelled.start is None else self.unlabelled.start

    def save(self, path: Path) -> None:
        """Write the configuration as indented JSON."""
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> TrainConfig:
        """Read a configuration from TOML or JSON.

        Raises:
            InputError: the file cannot be read, or holds an unknown key or an impossible value.
        """
        try:
            text = path.read_text(encoding="utf-8")
            values = tomllib.loads(text) if path.suffix == ".toml" else None
            return cls.model_validate_json(text) if values is None else cls.model_validate(values)
        except ValidationError as error:
            raise InputError(f"cannot use the configuration {path}: {first_fault(error)}") from error
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read the configuration {path}: {error}") from error

    def override(self, values: Mapping[str, Any]) -> TrainConfig:
        """A copy with values replaced; keys may be dotted (``pseudo_labels.threshold``), strings are parsed.

        Raises:
            InputError: a key is unknown or a value is impossible.
        """
        tree = self.model_dump()
        for key, value in values.items():
            *path, last = key.split(".")
            node: Any = tree
            for part in path:
                node = node.get(part) if isinstance(node, dict) else None
            if not isinstance(node, dict) or last not in node:
                raise InputError(f"unknown setting {key!r}; the settings are those of {type(self).__name__}")
            node[last] = _parse(value)
        try:
            return type(self).model_validate(tree)
        except ValidationError as error:
            raise InputError(f"cannot use these settings: {first_fault(error)}") from error


def _parse(value: Any) -> Any:
    """Read a command-line value as TOML would, so that 3, 0.5, true and [1, 2] mean what they look like."""
    if not isinstance(value, str):
        return value
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def first_fault(error: ValidationError) -> str:
    """The first fault that pydantic found, as one clause: where, what, and what arrived."""
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"])
    got = fault.get("input")
    arrived = "" if fault["type"] == "value_error" and isinstance(got, dict) else f" (got {got!r})"
    return f"{where}: {fault['msg']}{arrived}" if where else str(fault["msg"])
