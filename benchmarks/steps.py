"""Time a training step of each recipe: python -m benchmarks steps STUDY [RECIPE …]

The recipes take turns, so that what else the machine does falls on all alike. What is timed is a step late in a run,
with its unlabelled views, under the default settings; a default run spends its first 70 % on steps without them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch

from maskmatch_med.config import TrainConfig
from maskmatch_med.data.cache import cache_cases
from maskmatch_med.data.sampling import PatchSampler
from maskmatch_med.methods import RECIPES, EMATeacher, Objective, parse_recipe
from maskmatch_med.planning import Plan
from maskmatch_med.study import Study
from maskmatch_med.training.precision import precision_of
from maskmatch_med.training.run import fabric_of, sampling_options

ROUNDS = 7


class Timed:
    """One recipe with its networks, ready to take steps."""

    def __init__(self, recipe: str, study: Study, plan: Plan) -> None:
        self.objective = Objective(parse_recipe(recipe), plan, TrainConfig(method=recipe))
        cases = cache_cases(study.cases(), plan, study.cache_dir)
        labelled = [case for case in cases if case.voxels]
        loose = [case for case in cases if not case.voxels]
        self.sampler = PatchSampler(labelled, loose, sampling_options(self.objective))
        torch.manual_seed(0)
        student, device = self.objective.build_student().train(), torch.device("cpu")
        self.teacher = EMATeacher(student, 0.99)
        self.fabric = fabric_of(device, precision_of(self.objective.config, device))
        self.ask_teacher = self.fabric.setup_module(self.teacher.network)
        self.student, self.optimiser = self.fabric.setup(student, torch.optim.AdamW(student.parameters()))
        self.objective.reliability.counts += 1
        self.seconds: list[float] = []

    def step(self, iteration: int) -> None:
        """Take one step at the end of the ramp and note how long it took, crops included."""
        began = time.perf_counter()
        generator = torch.Generator().manual_seed(iteration)
        batch = self.sampler.batch(iteration)
        losses = self.objective.step(self.student, self.ask_teacher, batch, generator, 0.95)
        self.optimiser.zero_grad()
        self.fabric.backward(losses.total)
        self.optimiser.step()
        self.teacher.update(self.student.module, iteration)
        self.seconds.append(time.perf_counter() - began)


def main(words: list[str]) -> None:
    """Print the median time of a step, and steps a second, for each recipe."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks steps", description=__doc__)
    parser.add_argument("study", type=Path, help="a study with its plan")
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="all by default")
    asked = parser.parse_args(words)
    study, recipes = Study.open(asked.study), asked.recipes or list(RECIPES)
    plan = Plan.load(study.root / "plan.json")
    timed = {recipe: Timed(recipe, study, plan) for recipe in recipes}
    for iteration in range(ROUNDS + 1):
        for one in timed.values():
            one.step(iteration)
    print(f"{torch.get_num_threads()} threads, patch {plan.patch_vox}, batch {plan.batch_size}, {ROUNDS} rounds")
    print(f"{'recipe':40} {'s a step':>9} {'least':>9} {'steps/s':>9}")
    for recipe, one in timed.items():
        kept = one.seconds[1:]
        middle = statistics.median(kept)
        print(f"{recipe:40} {middle:9.3f} {min(kept):9.3f} {1 / middle:9.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
