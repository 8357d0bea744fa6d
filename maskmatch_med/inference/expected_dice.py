"""The Dice that a segmentation may expect by the model's own probabilities, without any reference.

Of each structure k that is segmented, with the segmentation y (the argmax) and the probabilities p, over the voxels of
:func:`~maskmatch_med.inference.region.surroundings` of what is segmented:

    2 sum p_k y_k / (sum p_k + sum y_k)

and of these the mean. It is the Dice of the segmentation with the probabilities in the reference's place: were each
voxel of class k with probability p_k, it would be the ratio of the expected overlap and the expected sizes (not the
expectation of the ratio). The same formula is known as soft Dice confidence (Borges et al., arXiv 2402.10665), there of
one structure and a whole picture; the box and the mean over structures are ours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from maskmatch_med.inference.region import surroundings
from maskmatch_med.inference.temperature import tempered


class SoftOverlap:
    """Sums what the expected Dice is made of, some rows of a scan at a time, so that no map of all classes is held.

    Args:
        labels: (X, ...) uint8, the segmentation.
        classes: K, with the background.
        temperature: of the probabilities.
    """

    def __init__(self, labels: NDArray[np.uint8], classes: int, temperature: float = 1.0) -> None:
        self._labels, self._classes, self._temperature = labels, classes, temperature
        self._box = surroundings(labels > 0)
        self._probable, self._shared, self._segmented = np.zeros((3, classes))

    def add(self, rows: slice, probabilities: NDArray[np.float32]) -> None:
        """Count some rows of the first axis.

        Args:
            rows: which, with start and stop; each row must be added once.
            probabilities: (K, rows, ...), before the temperature.
        """
        first, last = max(rows.start, self._box[0].start), min(rows.stop, self._box[0].stop)
        if first >= last:
            return
        part = probabilities[(slice(None), slice(first - rows.start, last - rows.start), *self._box[1:])]
        part = tempered(part, self._temperature).reshape(self._classes, -1)
        labels = self._labels[(slice(first, last), *self._box[1:])].ravel()
        of_label = np.take_along_axis(part, labels[None].astype(np.intp), axis=0)[0]
        self._probable += part.sum(axis=1, dtype=np.float64)
        self._shared += np.bincount(labels, weights=of_label, minlength=self._classes)
        self._segmented += np.bincount(labels, minlength=self._classes)

    @property
    def expected_dice(self) -> float:
        """0 to 1; 0 where nothing is segmented, as is the Dice with any structure then."""
        found = self._segmented[1:] > 0
        if not found.any():
            return 0.0
        sizes = self._probable[1:] + self._segmented[1:]
        return float((2 * self._shared[1:][found] / sizes[found]).mean())


def expected_dice(probabilities: NDArray[np.float32], temperature: float = 1.0) -> float:
    """The expected Dice of the argmax of some probabilities.

    Args:
        probabilities: (K, X, ...) of a scan, or of its surroundings of what is segmented.
        temperature: scales them.

    Returns:
        0 to 1, see :attr:`SoftOverlap.expected_dice`.
    """
    labels = probabilities.argmax(axis=0).astype(np.uint8)
    overlap = SoftOverlap(labels, probabilities.shape[0], temperature)
    overlap.add(slice(0, labels.shape[0]), probabilities)
    return overlap.expected_dice
