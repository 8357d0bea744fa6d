"""The loop: one step on the screen, everything else named."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from maskmatch_med.config import TrainConfig
from maskmatch_med.data.sampling import PatchSampler, Prefetcher
from maskmatch_med.errors import StoppedError, TrainingError
from maskmatch_med.methods import Batch, EMATeacher, Objective, StepLosses, warm_restart
from maskmatch_med.nets import lay_out_weights
from maskmatch_med.training.budget import Budget
from maskmatch_med.training.checkpoint import Checkpoint
from maskmatch_med.training.clock import StepClock
from maskmatch_med.training.log import Report, RunLog
from maskmatch_med.training.microscope import Microscope, Moment
from maskmatch_med.training.optimiser import build_optimiser, restore_optimiser
from maskmatch_med.training.validation import Validator

_LOG_SECONDS = 2.0
_LONGEST_CHECKPOINT_SECONDS = 60.0


@dataclass
class LoopParts:
    """What a loop works with.

    Args:
        student: the network, in full precision on the CPU.
        objective: the recipe's step.
        sampler: crops by step number.
        budget: when to end.
        state_path: where to keep the state to resume from.
        data: a hash of the scans and labels, kept with the state.
        validate: scores the teacher, or None where nothing is held out.
        microscope: looks at the teacher's pseudo-labels, or None where the recipe has none.
        stop_requested: asked before every step.
        report: receives progress.
        until: stop, as if asked to, when so many iterations are done.
    """

    student: nn.Module
    objective: Objective
    sampler: PatchSampler
    budget: Budget
    state_path: Path
    data: str
    validate: Validator | None
    microscope: Microscope | None
    stop_requested: Callable[[], bool]
    report: Report
    until: int | None = None


class TrainingLoop:
    """Trains until the budget is spent or a stop is asked for, keeping a state to resume from.

    Args:
        parts: what to work with.
        config: optimiser, teacher and timing.
        fabric: device and precision.
    """

    def __init__(self, parts: LoopParts, config: TrainConfig, fabric: Fabric) -> None:
        self.parts, self.config, self.fabric = parts, config, fabric
        lay_out_weights(parts.student, fabric.device)
        self.teacher = EMATeacher(parts.student, config.ema_decay)
        self._ask_teacher = fabric.setup_module(self.teacher.network)
        optimiser = build_optimiser(parts.student, config.optimiser, fabric.device)
        self.student, self.optimiser = fabric.setup(parts.student, optimiser)
        self.iteration, self.clock = 0, StepClock()
        self.first_elapsed = parts.budget.elapsed
        self.validations: list[dict[str, float]] = []
        self._saved_at = self._logged_at = time.monotonic()
        self._logged_iteration, self._save_cost = 0, 0.0
        self._rounds, self._rounds_done = config.validation_rounds, 0

    def run(self, log: RunLog) -> bool:
        """Train; returns whether the budget was used up (False: stopped on request)."""
        parts = self.parts
        finished = True
        if parts.validate is not None and parts.budget.seconds is not None:
            wanted = self.config.validation_rounds
            self._rounds, once = parts.validate.fit_into(self.teacher.network, parts.budget.seconds, wanted)
            parts.budget.reserve = 2.0 + 1.5 * once
        self._rounds_done = int(parts.budget.progress(self.iteration, self.first_elapsed) * self._rounds)
        if parts.microscope is not None:
            parts.microscope.begin(self._moment())
        losses: StepLosses | None = None
        with Prefetcher(parts.sampler, self.iteration, pinned=self.fabric.device.type == "cuda") as crops:
            while (progress := parts.budget.progress(self.iteration, self.first_elapsed)) < 1:
                if parts.stop_requested() or self.iteration == parts.until:
                    finished = False
                    break
                self.clock.start()
                batch = crops.next().to(self.fabric.device)
                self.clock.lap("data")
                losses = self._step(batch, progress)
                self.iteration += 1
                self._log(log, losses, progress)
                self._save_when_due()
                self._validate_when_due(log)
                self._look_when_due()
        if self.iteration == 0 and not finished:
            raise StoppedError("stopped before the first iteration; nothing was trained")
        if self.iteration == 0:
            raise TrainingError(_no_time(parts.budget, self.first_elapsed))
        if losses is not None:
            self._log(log, losses, progress, last=True)
        self.save()
        if parts.microscope is not None:
            parts.microscope.look_last(self._ask_teacher, self._moment())
        if finished and parts.validate is not None:
            self._validate(log, parts.validate)
        return finished

    def _step(self, batch: Batch, progress: float) -> StepLosses:
        """One iteration: views, teacher, losses, gradient, weights, average."""
        objective, config = self.parts.objective, self.config
        torch.manual_seed(_step_seed(config.seed, self.iteration))
        generator = torch.Generator().manual_seed(_step_seed(config.seed, self.iteration))
        for group in self.optimiser.param_groups:
            group["lr"] = config.optimiser.learning_rate * self._share_of_learning_rate(progress)
        if self._scales_due(progress):
            objective.measure_scales(self._ask_teacher, batch, generator)
        losses = objective.step(self.student, self._ask_teacher, batch, generator, progress)
        finite = math.isfinite(losses.total.item())
        self.clock.lap("views_and_forward")
        if not finite:
            raise TrainingError(_non_finite("loss", losses, batch, self.iteration))
        self.optimiser.zero_grad(set_to_none=True)
        self.fabric.backward(losses.total)
        self.clock.lap("backward")
        clip = config.optimiser.gradient_clip
        norm = self.fabric.clip_gradients(self.student, self.optimiser, max_norm=clip, error_if_nonfinite=False)
        if norm is None or not math.isfinite(norm.item()):
            raise TrainingError(_non_finite("gradient", losses, batch, self.iteration))
        self.optimiser.step()
        self.teacher.update(self.parts.student, self.iteration)
        self.clock.lap("update")
        return losses

    def _share_of_learning_rate(self, progress: float) -> float:
        told = self.config.optimiser
        return warm_restart(progress, told.warm_up, self.config.labels_alone, told.restart)

    def _scales_due(self, progress: float) -> bool:
        due = self.iteration % self.config.pseudo_labels.measure_every == 0
        return due and self.parts.objective.uses_scales(progress)

    def _log(self, log: RunLog, losses: StepLosses, progress: float, *, last: bool = False) -> None:
        """Log the iteration if it is the first or last, or some time has passed; no iteration twice."""
        now = time.monotonic()
        due = last or self.iteration == 1 or now - self._logged_at >= _LOG_SECONDS
        if not due or self._logged_iteration == self.iteration:
            return
        self._logged_at, self._logged_iteration = now, self.iteration
        line: dict[str, Any] = {
            "iteration": self.iteration,
            "seconds": round(self.parts.budget.elapsed, 2),
            "loss": losses.total.item(),
            "learning_rate": self.optimiser.param_groups[0]["lr"],
            **{name if name == "confident" else f"loss_{name}": part.item() for name, part in losses.parts.items()},
        }
        if seconds := self.clock.take():
            line["seconds_a_step"] = seconds
        if dice := self.parts.objective.reliability.dice():
            line["teacher_dice"] = dice
            weights = self.parts.objective.scale_weights()
            line["scale_weights"] = {f"{scale:g}": weight for scale, weight in weights.items()}
        log.write(line)
        self.parts.report({"event": "train", "progress": progress, **line})

    def _validate_when_due(self, log: RunLog) -> None:
        """Validate at the end of each round but the last, whose weights are validated after the loop."""
        progress = self.parts.budget.progress(self.iteration, self.first_elapsed)
        rounds = int(progress * self._rounds)
        if self.parts.validate is None or rounds <= self._rounds_done or progress >= 1:
            return
        self._rounds_done = rounds
        began = time.monotonic()
        self._validate(log, self.parts.validate)
        self.parts.budget.reserve = max(self.parts.budget.reserve, 2.0 + 1.5 * (time.monotonic() - began))

    def _validate(self, log: RunLog, score: Validator) -> None:
        scores = score(self.teacher.network)
        self.validations.append(scores)
        line: dict[str, Any] = {
            "iteration": self.iteration,
            "seconds": round(self.parts.budget.elapsed, 2),
            "val_dice": sum(scores.values()) / max(len(scores), 1),
            "val_dice_by_structure": scores,
        }
        log.write(line)
        self.parts.report({"event": "validate", **line})

    def _look_when_due(self) -> None:
        """Let the teacher say what it sees in a few unlabelled scans, and keep time for the last of these looks."""
        if (microscope := self.parts.microscope) is not None:
            microscope.look_when_due(self._ask_teacher, self._moment())
            self.parts.budget.reserve = max(self.parts.budget.reserve, 2.0 + 1.5 * microscope.cost_s)

    def _moment(self) -> Moment:
        budget = self.parts.budget
        return Moment(self.iteration, budget.elapsed, budget.progress(self.iteration, self.first_elapsed))

    def _save_when_due(self) -> None:
        pause = max(self.config.checkpoint_seconds, min(50 * self._save_cost, _LONGEST_CHECKPOINT_SECONDS))
        if time.monotonic() - self._saved_at >= pause:
            self.save()

    def save(self) -> None:
        """Write the state to resume from."""
        began = time.monotonic()
        Checkpoint(
            iteration=self.iteration,
            elapsed=self.parts.budget.elapsed,
            first_elapsed=self.first_elapsed,
            student=self.parts.student.state_dict(),
            teacher=self.teacher.network.state_dict(),
            optimiser=self.optimiser.state_dict(),
            scale_counts=self.parts.objective.reliability.counts,
            data=self.parts.data,
        ).save(self.parts.state_path)
        self._saved_at = time.monotonic()
        self._save_cost = self._saved_at - began

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a state."""
        self.iteration, self.first_elapsed = checkpoint.iteration, checkpoint.first_elapsed
        self.parts.student.load_state_dict(checkpoint.student)
        self.teacher.network.load_state_dict(checkpoint.teacher)
        restore_optimiser(self.optimiser.optimizer, checkpoint.optimiser)
        self.parts.objective.reliability.recall(checkpoint.scale_counts)


def _step_seed(seed: int, iteration: int) -> int:
    return (seed * 1_000_003 + iteration) % 2**63


def _no_time(budget: Budget, began_s: float) -> str:
    given, spent = (budget.seconds or 0) / 60, began_s / 60
    left = " and the rest is kept for the last validation" if spent < given else ""
    return (
        f"starting and preparing the scans took {spent:.2g} of the {given:.2g} minutes{left}, so no iteration was "
        "made; start it anew with more minutes: what is prepared is kept"
    )


def _non_finite(what: str, losses: StepLosses, batch: Batch, iteration: int) -> str:
    parts = ", ".join(f"{name} {part.item():.3g}" for name, part in losses.parts.items())
    return (
        f"the {what} is not finite at iteration {iteration} ({parts}) on the scans {', '.join(batch.cases)}; "
        "look for broken intensities with `maskmatch check`, or lower optimiser.learning_rate"
    )
