"""A model's folder: where each of its files lies, and how to open it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskmatch_med.errors import StudyError
from maskmatch_med.planning.plan import Plan

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class ModelFolder:
    """``STUDY/models/NAME``, or a copy of it anywhere."""

    root: Path

    @property
    def plan_path(self) -> Path:
        """The plan the weights belong to."""
        return self.root / "plan.json"

    @property
    def config_path(self) -> Path:
        """What the training was told."""
        return self.root / "config.json"

    @property
    def weights_path(self) -> Path:
        """The teacher's weights, which predict."""
        return self.root / "weights.safetensors"

    @property
    def state_path(self) -> Path:
        """The state that an interrupted training resumes from."""
        return self.root / "state.pt"

    @property
    def metrics_path(self) -> Path:
        """How the training ended, in numbers."""
        return self.root / "metrics.json"

    @property
    def log_path(self) -> Path:
        """One line a logged iteration."""
        return self.root / "log.jsonl"

    @property
    def microscope_dir(self) -> Path:
        """What the teacher said of a few unlabelled scans over the training."""
        return self.root / "microscope"

    @property
    def calibration_path(self) -> Path:
        """What held-out scans told of the model's confidence."""
        return self.root / "calibration.json"

    @property
    def card_path(self) -> Path:
        """The model card."""
        return self.root / "MODEL_CARD.md"

    def metrics(self) -> dict[str, Any]:
        """How the training ended; empty while it has not."""
        try:
            return dict(json.loads(self.metrics_path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError) as error:
            raise StudyError(f"cannot read {self.metrics_path}: {error}") from error

    def load(self, device: torch.device | str = "cpu") -> tuple[Plan, nn.Module]:
        """The plan and the network with its weights, in evaluation mode.

        Raises:
            StudyError: there is no model here, or its training has not written weights yet.
        """
        plan = self.plan()
        return plan, self.network(plan, device)

    def plan(self) -> Plan:
        """The plan of a finished model.

        Raises:
            StudyError: there is no model here, or its training has not written weights yet.
        """
        if not self.weights_path.is_file() or not self.plan_path.is_file():
            raise StudyError(
                f"{self.root} holds no finished model (plan.json and weights.safetensors); train one with "
                "`maskmatch train STUDY`, or go on with `--resume`"
            )
        return Plan.load(self.plan_path)

    def network(self, plan: Plan, device: torch.device | str = "cpu", *, channels_last: bool = True) -> nn.Module:
        """The network of the plan with its weights, in evaluation mode.

        Raises:
            StudyError: the weights are damaged, or of another network.
        """
        from maskmatch_med.nets.unet import build_network, load_weights  # noqa: PLC0415  loads torch

        network = build_network(plan, channels_last=channels_last).to(device).eval()
        load_weights(network, self.weights_path, device)
        return network
