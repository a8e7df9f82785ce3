"""Evaluates a trained model on the test images: predictions, metrics, confusion matrix, mistakes.

The metrics are computed by scikit-learn. The loss is the cross-entropy of the predicted probabilities. It does not
include regularization penalties (L2), label smoothing or class weights, which a training loss may include.

Scores whose denominator is 0 follow scikit-learn. Precision is 0 for a class that has test images but is never
predicted. For a class without test images, recall and F1 are undefined, and so is precision unless the class is
predicted. Undefined scores are NaN and are left out of averages, as with ``zero_division=np.nan`` in scikit-learn.
"""

from __future__ import annotations

import re
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainyard.config import EvaluationConfig, get_registered_metrics
from trainyard.data import DataSpec, Split, compute_inference_batch_size
from trainyard.errors import TrainingError, summarize_error
from trainyard.evaluation.calibration import Calibration, measure_calibration

if TYPE_CHECKING:
    import keras

MAX_LISTED_CLASSES = 100
"""Maximum number of classes whose scores are logged as metrics and printed. Tables and reports list all classes."""
_MAX_NAMES = 10
"""Maximum number of class names in a message."""


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Precision, recall and F1, each 0..1, and the number of images of one class or of an average over classes.

    A score is NaN if it is undefined, because the class has no images.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


class UndefinedMetric(NamedTuple):
    """Why a metric of `evaluation.metrics` has no value, and the traceback if its function raised an exception."""

    reason: str
    traceback: str = ""


class _ComputedMetric(NamedTuple):
    """A metric of `evaluation.metrics`: its value, or why it has none, and the Python warnings of its function."""

    value: float | UndefinedMetric
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class PredictionScores:
    """The predicted classes of labelled images, and the scores computed from them.

    Attributes:
        predicted: (n,), the most probable class of each image; uint8, or uint16 if there are more than 256 classes.
        actual: uint8 or uint16 (n,), the labels.
        confidence: float32 (n,), the probability of the predicted class of each image, 0..1.
        loss: Mean cross-entropy, in nats.
        per_class: The scores of each class, in label order.
        macro: The unweighted mean over the classes for which the score is defined.
        weighted: The mean over classes, weighted by support.
        confusion: int64 (classes, classes). Rows are actual classes, columns are predicted classes.
        extra_metrics: The metrics selected by `evaluation.metrics`, by name, except undefined ones.
    """

    predicted: NDArray[np.unsignedinteger]
    actual: NDArray[np.unsignedinteger]
    confidence: NDArray[np.float32]
    loss: float
    accuracy: float
    per_class: list[ClassScores]
    macro: ClassScores
    weighted: ClassScores
    confusion: NDArray[np.int64]
    calibration: Calibration
    extra_metrics: dict[str, float]

    @property
    def classes_without_images(self) -> list[str]:
        """The names of the classes that have no test images, in label order."""
        return [scores.name for scores in self.per_class if not scores.support]

    def mistakes(self, count: int) -> NDArray[np.intp]:
        """Returns the indices of at most `count` wrong predictions, the most confident first."""
        wrong = np.flatnonzero(self.predicted != self.actual)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")][:count]

    def describe_absent_classes(self) -> str:
        """Returns a message about the classes without test images; empty if every class has some."""
        absent = self.classes_without_images
        if not absent:
            return ""
        names = ", ".join(absent[:_MAX_NAMES])
        more = f" and {len(absent) - _MAX_NAMES:,} more" if len(absent) > _MAX_NAMES else ""
        return (
            f"no test images of {len(absent):,} of {len(self.per_class):,} classes: {names}{more}. Their recall and F1 "
            "and the ROC AUC are undefined: they are not logged, and the averages do not include them"
        )


@dataclass(frozen=True, slots=True)
class EvalResult(PredictionScores):
    """The predictions of a model on labelled images, and the metrics computed from them.

    Attributes:
        probabilities: float32 (n, classes), 0..1.
        report: The classification report in scikit-learn's layout with two decimals, as the published baseline has it.
        top_k: The number of most probable classes that top-k accuracy considers. None if the data has no more classes.
        top_k_accuracy: The fraction of images whose label is among the `top_k` most probable classes, 0..1, or None.
        roc_auc: The area under the ROC curve, one class against the rest, averaged over classes. None if a class has
            no image.
        extra_metrics: The metrics selected by `evaluation.metrics`, by name, except undefined ones.
        undefined_metrics: Those that are undefined for these predictions, or whose function failed, by name.
    """

    probabilities: NDArray[np.float32]
    report: str
    top_k: int | None
    top_k_accuracy: float | None
    roc_auc: float | None
    undefined_metrics: dict[str, UndefinedMetric]
    metric_warnings: dict[str, list[str]]

    def metrics(self) -> dict[str, float]:
        """Returns the metrics by the names under which they are logged, without undefined ones.

        With more than `MAX_LISTED_CLASSES` classes, the metrics of single classes are left out.
        """
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
        return metrics | self._collect_class_metrics()

    def _collect_class_metrics(self) -> dict[str, float]:
        """Returns the defined scores of single classes by their logged names; none if there are too many classes."""
        if len(self.per_class) > MAX_LISTED_CLASSES:
            return {}
        names = _build_metric_names([scores.name for scores in self.per_class])
        return {
            f"{quantity}_by_class/{name}": value
            for name, scores in zip(names, self.per_class, strict=True)
            for quantity in ("f1", "precision", "recall")
            if not np.isnan(value := getattr(scores, quantity))
        }


def _build_metric_names(class_names: Sequence[str]) -> list[str]:
    """Replaces characters in class names that MLflow does not allow in metric names. Equal names get their label added.

    MLflow allows a slash, but it would start a new section in the UI, so it is replaced too.
    """
    names = [re.sub(r"[^\w\-. ]|\.\.", "_", name) for name in class_names]
    return [f"{name} {label}" if names.count(name) > 1 else name for label, name in enumerate(names)]


def evaluate(model: keras.Model, split: Split, spec: DataSpec, config: EvaluationConfig | None = None) -> EvalResult:
    """Predicts the classes of images and computes the metrics.

    The model's input is what `DataSpec.scale` returns; its output is probabilities. Without a config, the default
    metrics are computed.
    """
    return score_predictions(predict(model, split.images, spec), split.labels, spec, config)


def predict(model: keras.Model, images: NDArray[np.uint8], spec: DataSpec) -> NDArray[np.float32]:
    """Returns the predicted probabilities, float32 (n, classes), 0..1, of raw pixels, uint8 (n, *image_shape)."""
    size = compute_inference_batch_size(images.shape[1:])
    parts = [
        np.asarray(model.predict_on_batch(spec.scale(images[start : start + size])))
        for start in range(0, len(images), size)
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
        TrainingError: If a probability is not finite.
    """
    from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, top_k_accuracy_score

    if invalid := int((~np.isfinite(probabilities)).any(axis=1).sum()):
        raise TrainingError(
            f"evaluation: expected finite probabilities, got NaN or infinity for {invalid:,} of {len(actual):,} test "
            "images. Use a smaller learning rate"
        )
    config = config or EvaluationConfig()
    labels = list(range(spec.classes))
    normalised = probabilities.astype(np.float64) / probabilities.sum(axis=1, dtype=np.float64, keepdims=True)
    predicted = probabilities.argmax(axis=1).astype(np.min_scalar_type(spec.classes - 1))
    confidence = np.asarray(probabilities.max(axis=1))
    per_class, macro, weighted = _score_classes(actual, predicted, spec)
    accuracy = float(accuracy_score(actual, predicted))
    top_k = config.top_k if config.top_k < spec.classes else None
    computed = {name: _compute_metric(name, probabilities, actual) for name in config.metrics}
    return EvalResult(
        predicted=predicted,
        actual=actual,
        confidence=confidence,
        loss=float(log_loss(actual, normalised, labels=labels)),
        accuracy=accuracy,
        per_class=per_class,
        macro=macro,
        weighted=weighted,
        confusion=confusion_matrix(actual, predicted, labels=labels),
        calibration=measure_calibration(confidence, predicted == actual, config.calibration_bins),
        probabilities=probabilities,
        report=_render_report(per_class, accuracy, macro, weighted),
        top_k=top_k,
        top_k_accuracy=float(top_k_accuracy_score(actual, normalised, k=top_k, labels=labels)) if top_k else None,
        roc_auc=_roc_auc(normalised, actual),
        extra_metrics={name: metric.value for name, metric in computed.items() if isinstance(metric.value, float)},
        undefined_metrics={
            name: metric.value for name, metric in computed.items() if isinstance(metric.value, UndefinedMetric)
        },
        metric_warnings={name: metric.warnings for name, metric in computed.items() if metric.warnings},
    )


def _score_classes(
    actual: NDArray[np.unsignedinteger], predicted: NDArray[np.unsignedinteger], spec: DataSpec
) -> tuple[list[ClassScores], ClassScores, ClassScores]:
    """Returns the scores of each class, their unweighted mean and their mean weighted by support."""
    from sklearn.metrics import precision_recall_fscore_support

    arguments: dict[str, Any] = {"labels": list(range(spec.classes)), "zero_division": 0.0}
    precision, recall, f1, support = precision_recall_fscore_support(actual, predicted, **arguments)
    weighted = precision_recall_fscore_support(actual, predicted, average="weighted", **arguments)
    absent = support == 0
    recall[absent] = f1[absent] = np.nan
    precision[absent & (np.bincount(predicted, minlength=spec.classes) == 0)] = np.nan
    columns = (precision, recall, f1)
    rows = zip(spec.class_names, *(column.tolist() for column in columns), support.astype(int).tolist(), strict=True)
    macro = [float(np.nanmean(column)) for column in columns]
    return (
        [ClassScores(*row) for row in rows],
        ClassScores("macro avg", macro[0], macro[1], macro[2], len(actual)),
        ClassScores("weighted avg", float(weighted[0]), float(weighted[1]), float(weighted[2]), len(actual)),
    )


def _render_report(per_class: Sequence[ClassScores], accuracy: float, macro: ClassScores, weighted: ClassScores) -> str:
    """Returns the report that scikit-learn's `classification_report` prints; undefined scores are ``nan``.

    `classification_report` can either show the undefined scores of absent classes, or a precision of 0 for classes
    that are never predicted, but not both.
    """
    width = max(len(row.name) for row in (*per_class, weighted))

    def render_row(row: ClassScores) -> str:
        values = "".join(f" {value:>9.2f}" for value in (row.precision, row.recall, row.f1))
        return f"{row.name:>{width}} {values} {row.support:>9}\n"

    titles = "".join(f" {title:>9}" for title in ("precision", "recall", "f1-score", "support"))
    rows = "".join(map(render_row, per_class))
    total = f"{'accuracy':>{width}} {'':20} {accuracy:>9.2f} {macro.support:>9}\n"
    return f"{'':{width}} {titles}\n\n{rows}\n{total}{render_row(macro)}{render_row(weighted)}"


def _compute_metric(
    name: str, probabilities: NDArray[np.float32], actual: NDArray[np.unsignedinteger]
) -> _ComputedMetric:
    """Computes a registered metric. Its warnings, for example of scikit-learn, are recorded instead of printed."""
    with warnings.catch_warnings(record=True) as recorded:
        value = _call_metric(name, probabilities, actual)
    messages = [f"{item.category.__name__}: {' '.join(str(item.message).split())}" for item in recorded]
    return _ComputedMetric(value, list(dict.fromkeys(messages)))


def _call_metric(
    name: str, probabilities: NDArray[np.float32], actual: NDArray[np.unsignedinteger]
) -> float | UndefinedMetric:
    """Returns a registered metric, or why it has no value: a metric must not fail a model that is trained."""
    try:
        value = float(get_registered_metrics()[name](probabilities, actual))
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - the functions of users may raise anything
        return UndefinedMetric(f"failed: {type(error).__name__}: {summarize_error(error)}", traceback.format_exc())
    return value if np.isfinite(value) else UndefinedMetric(f"is undefined for these predictions: {value}")


def _roc_auc(probabilities: NDArray[np.float64], actual: NDArray[np.unsignedinteger]) -> float | None:
    """Returns the macro average of the one-vs-rest areas under the ROC curve, or None if a class has no image."""
    from sklearn.metrics import roc_auc_score

    classes = probabilities.shape[1]
    if len(np.unique(actual)) < classes:
        return None
    if classes == 2:  # noqa: PLR2004 - with two classes, both areas are equal
        return float(roc_auc_score(actual, probabilities[:, 1]))
    return float(roc_auc_score(actual, probabilities, multi_class="ovr"))
