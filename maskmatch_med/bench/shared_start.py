"""One start for all recipes of a seed: until unlabelled terms begin, they learn the same from the same labels.

Every recipe then goes on from one state, of that moment: weights, average and optimiser. It is what each would have
come to by itself, but for the corners of turned views, which recipes with wide windows cut from larger crops. Seconds
that the start took count for each of them.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from maskmatch_med import service
from maskmatch_med.config import TrainConfig
from maskmatch_med.io.atomic import atomic_path
from maskmatch_med.methods import parse_recipe
from maskmatch_med.nets import ModelFolder
from maskmatch_med.study import FolderLock

_LATER = {"method", "unlabelled", "pseudo_labels", "masking", "unlabelled_batch"}
"""What a training does not use before its unlabelled terms begin."""
_PATIENCE_S = 7 * 24 * 3600.0


def shared_iterations(config: TrainConfig) -> int:
    """How many iterations of this training are the same for all recipes; 0 where it differs from the first one on."""
    recipe = parse_recipe(config.method)
    differs = recipe.networks > 1 or recipe.copy_paste or (recipe.multiscale and config.pseudo_labels.train_scales)
    return 0 if differs or config.iterations is None else int(config.labels_alone * config.iterations)


def shared_settings(config: TrainConfig) -> TrainConfig:
    """The settings of the start: labels alone, without what counts only later. Who has the same shares it."""
    alike = TrainConfig(**{key: value for key, value in config.model_dump().items() if key not in _LATER})
    return alike.override({"method": "supervised", "unlabelled.start": config.labels_alone})


def begin_from_shared_start(study: Path, config: TrainConfig, name: str, stop_requested: Callable[[], bool]) -> bool:
    """Give a model that has not begun the shared state, which is trained where nobody has yet.

    Args:
        study: where model and start lie.
        config: the model's settings.
        name: the model's.
        stop_requested: asked before every step.

    Returns:
        Whether the model can be trained now (False: stopped on request).
    """
    until = shared_iterations(config)
    model = ModelFolder(study / "models" / name)
    if until == 0 or model.state_path.exists():
        return True
    alike = shared_settings(config)
    told = hashlib.sha256(alike.model_dump_json(exclude={"device"}).encode()).hexdigest()[:8]
    start = ModelFolder(study / "models" / f"start_s{config.seed}_{until}of{config.iterations}_{told}")
    start.root.parent.mkdir(exist_ok=True)
    with FolderLock(start.root.with_suffix(".lock"), f"the shared start {start.root.name}").held(timeout_s=_PATIENCE_S):
        if start.metrics().get("iterations", 0) < until:
            request = service.TrainRequest(start.root.name, resume=True, stop_requested=stop_requested, until=until)
            if service.train(study, alike, request).metrics()["iterations"] < until:
                return False
    for source, target in ((start.log_path, model.log_path), (start.state_path, model.state_path)):
        with atomic_path(target) as part:
            shutil.copyfile(source, part)
    return True
