"""The plan: every decision about spacing, patch, normalisation and network, as a small JSON that a person can edit."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from maskmatch_med.config import first_fault
from maskmatch_med.errors import InputError

FEWEST_STAGES = 3
"""Resolution stages below which the U-Net cannot be built."""

PREPROCESSING_KEY = re.compile(r"[0-9a-f]{16}")
"""What a :attr:`Plan.preprocessing_key` looks like."""

_Count = Annotated[int, Field(ge=1)]
_Millimetres = Annotated[float, Field(gt=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ChannelNormalisation(_Frozen):
    """How one channel's intensities become network input.

    ``zscore``: subtract the scan's own mean, divide by its own standard deviation (MR, microscopy).
    ``ct``: clip to [low, high], subtract ``mean``, divide by ``std``, all taken from the labelled foreground.
    ``rescale``: map the scan's own [low, high] percentiles 0.5 and 99.5 to [0, 1].
    """

    scheme: Literal["zscore", "ct", "rescale"] = "zscore"
    mean: float = 0.0
    std: float = Field(default=1.0, gt=0)
    low: float = 0.0
    high: float = 0.0

    @model_validator(mode="after")
    def _low_to_high(self) -> ChannelNormalisation:
        if self.low > self.high:
            raise ValueError(f"low must not be above high, got {self.low:g} and {self.high:g}")
        return self


class NetworkPlan(_Frozen):
    """A U-Net as nnU-Net builds it: one entry a resolution stage, each with one number an axis.

    ``strides[0]`` is all ones; stage s works on the patch divided by the product of ``strides[: s + 1]``.
    """

    features: tuple[_Count, ...]
    kernels: tuple[tuple[_Count, ...], ...]
    strides: tuple[tuple[_Count, ...], ...]
    deep_supervision: bool = False

    @model_validator(mode="after")
    def _one_entry_a_stage(self) -> NetworkPlan:
        if not len(self.features) == len(self.kernels) == len(self.strides) >= FEWEST_STAGES:
            raise ValueError(f"features, kernels and strides need the same number of stages, at least {FEWEST_STAGES}")
        if len({len(entry) for entry in (*self.kernels, *self.strides)}) != 1:
            raise ValueError("every entry of kernels and strides needs the same number of axes")
        if any(stride != 1 for stride in self.strides[0]):
            raise ValueError(f"the first of strides must be all ones, got {self.strides[0]}")
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            if any(k % 2 == 0 or s > k + 1 for k, s in zip(kernel, stride, strict=True)):
                raise ValueError(f"kernels must be odd, strides at most one more, got {kernel} with {stride}")
        return self

    @property
    def divisor(self) -> tuple[int, ...]:
        """The number each axis of a network input must be a multiple of."""
        product = [1] * len(self.strides[0])
        for stride in self.strides:
            product = [a * b for a, b in zip(product, stride, strict=True)]
        return tuple(product)


class Plan(_Frozen):
    """How scans of one study are brought to the network. Axes are those of the scan turned closest to RAS+.

    Tuples over axes have ``spatial_dims`` entries. In 2D the singleton axis of each scan is dropped.
    """

    spatial_dims: Literal[2, 3]
    channel_names: tuple[str, ...] = Field(min_length=1)
    label_names: dict[str, int] = Field(min_length=1)
    spacing_mm: tuple[_Millimetres, ...]
    patch_vox: tuple[_Count, ...]
    batch_size: int = Field(ge=1)
    normalisation: tuple[ChannelNormalisation, ...]
    network: NetworkPlan
    mirror_axes: tuple[int, ...] = ()
    """Axes that training may mirror and prediction may average over; leave out left-right where sides are labels."""
    median_shape_vox: tuple[_Count, ...]
    """Median scan shape at ``spacing_mm``."""
    foreground_extent_vox: tuple[_Count, ...] = ()
    """Median bounding box of the labelled structures at ``spacing_mm``; empty where nothing is labelled."""
    piece_mm: float = Field(default=0.0, ge=0)
    """Median diameter of a connected piece of a structure, that of a ball or disc of its size; 0 unknown."""
    pictures: bool = False
    """Whether it was made for pictures, whose pixels have no size and are counted as 1 mm."""
    training_memory_gib: float = Field(default=0.0, ge=0)
    seconds_per_iteration: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _axes_agree(self) -> Plan:
        dims = self.spatial_dims
        for name in ("spacing_mm", "patch_vox", "median_shape_vox", "foreground_extent_vox"):
            value = getattr(self, name)
            if len(value) != dims and (value or name != "foreground_extent_vox"):
                raise ValueError(f"{name} needs {dims} entries, got {value}")
        divisor = self.network.divisor
        if len(divisor) != dims:
            raise ValueError(f"kernels and strides of the network need {dims} numbers a stage, got {len(divisor)}")
        if any(p % d for p, d in zip(self.patch_vox, divisor, strict=True)):
            raise ValueError(f"patch_vox {self.patch_vox} must be a multiple of {divisor}")
        if self.patch_vox == divisor and max(divisor) > 1:
            raise ValueError(f"patch_vox {self.patch_vox} leaves one voxel in the deepest stage; take a larger one")
        if len(set(self.mirror_axes)) != len(self.mirror_axes) or not set(self.mirror_axes) <= set(range(dims)):
            raise ValueError(f"mirror_axes must be different axes from 0 to {dims - 1}, got {self.mirror_axes}")
        return self

    @model_validator(mode="after")
    def _names_agree(self) -> Plan:
        if len(self.normalisation) != len(self.channel_names):
            raise ValueError(f"{len(self.channel_names)} channels but {len(self.normalisation)} normalisations")
        if sorted(self.label_names.values()) != list(range(len(self.label_names))):
            raise ValueError(f"label values must be 0, 1, 2, … without gaps, got {self.label_names}")
        return self

    @property
    def classes(self) -> int:
        """Number of classes, background included."""
        return len(self.label_names)

    @property
    def element(self) -> str:
        """What its scans are made of, as people call it."""
        return "voxels" if self.spatial_dims == 3 else "pixels"

    @property
    def length(self) -> str:
        """The unit of its lengths."""
        return "px" if self.pictures else "mm"

    @property
    def scaled_axes(self) -> tuple[bool, ...]:
        """Which axes another scale changes: all but thin through-plane ones.

        An axis is thin when its spacing is more than three times the finest, or when the network never pools along it.
        """
        finest = min(self.spacing_mm)
        return tuple(s <= 3 * finest and d > 1 for s, d in zip(self.spacing_mm, self.network.divisor, strict=True))

    @property
    def preprocessing_key(self) -> str:
        """Changes when, and only when, preprocessed arrays would."""
        decides = {"spatial_dims", "channel_names", "label_names", "spacing_mm", "normalisation"}
        text = self.model_dump_json(include=decides)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write the plan as indented JSON."""
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read a plan.

        Raises:
            InputError: the file is missing, or a value in it is unknown or impossible.
        """
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise InputError(f"cannot use the plan {path}: {first_fault(error)}") from error
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read the plan {path}: {error}") from error
