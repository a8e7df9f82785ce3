"""Additional test metrics, which a config selects by name: ``evaluation.metrics=[cohen_kappa]``.

The metrics that are always computed are in `scoring`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.config import register_metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@register_metric("balanced_accuracy")
def balanced_accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.unsignedinteger]) -> float:
    """Returns the mean recall of the classes that have images in the test set, 0..1."""
    from sklearn.metrics import balanced_accuracy_score

    return float(balanced_accuracy_score(labels, probabilities.argmax(axis=1)))


@register_metric("cohen_kappa")
def cohen_kappa(probabilities: NDArray[np.float32], labels: NDArray[np.unsignedinteger]) -> float:
    """Returns Cohen's kappa: the agreement of predictions and labels, corrected for chance, -1..1 (Cohen, 1960)."""
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(labels, probabilities.argmax(axis=1)))


@register_metric("matthews_corrcoef")
def matthews_corrcoef(probabilities: NDArray[np.float32], labels: NDArray[np.unsignedinteger]) -> float:
    """Returns the Matthews correlation of predictions and labels, -1..1 (Matthews, 1975; Gorodkin, 2004)."""
    from sklearn.metrics import matthews_corrcoef as correlation

    return float(correlation(labels, probabilities.argmax(axis=1)))
