"""Further scores that a config may ask for by name, ``evaluation.metrics=[cohen_kappa]``.

Those that every run has stand in evaluation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.config.registry import register_metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@register_metric("balanced_accuracy")
def balanced_accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.uint8]) -> float:
    """Returns the mean recall over the classes that have images."""
    from sklearn.metrics import balanced_accuracy_score

    return float(balanced_accuracy_score(labels, probabilities.argmax(axis=1)))


@register_metric("cohen_kappa")
def cohen_kappa(probabilities: NDArray[np.float32], labels: NDArray[np.uint8]) -> float:
    """Returns how far predictions agree with labels beyond chance (Cohen, 1960)."""
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(labels, probabilities.argmax(axis=1)))


@register_metric("matthews_corrcoef")
def matthews_corrcoef(probabilities: NDArray[np.float32], labels: NDArray[np.uint8]) -> float:
    """Returns the correlation of predictions and labels (Matthews, 1975; Gorodkin, 2004)."""
    from sklearn.metrics import matthews_corrcoef as correlation

    return float(correlation(labels, probabilities.argmax(axis=1)))
