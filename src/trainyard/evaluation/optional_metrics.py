"""Additional test metrics, which a config selects by name: ``evaluation.metrics=[cohen_kappa]``.

The metrics that are always computed are in `scoring`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainyard.config import register_metric

if TYPE_CHECKING:
    from numpy.typing import NDArray


@register_metric("balanced_accuracy")
def balanced_accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.unsignedinteger]) -> float:
    """Returns the mean recall of the classes that have images in the test set, 0..1."""
    from sklearn.metrics import recall_score  # balanced_accuracy_score warns of predicted classes without test images

    predicted, present = probabilities.argmax(axis=1), np.unique(labels)
    return float(recall_score(labels, predicted, labels=present, average="macro", zero_division=0.0))


@register_metric("cohen_kappa")
def cohen_kappa(probabilities: NDArray[np.float32], labels: NDArray[np.unsignedinteger]) -> float:
    """Returns Cohen's kappa: the agreement of predictions and labels, corrected for chance, -1..1 (Cohen, 1960).

    It is NaN, because it is undefined, if all labels and predictions are the same class.
    """
    from sklearn.metrics import cohen_kappa_score

    predicted = probabilities.argmax(axis=1)
    return float("nan") if _is_one_class(labels, predicted) else float(cohen_kappa_score(labels, predicted))


@register_metric("matthews_corrcoef")
def matthews_corrcoef(probabilities: NDArray[np.float32], labels: NDArray[np.unsignedinteger]) -> float:
    """Returns the Matthews correlation of predictions and labels, -1..1 (Matthews, 1975; Gorodkin, 2004).

    It is 0 if all labels or all predictions are the same class.
    """
    from sklearn.metrics import matthews_corrcoef as correlation

    predicted = probabilities.argmax(axis=1)
    return 0.0 if _is_one_class(labels, predicted) else float(correlation(labels, predicted))


def _is_one_class(labels: NDArray[np.unsignedinteger], predicted: NDArray[np.intp]) -> bool:
    """Returns whether all labels and predictions are the same class, for which scikit-learn's functions warn."""
    return len(np.union1d(labels, predicted)) == 1
