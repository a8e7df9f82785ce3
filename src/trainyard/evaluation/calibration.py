"""Measures calibration: whether predictions with a confidence of 90 % are correct in 90 % of the cases.

The expected calibration error (ECE) follows Naeini et al. (2015) and Guo et al. (2017): predictions are sorted by
confidence into bins of equal width. The ECE is the gap between mean confidence and accuracy, averaged over all images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Calibration:
    """Confidence and accuracy in bins of confidence. Both are NaN in a bin without predictions.

    Attributes:
        edges: float64 (bins + 1,), from 0 to 1. A bin includes its upper edge.
        counts: int64 (bins,), the number of predictions in each bin.
        confidence: float64 (bins,), the mean probability of the predicted class, 0..1.
        accuracy: float64 (bins,), the fraction of correct predictions, 0..1.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def error(self) -> float:
        """The expected calibration error, 0..1."""
        nonempty = self.counts > 0
        gaps = np.abs(self.accuracy[nonempty] - self.confidence[nonempty])
        return float(gaps @ self.counts[nonempty] / self.counts.sum())


def measure_calibration(confidence: NDArray[np.float32], correct: NDArray[np.bool_], bins: int) -> Calibration:
    """Sorts predictions into bins of equal width by confidence, and computes mean confidence and accuracy of each bin.

    `confidence`, float (n,), is the probability of the predicted class, 0..1; `correct`, bool (n,), is whether that
    class is the label.
    """
    edges = np.arange(bins + 1) / bins
    # float32(0.6) is above the float64 0.6, so the edges are rounded like the confidences
    index = np.clip(np.searchsorted(edges.astype(confidence.dtype), confidence, side="left") - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    sums = (np.bincount(index, weights=values.astype(np.float64), minlength=bins) for values in (confidence, correct))
    means = (np.divide(total, counts, out=np.full(bins, np.nan), where=counts > 0) for total in sums)
    return Calibration(edges, counts, *means)
