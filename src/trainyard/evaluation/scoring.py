"""Evaluates a trained model on the test images: predictions, metrics, confusion matrix, mistakes.

The metrics are computed by scikit-learn. The loss is the cross-entropy of the predicted probabilities. It does not
include regularization penalties (L2), label smoothing or class weights, which a training loss may include.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainyard.config import EvaluationConfig, get_registered_metrics
from trainyard.data import DataSpec, Split
from trainyard.errors import TrainingError, summarize_error
from trainyard.evaluation.calibration import Calibration, measure_calibration

if TYPE_CHECKING:
    import keras

PREDICT_BATCH = 1024
"""Images per forward pass. Large enough to be fast; small, because a batch is converted to float32."""


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Precision, recall and F1, each 0..1, and the number of images of one class or of an average over classes."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class EvalResult:
    """The predictions of a model on labelled images, and the metrics computed from them.

    Attributes:
        probabilities: float32 (n, classes), 0..1.
        predicted: (n,), the most probable class of each image; uint8, or uint16 if there are more than 256 classes.
        actual: uint8 or uint16 (n,), the labels.
        loss: Mean cross-entropy, in nats.
        per_class: The scores of each class, in label order.
        macro: The unweighted mean over classes.
        weighted: The mean over classes, weighted by support.
        confusion: int64 (classes, classes). Rows are actual classes, columns are predicted classes.
        report: scikit-learn's classification report with two decimals, the format of the published baseline.
        top_k: The number of most probable classes that top-k accuracy considers. None if the data has no more classes.
        top_k_accuracy: The fraction of images whose label is among the `top_k` most probable classes, 0..1, or None.
        roc_auc: The area under the ROC curve, one class against the rest, averaged over classes. None if a class has
            no image.
        extra_metrics: The metrics selected by `evaluation.metrics`, by name.
    """

    probabilities: NDArray[np.float32]
    predicted: NDArray[np.unsignedinteger]
    actual: NDArray[np.unsignedinteger]
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
    extra_metrics: dict[str, float]

    @property
    def confidence(self) -> NDArray[np.float32]:
        """The probability of the predicted class of each image: float32 (n,), 0..1."""
        return np.asarray(self.probabilities.max(axis=1))

    def mistakes(self, count: int) -> NDArray[np.intp]:
        """Returns the indices of at most `count` wrong predictions, the most confident first."""
        wrong = np.flatnonzero(self.predicted != self.actual)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")][:count]

    def metrics(self) -> dict[str, float]:
        """Returns all metrics by the names under which they are logged."""
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
        metrics |= {f"{name}/test": value for name, value in self.extra_metrics.items()}
        names = _build_metric_names([scores.name for scores in self.per_class])
        for name, scores in zip(names, self.per_class, strict=True):
            for quantity in ("f1", "precision", "recall"):
                metrics[f"{quantity}_by_class/{name}"] = getattr(scores, quantity)
        return metrics


def _build_metric_names(class_names: Sequence[str]) -> list[str]:
    """Replaces characters in class names that MLflow does not allow in metric names. Equal names get their label added.

    MLflow allows a slash, but it would start a new section in the UI, so it is replaced too.
    """
    names = [re.sub(r"[^\w\-. ]|\.\.", "_", name) for name in class_names]
    return [f"{name} {label}" if names.count(name) > 1 else name for label, name in enumerate(names)]


def evaluate(model: keras.Model, split: Split, spec: DataSpec, config: EvaluationConfig | None = None) -> EvalResult:
    """Predicts the classes of images and computes the metrics. The scores of a class without images are 0.

    The model's input is what `DataSpec.scale` returns; its output is probabilities. Without a config, the default
    metrics are computed.
    """
    return score_predictions(predict(model, split.images, spec), split.labels, spec, config)


def predict(model: keras.Model, images: NDArray[np.uint8], spec: DataSpec) -> NDArray[np.float32]:
    """Returns the predicted probabilities, float32 (n, classes), 0..1, of raw pixels, uint8 (n, *image_shape)."""
    parts = [
        np.asarray(model.predict_on_batch(spec.scale(images[start : start + PREDICT_BATCH])))
        for start in range(0, len(images), PREDICT_BATCH)
    ]
    return np.concatenate(parts)


def score_predictions(
    probabilities: NDArray[np.float32],
    actual: NDArray[np.unsignedinteger],
    spec: DataSpec,
    config: EvaluationConfig | None = None,
) -> EvalResult:
    """Computes the metrics of predicted probabilities, float32 (n, classes), 0..1, and labels, integers (n,).

    Raises:
        TrainingError: If a metric of `evaluation.metrics` fails or does not return a finite number.
    """
    from sklearn.metrics import (
        accuracy_score,
        classification_report,
        confusion_matrix,
        log_loss,
        precision_recall_fscore_support,
        top_k_accuracy_score,
    )

    config = config or EvaluationConfig()
    labels = list(range(spec.classes))
    predicted = probabilities.argmax(axis=1).astype(np.min_scalar_type(spec.classes - 1))
    arguments: dict[str, Any] = {"labels": labels, "zero_division": 0.0}
    columns = (values.tolist() for values in precision_recall_fscore_support(actual, predicted, **arguments))

    def average_scores(average: str) -> ClassScores:
        precision, recall, f1, _ = precision_recall_fscore_support(actual, predicted, average=average, **arguments)
        return ClassScores(f"{average} avg", float(precision), float(recall), float(f1), len(actual))

    normalised = probabilities.astype(np.float64) / probabilities.sum(axis=1, dtype=np.float64, keepdims=True)
    top_k = config.top_k if config.top_k < spec.classes else None
    return EvalResult(
        probabilities=probabilities,
        predicted=predicted,
        actual=actual,
        loss=float(log_loss(actual, normalised, labels=labels)),
        accuracy=float(accuracy_score(actual, predicted)),
        per_class=[ClassScores(*row) for row in zip(spec.class_names, *columns, strict=True)],
        macro=average_scores("macro"),
        weighted=average_scores("weighted"),
        confusion=confusion_matrix(actual, predicted, labels=labels),
        report=str(classification_report(actual, predicted, target_names=spec.class_names, digits=2, **arguments)),
        top_k=top_k,
        top_k_accuracy=float(top_k_accuracy_score(actual, normalised, k=top_k, labels=labels)) if top_k else None,
        roc_auc=_roc_auc(normalised, actual),
        calibration=measure_calibration(probabilities.max(axis=1), predicted == actual, config.calibration_bins),
        extra_metrics={name: _compute_metric(name, probabilities, actual) for name in config.metrics},
    )


def _compute_metric(name: str, probabilities: NDArray[np.float32], actual: NDArray[np.unsignedinteger]) -> float:
    """Returns a registered metric. Raises TrainingError if it fails or does not return a finite number."""
    try:
        value = float(get_registered_metrics()[name](probabilities, actual))
    except Exception as error:
        raise TrainingError(
            f"evaluation.metrics: {name} failed: {type(error).__name__}: {summarize_error(error)}"
        ) from error
    if not np.isfinite(value):
        raise TrainingError(f"evaluation.metrics: expected {name} to return a finite number, got {value}")
    return value


def _roc_auc(probabilities: NDArray[np.float64], actual: NDArray[np.unsignedinteger]) -> float | None:
    """Returns the macro average of the one-vs-rest areas under the ROC curve, or None if a class has no image."""
    from sklearn.metrics import roc_auc_score

    classes = probabilities.shape[1]
    if len(np.unique(actual)) < classes:
        return None
    if classes == 2:  # noqa: PLR2004 - with two classes, both areas are equal
        return float(roc_auc_score(actual, probabilities[:, 1]))
    return float(roc_auc_score(actual, probabilities, multi_class="ovr"))
