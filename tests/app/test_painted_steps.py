"""The painter's steps back and forth, run by Node: exact, and small also where a step changes a whole large scan."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import maskmatch_app

MODULES = Path(maskmatch_app.__file__).with_name("annotator")
RANDOM = """
let seed = 7;
const random = (n) => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.floor((seed / 2 ** 32) * n);
};
const filled = (count, most) => Uint8Array.from({ length: count }, () => random(most));
"""
EXACT = """
const shape = [9, 7, 5];
const count = 9 * 7 * 5;
const mask = new Mask(shape, filled(count, 4), filled(count, 2));
const steps = new Steps();
const seen = [];
const now = () => JSON.stringify([[...mask.labels], [...mask.judged]]);
const kinds = [
  () => mask.step([...new Set(filled(40, 250))], random(4), random(2)),
  () => mask.stepTo({ corner: [1, 2, 1], shape: [6, 4, 3] }, filled(72, 4), filled(72, 2)),
  () => mask.stepJudged(slab(shape, random(3), 2)),
  () => mask.step(bucket({ shape }, null, [4, 3, 2], (n) => mask.labels[n] >> 1, () => true), 3, 1),
  () => joined([0, 1, 2].map(() => {
    const step = mask.step([...new Set(filled(9, 250))], random(4), 1);
    mask.apply(step);
    return step;
  })),
];
for (let turn = 0; turn < 60; turn += 1) {
  const before = now();
  const step = kinds[turn % kinds.length]();
  if (!step.starts.length) continue;
  const box = mask.apply(step);
  if (turn % kinds.length === 1) console.assert(box.corner.every((n, a) => n >= [1, 2, 1][a]));
  seen.push([before, now()]);
  steps.add(step);
}
let wrong = 0;
for (const [before] of [...seen].reverse()) { mask.apply(steps.undo(), true); wrong += now() !== before; }
for (const [, after] of seen) { mask.apply(steps.redo()); wrong += now() !== after; }
console.log(JSON.stringify({ steps: seen.length, wrong }));
"""
LARGE = """
const shape = [512, 512, 100];
const count = 512 * 512 * 100;
const labels = new Uint8Array(count);
for (let n = 0; n < count; n += 1) labels[n] = (n % 512) > 200 && (n % 512) < 300 ? 2 : 0;
const mask = new Mask(shape, labels, new Uint8Array(count));
mask.judged.fill(1, 0, 512 * 300);
const [was, theirs] = [mask.read(slab(shape, null)), labels.slice().reverse()];
const begun = performance.now();
const steps = [mask.stepJudged(slab(shape, null))];
mask.apply(steps[0]);
steps.push(mask.stepTo(slab(shape, null), theirs, new Uint8Array(count)));
mask.apply(steps[1]);
const seconds = (performance.now() - begun) / 1000;
const held = steps.reduce((sum, step) => sum + bytesOf(step), 0);
for (const step of [...steps].reverse()) mask.apply(step, true);
const back = mask.read(slab(shape, null));
const isBack = back.labels.every((n, k) => n === was.labels[k]) && back.bits.every((n, k) => n === was.bits[k]);
console.log(JSON.stringify({ isBack, held, seconds }));
"""


def run(tmp_path: Path, script: str) -> dict[str, Any]:
    """What a script says that has the painter's modules at hand."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("the painter's modules are run by Node, which is not installed")
    for name in ("mask.js", "runs.js", "strokes.js"):
        shutil.copy(MODULES / name, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    imports = (
        'import { Mask, Steps } from "./mask.js"; import { bytesOf, joined } from "./runs.js"; '
        'import { bucket, slab } from "./strokes.js";'
    )
    (tmp_path / "script.js").write_text(imports + RANDOM + script)
    told = subprocess.run([node, "script.js"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert (told.returncode, told.stderr) == (0, "")
    return dict(json.loads(told.stdout))


def test_every_kind_of_step_is_taken_back_exactly(tmp_path: Path) -> None:
    said = run(tmp_path, EXACT)
    assert said["steps"] > 40
    assert said["wrong"] == 0


def test_steps_of_a_whole_large_scan_are_quick_and_small(tmp_path: Path) -> None:
    """26 million voxels; the limits leave room for a busy machine."""
    said = run(tmp_path, LARGE)
    assert said["isBack"]
    assert said["held"] < 10e6
    assert said["seconds"] < 10
