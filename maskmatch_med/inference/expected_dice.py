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

from maskmatch_med.inference.region import MARGIN_VOX, surroundings
from maskmatch_med.inference.temperature import tempered


class SoftOverlap:
    """Sums what the expected Dice is made of, row after row of a scan, so that no map of all classes is held.

    Where the box begins and ends is known only at the end. Held are therefore sums over rows, of each class and place
    in the cross-section: of the rows that are in the box for certain, of those since the last segmented voxel,
    which are in it if another follows, and the last few before the first.

    Args:
        classes: K, with the background.
    """

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._shared, self._segmented = np.zeros((2, classes))
        self._inside: NDArray[np.float64] | None = None
        self._since: list[NDArray[np.float64]] = []
        self._found: NDArray[np.bool_] | None = None

    def add(self, labels: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> None:
        """Count the next rows.

        Args:
            labels: (rows, ...) uint8, the segmentation.
            probabilities: (K, rows, ...).
        """
        for row, segmented in enumerate(labels):
            self._since.append(probabilities[:, row].astype(np.float64))
            if segmented.any():
                self._enter(segmented, probabilities[:, row])
            elif self._inside is None:
                del self._since[:-MARGIN_VOX]
            elif len(self._since) > MARGIN_VOX + 1:  # the first MARGIN_VOX are in the box whatever follows
                last = self._since.pop()
                self._since[-1] += last

    def _enter(self, segmented: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> None:
        places = segmented > 0
        if self._inside is None or self._found is None:
            self._inside, self._found = np.zeros(probabilities.shape), np.zeros(places.shape, dtype=bool)
        for row in self._since:
            self._inside += row
        self._since.clear()
        self._found |= places
        labels = segmented.ravel()
        of_label = np.take_along_axis(probabilities.reshape(self._classes, -1), labels[None].astype(np.intp), axis=0)[0]
        self._shared += np.bincount(labels, weights=of_label, minlength=self._classes)
        self._segmented += np.bincount(labels, minlength=self._classes)

    @property
    def expected_dice(self) -> float:
        """0 to 1; 0 where nothing is segmented, as is the Dice with any structure then."""
        if self._inside is None or self._found is None:
            return 0.0
        box = surroundings(self._found)
        inside = self._inside[(slice(None), *box)] + sum(row[(slice(None), *box)] for row in self._since[:MARGIN_VOX])
        probable = inside.reshape(self._classes, -1).sum(axis=1)
        found = self._segmented[1:] > 0
        sizes = probable[1:] + self._segmented[1:]
        return float((2 * self._shared[1:][found] / sizes[found]).mean())


def expected_dice(probabilities: NDArray[np.float32], temperature: float = 1.0) -> float:
    """The expected Dice of the argmax of some probabilities.

    Args:
        probabilities: (K, X, ...) of a scan, or of its surroundings of what is segmented.
        temperature: scales them.

    Returns:
        0 to 1, see :attr:`SoftOverlap.expected_dice`.
    """
    overlap = SoftOverlap(probabilities.shape[0])
    overlap.add(probabilities.argmax(axis=0).astype(np.uint8), tempered(probabilities, temperature))
    return overlap.expected_dice
