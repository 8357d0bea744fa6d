"""The invented patient: a torso with labelled organs among others of similar intensity, before degradation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.phantom.shapes import Field, ellipsoid, join, rotation, smooth_noise, tube

LABEL_NAMES = {"liver": 1, "spleen": 2, "kidney": 3, "aorta": 4}
_INTENSITY = {  # mean over patients; each patient and each organ varies around it
    "fat": 0.32,
    "cavity": 0.22,
    "muscle": 0.36,
    "bone": 0.30,
    "disc": 0.44,
    "canal": 0.20,
    "lung": 0.05,
    "liver": 0.58,
    "spleen": 0.66,
    "cortex": 0.80,
    "medulla": 0.64,
    "aorta": 0.84,
    "vein": 0.76,
    "stomach": 0.50,
    "gallbladder": 0.24,
    "pancreas": 0.58,
}


@dataclass(eq=False)
class Canvas:
    """What is painted, from back to front.

    Args:
        intensity: (X, Y, Z) float32, the ideal signal, 0 to about 1.
        labels: (X, Y, Z) uint8, the truth.
        voxel_mm: mean voxel size, over which an edge mixes both sides.
    """

    intensity: Field
    labels: NDArray[np.uint8]
    voxel_mm: float

    def paint(self, shape: Field, intensity: Field | float, label: int = 0) -> None:
        """Lay a shape over what is there: its edge voxels mix in part, its label covers where it fills most."""
        share = np.clip(0.5 - shape / self.voxel_mm, 0, 1).astype(np.float32)
        self.intensity = self.intensity * (1 - share) + share * np.asarray(intensity, np.float32)
        self.labels[shape < 0] = label


class Patient:
    """One invented patient, drawn onto a grid.

    Args:
        rng: source of everything that varies; the same state gives the same patient.
        points: (3, X, Y, Z) float32, where the voxels lie in patient coordinates in mm.
        voxel_mm: mean voxel size.
    """

    def __init__(self, rng: np.random.Generator, points: Field, voxel_mm: float) -> None:
        self._rng = rng
        self._grid = (int(points.shape[1]), int(points.shape[2]), int(points.shape[3]))
        self._points = self._pose(points)
        self._tone = {name: mean * rng.normal(1, 0.08) for name, mean in _INTENSITY.items()}
        self._canvas = Canvas(np.full(self._grid, 0.015, np.float32), np.zeros(self._grid, np.uint8), voxel_mm)
        self._cavity = np.zeros(self._grid, np.float32)

    def draw(self) -> tuple[Field, NDArray[np.uint8]]:
        """Paint everything, from back to front.

        Returns:
            The ideal signal (X, Y, Z) float32 and the labels (X, Y, Z) uint8, with the values of ``LABEL_NAMES``.
        """
        self._torso()
        self._lungs()
        self._spine()
        self._bowel()
        self._stomach()
        self._liver()
        self._spleen()
        self._kidneys()
        self._vessels()
        return self._canvas.intensity, self._canvas.labels

    def _pose(self, points: Field) -> Field:
        rng = self._rng
        scale = rng.normal(1.0, 0.05, 3).clip(0.88, 1.12) * rng.normal(1.0, 0.03)
        turn = rotation(rng.normal(0, 3.0, 3).tolist()).astype(np.float32)
        moved = np.tensordot(turn, points, axes=1) / scale.reshape(3, 1, 1, 1).astype(np.float32)
        moved += rng.normal(0, 5.0, 3).astype(np.float32).reshape(3, 1, 1, 1)
        for axis in range(3):
            moved[axis] += 5.0 * smooth_noise(rng, self._grid, 5)
        posed: Field = moved.astype(np.float32)
        return posed

    def _wobble(self, amplitude_mm: float, knots: int = 7) -> Field:
        return np.float32(amplitude_mm) * smooth_noise(self._rng, self._grid, knots)

    def _texture(self, mean: float, spread: float, knots: int = 20) -> Field:
        return np.float32(mean) + np.float32(spread) * smooth_noise(self._rng, self._grid, knots)

    def _blob(self, centre: tuple[float, ...], radii: tuple[float, ...], turn_deg: tuple[float, ...]) -> Field:
        """An ellipsoid whose place, size and pose vary, with an uneven surface."""
        rng = self._rng
        place = np.add(centre, rng.normal(0, 4.0, 3))
        size = np.multiply(radii, rng.normal(1.0, 0.08, 3).clip(0.8, 1.25))
        turn = rotation(np.add(turn_deg, rng.normal(0, 7.0, 3)).tolist())
        shape = ellipsoid(self._points, place.tolist(), size.tolist(), turn)
        return shape + self._wobble(0.06 * float(min(radii)))

    def _torso(self) -> None:
        rng, (x, y, _) = self._rng, self._points
        across, deep = rng.normal(150, 8), rng.normal(104, 7)
        radius = (np.abs(x / across) ** 2.5 + np.abs(y / deep) ** 2.5) ** (1 / 2.5)
        skin = ((radius - 1) * deep).astype(np.float32)
        sides = np.clip(np.abs(x) / across, 0, 1) * rng.uniform(0, 8)
        fat_mm = (rng.uniform(7, 18) + sides + self._wobble(1.5)).astype(np.float32)
        muscle_mm = (rng.uniform(9, 13) + self._wobble(1.0)).astype(np.float32)
        self._cavity = skin + fat_mm + muscle_mm
        self._canvas.paint(skin, self._tone["muscle"])
        self._canvas.paint(skin + 3, self._texture(self._tone["fat"], 0.03))
        self._canvas.paint(skin + fat_mm, self._texture(self._tone["muscle"], 0.03))
        self._canvas.paint(self._cavity, self._texture(self._tone["cavity"], 0.05, 14))
        for side in (-1, 1):
            back = self._blob((side * 38, -82, 0), (26, 17, 400), (0, 0, 0))
            self._canvas.paint(np.maximum(back, skin + fat_mm), self._texture(self._tone["muscle"], 0.04))
            psoas = self._blob((side * 36, -48, -75), (15, 15, 70), (0, side * 10, 0))
            self._canvas.paint(psoas, self._texture(self._tone["muscle"], 0.03))

    def _lungs(self) -> None:
        x, y, z = self._points
        floor = 62 + 34 * (1 - (x / 130) ** 2 - (y / 100) ** 2) + self._wobble(2)
        lungs = np.maximum(floor - z, self._cavity)
        heart = self._blob((-30, 25, 112), (46, 42, 34), (0, 0, 0))
        self._canvas.paint(lungs.astype(np.float32), self._texture(self._tone["lung"], 0.02))
        self._canvas.paint(np.maximum(heart, floor - z).astype(np.float32), self._texture(self._tone["pancreas"], 0.06))

    def _spine(self) -> None:
        rng, (x, _, z) = self._rng, self._points
        bend = 4 * np.sin(z / rng.uniform(70, 110) + rng.uniform(0, 6))
        middle = (bend.astype(np.float32), np.full_like(x, -56.0))
        body = tube(self._points, middle, (23, 18))
        step = (z / rng.uniform(34, 39) + rng.uniform(0, 1)) % 1.0
        disc = np.clip((np.abs(step - 0.5) - 0.36) * 12, 0, 1)
        signal = self._tone["bone"] * (1 - disc) + self._tone["disc"] * disc
        canal = tube(self._points, (middle[0], np.full_like(x, -82.0)), (11, 9))
        spine_muscle = tube(self._points, (middle[0], np.full_like(x, -92.0)), (9, 22))
        self._canvas.paint(spine_muscle, self._tone["bone"])
        self._canvas.paint(body, (signal + self._wobble(0.03, 20)).astype(np.float32))
        self._canvas.paint(canal, self._tone["canal"])

    def _bowel(self) -> None:
        rng = self._rng
        for _ in range(int(rng.integers(11, 17))):
            centre = (rng.uniform(-85, 85), rng.uniform(-15, 60), rng.uniform(-105, 5))
            radii = (rng.uniform(13, 27), rng.uniform(11, 19), rng.uniform(12, 22))
            loop = self._blob(centre, radii, (0, 0, float(rng.uniform(-60, 60))))
            wall = float(rng.normal(0.55, 0.10))
            inside = np.maximum(loop, self._cavity)
            self._canvas.paint(inside, self._texture(wall, 0.04))
            if rng.random() < 0.5:
                self._canvas.paint(inside + 5, float(rng.uniform(0.12, 0.62)))

    def _stomach(self) -> None:
        stomach = self._blob((-52, 38, 42), (40, 30, 36), (0, 25, 20))
        inside = np.maximum(stomach, self._cavity)
        self._canvas.paint(inside, self._texture(self._tone["stomach"] + 0.06, 0.03))
        self._canvas.paint(inside + 5, self._texture(float(self._rng.uniform(0.25, 0.6)), 0.05))
        pancreas = join(
            self._blob((-25, 8, 8), (42, 11, 12), (0, -12, 12)), self._blob((22, 10, -4), (18, 14, 18), (0, 0, 0)), 8
        )
        self._canvas.paint(pancreas, self._texture(self._tone["pancreas"], 0.05))

    def _liver(self) -> None:
        right = self._blob((72, 2, 32), (66, 74, 62), (0, 12, 8))
        left = self._blob((8, 46, 50), (62, 32, 28), (0, 14, -8))
        under = self._blob((12, -12, -30), (50, 45, 48), (0, 0, 0))
        liver = np.maximum(join(right, left, 14), -under)
        liver = np.maximum(liver, self._cavity + 1)
        vessels = np.exp(-((smooth_noise(self._rng, self._grid, 11) / 0.13) ** 2))
        signal = self._texture(self._tone["liver"], 0.035) + np.float32(0.09) * vessels * (liver < -9)
        self._canvas.paint(liver, signal.astype(np.float32), LABEL_NAMES["liver"])
        gallbladder = self._blob((44, 48, 2), (12, 13, 20), (20, 0, 0))
        self._canvas.paint(gallbladder, self._tone["gallbladder"])

    def _spleen(self) -> None:
        whole = self._blob((-92, -28, 36), (31, 44, 46), (10, 0, -25))
        hollow = self._blob((-57, -8, 38), (24, 36, 52), (0, 0, -25))
        spleen = np.maximum(np.maximum(whole, -hollow), self._cavity + 1)
        signal = self._texture(self._tone["spleen"], 0.045, 24)
        self._canvas.paint(spleen, signal, LABEL_NAMES["spleen"])

    def _kidneys(self) -> None:
        for side, height in ((1, -34), (-1, -22)):
            whole = self._blob((side * 68, -48, height), (27, 24, 48), (-8, side * 12, side * 25))
            hilum = self._blob((side * 42, -34, height), (15, 11, 15), (0, 0, 0))
            kidney = np.maximum(np.maximum(whole, -hilum), self._cavity + 1)
            depth = np.clip((-whole - 6) / 5, 0, 1) + 0.15 * self._wobble(1.0, 18)
            signal = self._tone["cortex"] * (1 - depth) + self._tone["medulla"] * depth
            self._canvas.paint(kidney, signal.astype(np.float32), LABEL_NAMES["kidney"])

    def _vessels(self) -> None:
        rng, (x, _, z) = self._rng, self._points
        for name, middle, radii in (("vein", 20.0, (13.0, 10.0)), ("aorta", -11.0, (11.5, 11.5))):
            swing = rng.normal(0, 4) * np.sin(z / 60 + rng.uniform(0, 6)) + rng.normal(0, 2.5)
            forward = -27 + rng.normal(0, 2) + 0.02 * z + 3 * np.sin(z / 75 + rng.uniform(0, 6))
            width = float(rng.normal(1.0, 0.08))
            line = ((middle + swing).astype(np.float32), np.asarray(forward, np.float32) + 0 * x)
            vessel = tube(self._points, line, (radii[0] * width, radii[1] * width))
            signal = self._texture(self._tone[name], 0.03)
            self._canvas.paint(vessel, signal, LABEL_NAMES.get(name, 0))
