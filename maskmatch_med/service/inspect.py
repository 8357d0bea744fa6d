"""Say what things are: scans, studies, models, the machine."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

import psutil
import torch

from maskmatch_med.config import TrainConfig
from maskmatch_med.errors import InputError
from maskmatch_med.io import find_cases, read_volume
from maskmatch_med.nets import ModelFolder
from maskmatch_med.planning import Plan, describe
from maskmatch_med.study import Study
from maskmatch_med.version import __version__
from maskmatch_med.volume import Volume


def info(path: Path | str) -> tuple[str, list[tuple[str, str]]]:
    """Say what a path is: a model, a study or a scan.

    Returns:
        A title, and (name, value) rows.

    Raises:
        InputError: it is none of them.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if (path / "plan.json").is_file() and (path / "config.json").is_file():
        return f"Model {path}", _model_rows(ModelFolder(path))
    if (path / "sources").is_dir() and (path / "dataset.json").is_file():
        return f"Study {path}", _study_rows(Study.open(path))
    cases = find_cases([path])
    if len(cases) > 1:
        return f"Folder {path}", [("Scans", str(len(cases))), ("First", cases[0].name), ("Last", cases[-1].name)]
    return f"Scan {path}", _scan_rows(read_volume(cases[0].channels))


def _model_rows(folder: ModelFolder) -> list[tuple[str, str]]:
    config, metrics = TrainConfig.load(folder.config_path), folder.metrics()
    state = "finished" if metrics.get("finished") else "interrupted; go on with --resume"
    rows = [("Method", config.method), ("State", state), *describe(Plan.load(folder.plan_path))]
    if metrics:
        rows += [("Iterations", str(metrics["iterations"])), ("Minutes", f"{metrics['seconds'] / 60:.1f}")]
        rows += [(f"Validation Dice, {name}", f"{dice:.3f}") for name, dice in (metrics["validation"] or {}).items()]
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


def _scan_rows(volume: Volume) -> list[tuple[str, str]]:
    geometry = volume.geometry
    return [
        ("Channels", str(volume.channels)),
        ("Shape", " × ".join(str(n) for n in geometry.shape) + " voxels"),
        ("Spacing", " × ".join(f"{mm:.4g}" for mm in geometry.spacing_mm) + " mm"),
        ("Orientation", geometry.axis_codes),
        ("Intensities", f"{volume.array.min():.6g} to {volume.array.max():.6g}, mean {volume.array.mean():.6g}"),
    ]


def doctor() -> list[tuple[str, str]]:
    """Versions, devices and memory as (name, value) rows."""
    packages = ("torch", "monai", "nibabel", "SimpleITK", "numpy", "scikit-image", "lightning-fabric")
    memory = psutil.virtual_memory()
    gib = 1024**3
    rows = [("maskmatch-med", __version__), ("Python", platform.python_version()), ("System", platform.platform())]
    rows += [(package, metadata.version(package)) for package in packages]
    rows += [
        ("Processor cores", f"{psutil.cpu_count(logical=False)} physical, {torch.get_num_threads()} threads used"),
        ("Memory", f"{memory.available / gib:.1f} of {memory.total / gib:.1f} GiB free"),
    ]
    for index in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(index)
        rows.append((f"GPU {index}", f"{found.name}, {found.total_memory / gib:.1f} GiB"))
    if not torch.cuda.is_available():
        rows.append(("GPU", "none that CUDA can use; training runs on the processor"))
    return rows
