"""What a trained model is worth on images it has not seen: predictions, metrics, confusion matrix, mistakes.

The metrics are scikit-learn's. The loss is the plain cross-entropy of the predicted probabilities, without the
penalties (L2) that a training loss may hold.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainyard.config.registry import registered_metrics
from trainyard.config.sections import EvaluationConfig
from trainyard.data.dataset import DataSpec, Split
from trainyard.errors import TrainingError, in_one_line
from trainyard.evaluation.calibration import Calibration, calibrate

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
        top_k: How many most probable classes were looked at; None where there are no more than that.
        top_k_accuracy: The share of images whose label is among them.
        roc_auc: The area under the ROC curve, each class against the rest, mean over classes; None where a class has no
            image.
        calibration: Confidence against accuracy.
        further: The metrics that the config asked for, by name.
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
    top_k: int | None
    top_k_accuracy: float | None
    roc_auc: float | None
    calibration: Calibration
    further: dict[str, float]

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
            "ece/test": self.calibration.error,
        }
        if self.top_k_accuracy is not None:
            metrics[f"accuracy_top{self.top_k}/test"] = self.top_k_accuracy
        if self.roc_auc is not None:
            metrics["roc_auc/test"] = self.roc_auc
        metrics |= {f"{name}/test": value for name, value in self.further.items()}
        names = _metric_names([scores.name for scores in self.per_class])
        for name, scores in zip(names, self.per_class, strict=True):
            for quantity in ("f1", "precision", "recall"):
                metrics[f"{quantity}_by_class/{name}"] = getattr(scores, quantity)
        return metrics


def _metric_names(class_names: Sequence[str]) -> list[str]:
    """Returns class names as MLflow takes them in the names of metrics; where two become one, with their labels.

    A slash would be taken, and would make a section of its own in MLflow.
    """
    names = [re.sub(r"[^\w\-. ]|\.\.", "_", name) for name in class_names]
    return [f"{name} {label}" if names.count(name) > 1 else name for label, name in enumerate(names)]


def evaluate(model: keras.Model, split: Split, spec: DataSpec, config: EvaluationConfig | None = None) -> EvalResult:
    """Predicts the images and scores the predictions.

    Args:
        model: Takes images as `DataSpec.scale` returns them, returns probabilities.
        split: The images to predict; may lack a class, whose scores are 0 with support 0.
        spec: The classes, and how to scale.
        config: How to score; None: by default.

    Returns:
        The predictions and their scores.
    """
    return score(predict(model, split.images, spec), split.labels, spec, config)


def predict(model: keras.Model, images: NDArray[np.uint8], spec: DataSpec) -> NDArray[np.float32]:
    """Predicts raw images.

    Args:
        model: Takes images as `DataSpec.scale` returns them.
        images: uint8 (n, *image_shape), raw pixels.
        spec: How to scale.

    Returns:
        Probabilities, float32 (n, classes).
    """
    parts = [
        np.asarray(model.predict_on_batch(spec.scale(images[start : start + PREDICT_BATCH])))
        for start in range(0, len(images), PREDICT_BATCH)
    ]
    return np.concatenate(parts)


def score(
    probabilities: NDArray[np.float32],
    actual: NDArray[np.uint8],
    spec: DataSpec,
    config: EvaluationConfig | None = None,
) -> EvalResult:
    """Scores predictions against labels.

    Args:
        probabilities: float32 (n, classes).
        actual: uint8 (n,), the labels.
        spec: The classes.
        config: How to score; None: by default.

    Returns:
        The predictions and their scores.

    Raises:
        TrainingError: If a metric that the config names returns no finite number.
    """
    from sklearn.metrics import accuracy_score, classification_report, confusion_matrix, log_loss

    config = config or EvaluationConfig()
    labels = list(range(spec.classes))
    predicted = probabilities.argmax(axis=1).astype(np.uint8)
    arguments: dict[str, Any] = {"labels": labels, "target_names": spec.class_names, "zero_division": 0.0}
    numbered = arguments | {"target_names": [str(label) for label in labels]}  # a name may be that of another row
    table = classification_report(actual, predicted, output_dict=True, **numbered)

    def scores(name: str, row: str) -> ClassScores:
        found = table[row]
        return ClassScores(name, found["precision"], found["recall"], found["f1-score"], int(found["support"]))

    normalised = probabilities.astype(np.float64) / probabilities.sum(axis=1, dtype=np.float64, keepdims=True)
    top_k = config.top_k if config.top_k < spec.classes else None
    return EvalResult(
        probabilities=probabilities,
        predicted=predicted,
        actual=actual,
        loss=float(log_loss(actual, normalised, labels=labels)),
        accuracy=float(accuracy_score(actual, predicted)),
        per_class=[scores(name, str(label)) for label, name in enumerate(spec.class_names)],
        macro=scores("macro avg", "macro avg"),
        weighted=scores("weighted avg", "weighted avg"),
        confusion=confusion_matrix(actual, predicted, labels=labels),
        report=str(classification_report(actual, predicted, digits=2, **arguments)),
        top_k=top_k,
        top_k_accuracy=_top_k_accuracy(normalised, actual, top_k) if top_k else None,
        roc_auc=_roc_auc(normalised, actual),
        calibration=calibrate(probabilities.max(axis=1), predicted == actual, config.calibration_bins),
        further={name: _measure(name, probabilities, actual) for name in config.metrics},
    )


def _measure(name: str, probabilities: NDArray[np.float32], actual: NDArray[np.uint8]) -> float:
    try:
        value = float(registered_metrics()[name](probabilities, actual))
    except Exception as error:
        raise TrainingError(
            f"evaluation.metrics: {name} failed: {type(error).__name__}: {in_one_line(error)}"
        ) from error
    if not np.isfinite(value):
        raise TrainingError(f"evaluation.metrics: expected {name} to return a finite number, got {value}")
    return value


def _top_k_accuracy(probabilities: NDArray[np.float64], actual: NDArray[np.uint8], top_k: int) -> float:
    from sklearn.metrics import top_k_accuracy_score

    return float(top_k_accuracy_score(actual, probabilities, k=top_k, labels=np.arange(probabilities.shape[1])))


def _roc_auc(probabilities: NDArray[np.float64], actual: NDArray[np.uint8]) -> float | None:
    """Returns the macro mean of the one-against-the-rest areas, or None where a class has no image."""
    from sklearn.metrics import roc_auc_score

    classes = probabilities.shape[1]
    if len(np.unique(actual)) < classes:
        return None
    if classes == 2:  # noqa: PLR2004 - of two classes one area says it all
        return float(roc_auc_score(actual, probabilities[:, 1]))
    return float(roc_auc_score(actual, probabilities, multi_class="ovr"))
