"""Whether a model's confidence can be taken at its word: of what it is 90 % sure of, is 90 % right?

The expected calibration error is that of Naeini et al. (2015) as Guo et al. (2017) use it: predictions are sorted into
bins of equal width by their confidence, and the gap between mean confidence and accuracy is averaged over all images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Calibration:
    """Confidence against accuracy, bin by bin. A bin without an image has NaN in both.

    Attributes:
        edges: float64 (bins + 1,), from 0 to 1; a bin holds its upper edge.
        counts: int64 (bins,), predictions in each.
        confidence: float64 (bins,), their mean probability of the predicted class.
        accuracy: float64 (bins,), the share of them that is right.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def error(self) -> float:
        """The expected calibration error, 0 to 1."""
        held = self.counts > 0
        gaps = np.abs(self.accuracy[held] - self.confidence[held])
        return float(gaps @ self.counts[held] / self.counts.sum())


def calibrate(confidence: NDArray[np.float32], right: NDArray[np.bool_], bins: int) -> Calibration:
    """Sorts predictions into bins by their confidence.

    Args:
        confidence: float (n,), the probability of each predicted class.
        right: bool (n,), whether it is the actual one.
        bins: How many, of equal width.
    """
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    sums = (np.bincount(place, weights=values.astype(np.float64), minlength=bins) for values in (confidence, right))
    means = (np.divide(total, counts, out=np.full(bins, np.nan), where=counts > 0) for total in sums)
    return Calibration(edges, counts, *means)
