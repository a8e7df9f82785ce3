"""What a trained model is worth on images it has not seen: predictions, metrics, confusion matrix, mistakes.

The metrics are scikit-learn's. The loss is the plain cross-entropy of the predicted probabilities, without the
penalties (L2) that a training loss may hold.

Before it: images. After it: plots and report, which draw it, and run, which logs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainyard.images import DataSpec, Split

if TYPE_CHECKING:
    import keras

PREDICT_BATCH = 1024
"""Images per forward pass; large enough to be fast, small enough that only so many are floats at a time."""


@dataclass(frozen=True, slots=True)
class ClassScores:
    """How well one class was told from the others, each in 0..1; `support` counts its images."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class EvalResult:
    """The predictions of a model on labelled images, and what follows from them.

    Attributes:
        probabilities: float32 (n, classes).
        predicted: uint8 (n,), the most probable class of each image.
        actual: uint8 (n,), the labels.
        loss: Mean cross-entropy, in nats.
        accuracy: The share of images whose most probable class is their label.
        per_class: One entry per class, in label order.
        macro: The plain mean over classes.
        weighted: The mean over classes, weighted by support.
        confusion: int (classes, classes); row: actual, column: predicted.
        report: scikit-learn's classification report with two decimals, as the baseline was published.
    """

    probabilities: NDArray[np.float32]
    predicted: NDArray[np.uint8]
    actual: NDArray[np.uint8]
    loss: float
    accuracy: float
    per_class: list[ClassScores]
    macro: ClassScores
    weighted: ClassScores
    confusion: NDArray[np.int64]
    report: str

    @property
    def confidence(self) -> NDArray[np.float32]:
        """The probability of each predicted class: float32 (n,)."""
        return np.asarray(self.probabilities.max(axis=1))

    def mistakes(self, count: int) -> NDArray[np.intp]:
        """Returns the indices of at most `count` wrong predictions, the most confident first."""
        wrong = np.flatnonzero(self.predicted != self.actual)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")][:count]

    def metrics(self) -> dict[str, float]:
        """Returns the scores under the names they are logged by."""
        metrics = {
            "loss/test": self.loss,
            "accuracy/test": self.accuracy,
            "f1_macro/test": self.macro.f1,
            "precision_macro/test": self.macro.precision,
            "recall_macro/test": self.macro.recall,
        }
        for scores in self.per_class:
            for quantity in ("f1", "precision", "recall"):
                metrics[f"{quantity}_by_class/{scores.name}"] = getattr(scores, quantity)
        return metrics


def evaluate(model: keras.Model, split: Split, spec: DataSpec) -> EvalResult:
    """Predicts the images and scores the predictions.

    Args:
        model: Takes images scaled to 0..1, returns probabilities.
        split: The images to predict; may lack a class, whose scores are 0 with support 0.
        spec: The classes, and how to scale.

    Returns:
        The predictions and their scores.
    """
    return score(predict(model, split.images, spec), split.labels, spec)


def predict(model: keras.Model, images: NDArray[np.uint8], spec: DataSpec) -> NDArray[np.float32]:
    """Predicts raw images.

    Args:
        model: Takes images scaled to 0..1.
        images: uint8 (n, *image_shape), raw pixels.
        spec: How to scale.

    Returns:
        Probabilities, float32 (n, classes).
    """
    table = spec.scale_table()
    parts = [
        np.asarray(model.predict_on_batch(table[images[start : start + PREDICT_BATCH]]))
        for start in range(0, len(images), PREDICT_BATCH)
    ]
    return np.concatenate(parts)


def score(probabilities: NDArray[np.float32], actual: NDArray[np.uint8], spec: DataSpec) -> EvalResult:
    """Scores predictions against labels.

    Args:
        probabilities: float32 (n, classes).
        actual: uint8 (n,), the labels.
        spec: The classes.

    Returns:
        The predictions and their scores.
    """
    from sklearn.metrics import accuracy_score, classification_report, confusion_matrix, log_loss

    labels = list(range(spec.classes))
    predicted = probabilities.argmax(axis=1).astype(np.uint8)
    arguments: dict[str, Any] = {"labels": labels, "target_names": spec.class_names, "zero_division": 0.0}
    table = classification_report(actual, predicted, output_dict=True, **arguments)

    def scores(name: str) -> ClassScores:
        row = table[name]
        return ClassScores(name, row["precision"], row["recall"], row["f1-score"], int(row["support"]))

    normalised = probabilities.astype(np.float64) / probabilities.sum(axis=1, dtype=np.float64, keepdims=True)
    return EvalResult(
        probabilities=probabilities,
        predicted=predicted,
        actual=actual,
        loss=float(log_loss(actual, normalised, labels=labels)),
        accuracy=float(accuracy_score(actual, predicted)),
        per_class=[scores(name) for name in spec.class_names],
        macro=scores("macro avg"),
        weighted=scores("weighted avg"),
        confusion=confusion_matrix(actual, predicted, labels=labels),
        report=str(classification_report(actual, predicted, digits=2, **arguments)),
    )
