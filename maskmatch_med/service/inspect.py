"""Say what things are: scans, studies, models, the machine."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import torch

from maskmatch_med.config import TrainConfig
from maskmatch_med.errors import InputError
from maskmatch_med.io.cases import CaseFiles, FoundScans, find_scans
from maskmatch_med.io.dicom import DicomSeries, find_series, is_dicom
from maskmatch_med.io.formats import ReadOptions, check_file, is_folder
from maskmatch_med.io.rasters import is_raster
from maskmatch_med.io.volumes import as_float32, read_header, read_stored
from maskmatch_med.nets import ModelFolder
from maskmatch_med.planning import Plan, describe
from maskmatch_med.service.devices import resolve_device
from maskmatch_med.study import Study
from maskmatch_med.training.precision import computes_in_bf16
from maskmatch_med.version import __version__
from maskmatch_med.volume import Array, Geometry


def info(path: Path | str) -> tuple[str, list[tuple[str, str]]]:
    """Say what a path is: a model, a study, a scan in any readable format, or a folder of scans.

    Returns:
        A title, and (name, value) rows.

    Raises:
        InputError: it is none of them, or damaged.
    """
    path = Path(path)
    if not is_folder(path):
        check_file(path)
        return f"Scan {path}", _scan_rows(path)
    if (path / "plan.json").is_file() and (path / "config.json").is_file():
        return f"Model {path}", _model_rows(ModelFolder(path))
    if (path / "sources").is_dir() and (path / "dataset.json").is_file():
        return f"Study {path}", _study_rows(Study.open(path))
    found = find_scans([path])
    series = [case.series for case in found.cases if case.series is not None]
    if len(series) == len(found.cases):
        return f"DICOM folder {path}", _dicom_rows(series, found.notes)
    single = found.cases[0].channels if len(found.cases) == 1 else ()
    if len(single) == 1:
        return f"Scan {single[0]}", _scan_rows(single[0])
    return f"Folder {path}", _folder_rows(found)


def _folder_rows(found: FoundScans) -> list[tuple[str, str]]:
    cases = found.cases
    rows = [("Scans", str(len(cases))), ("First", cases[0].name), ("Last", cases[-1].name)]
    channels = ", ".join(found.channel_names) or str(len(cases[0].channels))
    rows += [("Channels", channels)] if len(cases[0].channels) > 1 else []
    rows += [("Labels", str(len(found.labels)))] if found.labels else []
    refused = _refusals(cases)
    if len(refused) == len(cases):
        raise InputError(refused[0])
    return rows + [("Refused", text) for text in refused] + [("Note", note) for note in found.notes]


def _refusals(cases: Sequence[CaseFiles]) -> list[str]:
    """Why scans cannot be read, as far as their headers tell, one sentence each."""
    refused = []
    for case in cases:
        try:
            for path in case.channels if case.series is None else ():
                read_header(path)
        except InputError as error:
            refused.append(str(error))
    return refused


def _model_rows(folder: ModelFolder) -> list[tuple[str, str]]:
    config, metrics = TrainConfig.load(folder.config_path), folder.metrics()
    state = "finished" if metrics.get("finished") else "interrupted; go on with --resume"
    rows = [("Method", config.method), ("State", state), *describe(Plan.load(folder.plan_path))]
    if metrics:
        try:
            rows += [("Iterations", str(metrics["iterations"])), ("Minutes", f"{metrics['seconds'] / 60:.1f}")]
            validation = dict(metrics["validation"] or {})
            rows += [(f"Validation Dice, {name}", f"{dice:.3f}") for name, dice in validation.items()]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{folder.metrics_path} is damaged: {error!r}; train again or remove the file") from error
    return rows


def _study_rows(study: Study) -> list[tuple[str, str]]:
    cases = study.cases()
    judged = [case.judged for case in cases]
    models = sorted(path.name for path in study.models_dir.glob("*") if (path / "config.json").exists())
    return [
        ("Name", study.name),
        ("Scans", str(len(cases))),
        ("Labelled", f"{judged.count('complete')} complete, {judged.count('partial')} in part"),
        ("Channels", ", ".join(study.channel_names)),
        ("Labels", ", ".join(f"{value} {name}" for name, value in study.label_names.items())),
        ("Models", ", ".join(models) or "none yet"),
    ]


def _scan_rows(path: Path) -> list[tuple[str, str]]:
    """What the header of a file says, and the range of the values, of the first frame where there are several."""
    if path.suffix.lower() == ".zip" or is_dicom(path):
        found = find_series(path)
        return _dicom_rows(found.series or [found.pick(None)], found.notes)
    header = read_header(path)
    stored = read_stored(path, ReadOptions(frames=(0,) if header.frames > 1 else None, magnitude=True))
    rows = [("Format", header.format), ("Stored as", header.dtype), *_grid_rows(header.geometry)]
    if is_raster(path):
        rows[2:] = [("Shape", " × ".join(str(n) for n in header.geometry.shape[:2]) + " pixels")]
    rows.append(("Channels", f"{header.channels}, the colours" if header.channels > 1 else "1"))
    as_float32(stored.array, path)
    if header.dtype.startswith("complex"):
        rows.append(("Complex", "refused by import and predict unless --magnitude is given, which was taken here"))
    of = ""
    if header.frames > 1:
        rows[-1] = (
            "Frames",
            f"{header.frames} along a fourth axis; which are channels is said with --frames all or 0,1,…",
        )
        of = " in the first frame"
    return rows + _value_rows(stored.array, of)


def _value_rows(array: Array, of: str = "") -> list[tuple[str, str]]:
    """The range of the values, and how many are none."""
    values = array[np.isfinite(array)]
    rows = []
    if values.size < array.size:
        rows.append(("Not finite", f"{array.size - values.size} voxels are NaN or infinite{of}"))
    if not values.size:
        return [*rows, ("Intensities", "none that is finite")]
    low, high, mean = values.min(), values.max(), values.mean(dtype=np.float64)
    return [*rows, ("Intensities", f"{low:.6g} to {high:.6g}, mean {mean:.6g}{of}")]


def _grid_rows(geometry: Geometry) -> list[tuple[str, str]]:
    return [
        ("Shape", " × ".join(str(n) for n in geometry.shape) + " voxels"),
        ("Spacing", " × ".join(f"{mm:.4g}" for mm in geometry.spacing_mm) + " mm"),
        ("Orientation", geometry.axis_codes),
    ]


def _dicom_rows(series: Sequence[DicomSeries], notes: Sequence[str]) -> list[tuple[str, str]]:
    """Each series on its own grid, the values where there is one, then what was skipped."""
    rows = [("Format", f"DICOM, {len(series)} series")]
    for one in series:
        header = one.header()
        rows += [("Series", one.name), ("Stored as", header.dtype), *_grid_rows(one.geometry)]
        rows += [("Channels", "3, the colours")] if header.channels == 3 else []
        rows += _value_rows(one.read_stored().array) if len(series) == 1 else []
        rows += [("Note", note) for note in one.notes]
    return rows + [("Skipped", note) for note in notes]


def doctor(bench: bool = False) -> list[tuple[str, str]]:
    """Versions, devices and memory as (name, value) rows; with ``bench``, also how fast each engine is here."""
    packages = ("torch", "monai", "nibabel", "SimpleITK", "numpy", "scikit-image", "lightning-fabric")
    memory = psutil.virtual_memory()
    gib = 1024**3
    rows = [("maskmatch-med", __version__), ("Python", platform.python_version()), ("System", platform.platform())]
    rows += [(package, metadata.version(package)) for package in packages]
    there = find_spec("openvino") is not None
    rows.append(("OpenVINO", metadata.version("openvino") if there else "none; prediction on a processor is slower"))
    rows += [
        ("Processor cores", f"{psutil.cpu_count(logical=False)} physical, {torch.get_num_threads()} threads used"),
        ("Memory", f"{memory.available / gib:.1f} of {memory.total / gib:.1f} GiB free"),
    ]
    for index in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(index)
        rows.append((f"GPU {index}", f"{found.name}, {found.total_memory / gib:.1f} GiB"))
    if not torch.cuda.is_available():
        rows.append(("GPU", "none that CUDA can use; training runs on the processor"))
    bf16 = computes_in_bf16(resolve_device("auto"))
    rows.append(("Training", "in bfloat16, weights and losses in single precision" if bf16 else "in single precision"))
    if bench:
        from maskmatch_med.service.engine_bench import time_engines  # noqa: PLC0415 - loads what else is not needed

        rows += time_engines(resolve_device("auto"))
    return rows
