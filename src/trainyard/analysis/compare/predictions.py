"""Compares the predictions of two runs on the same test images: finds the images that only one model gets right."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from trainyard.data import DataSpec
from trainyard.errors import ConfigError, TrainyardError
from trainyard.evaluation import SIGNIFICANCE_LEVEL, compute_mcnemar_p_value
from trainyard.runs import load_test_images
from trainyard.tracking import RunRecord

_FOLDER = "evaluation"
_PREDICTIONS, _MATRIX = "test_predictions.npz", "confusion_matrix.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """The predictions of a run on the test images.

    Attributes:
        class_names: Class names by label.
        actual: True labels, uint8 (n,).
        predicted: Predicted labels, uint8 (n,).
        probability: Probability of the predicted class, float32 (n,), 0 to 1.
    """

    class_names: tuple[str, ...]
    actual: NDArray[np.uint8]
    predicted: NDArray[np.uint8]
    probability: NDArray[np.float32]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each image is classified correctly, bool (n,)."""
        return np.asarray(self.actual == self.predicted)

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Confusion matrix: counts by true class (rows) and predicted class (columns), int64 (classes, classes)."""
        classes = len(self.class_names)
        counts = np.bincount(self.actual.astype(np.int64) * classes + self.predicted, minlength=classes**2)
        return counts.reshape(classes, classes)


@dataclass(frozen=True, slots=True)
class ClassDiff:
    """The numbers of test images of a class: all, and those that became correct or wrong in the second run."""

    name: str
    images: int
    improved: int
    worsened: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionDiff:
    """The difference between the predictions of two runs on the same test images.

    Attributes:
        improved: Indices of the test images that only the second run classifies correctly, int64 (m,). The images that
            the second run classifies with the highest probability are first.
        worsened: Indices of the test images that only the first run classifies correctly, int64 (m,). The images that
            the second run misclassifies with the highest probability are first.
        p_value: P-value of McNemar's exact test.
        images: The result of `load_test_images`; None if the images are not drawn.
        images_error: Why the images are not available; otherwise empty.
    """

    first_label: str
    second_label: str
    first: Predictions
    second: Predictions
    improved: NDArray[np.int64]
    worsened: NDArray[np.int64]
    p_value: float
    images: tuple[NDArray[np.uint8], DataSpec] | None = None
    images_error: str = ""

    def format_verdict(self) -> str:
        """Returns one or two sentences on which run is better and whether the difference is significant."""
        better, worse = len(self.improved), len(self.worsened)
        if not better + worse:
            return f"Both models classify the same images correctly ({len(self.first.actual):,} test images)."
        counts = (
            f"Of {better + worse:,} test images that only one model classifies correctly, {self.second_label} "
            f"classifies {better:,} correctly and {self.first_label} {worse:,}"
        )
        if better == worse:
            return f"{counts}: neither model is better."
        best = self.second_label if better > worse else self.first_label
        significance = "significantly" if self.p_value < SIGNIFICANCE_LEVEL else "not significantly"
        return (
            f"{counts}: {best} is {significance} better (McNemar's exact test of these two trained models, "
            f"p = {self.p_value:.2g})."
        )

    @property
    def both_correct(self) -> int:
        """Number of images that both runs classify correctly."""
        return int((self.first.correct & self.second.correct).sum())

    @property
    def both_wrong(self) -> int:
        """Number of images that neither run classifies correctly."""
        return int((~self.first.correct & ~self.second.correct).sum())

    @property
    def difference(self) -> NDArray[np.int64]:
        """The second confusion matrix minus the first, int64 (classes, classes)."""
        return self.second.confusion - self.first.confusion

    def group_by_class(self) -> list[ClassDiff]:
        """Returns the difference for each class, in the order of the labels."""
        classes = len(self.first.class_names)
        groups = (self.first.actual, self.first.actual[self.improved], self.first.actual[self.worsened])
        counts = [np.bincount(labels, minlength=classes).tolist() for labels in groups]
        return [ClassDiff(*row) for row in zip(self.first.class_names, *counts, strict=True)]


def load_predictions(run: RunRecord) -> Predictions:
    """Loads the predictions of a run on the test images.

    Raises:
        ConfigError: If the run has no predictions, or they cannot be read.
        TrackingError: If the tracking store cannot be reached, or does not have the files.
    """
    with run.open_files(_FOLDER) as folder:
        try:
            class_names = json.loads((folder / _FOLDER / _MATRIX).read_text())["classes"]
            with np.load(folder / _FOLDER / _PREDICTIONS, allow_pickle=False) as arrays:
                return Predictions(
                    class_names=tuple(class_names),
                    actual=arrays["actual"],
                    predicted=arrays["predicted"],
                    probability=arrays["probability"],
                )
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise ConfigError(
                f"{run.reference}: cannot read the predictions of the test images ({_FOLDER}/): {error}"
            ) from error


def compare_two_runs(
    first: RunRecord, second: RunRecord, labels: Mapping[str, str], *, with_images: bool
) -> PredictionDiff:
    """Compares the predictions of two runs. `labels` are by the references of the runs.

    Raises:
        ConfigError: If the predictions cannot be read, or the runs have different test images.
        TrackingError: If the tracking store cannot be reached, or does not have the files.
    """
    diff = compare_predictions(
        load_predictions(first), load_predictions(second), (labels[first.reference], labels[second.reference])
    )
    if not with_images:
        return diff
    try:
        return replace(diff, images=load_test_images(second, diff.second.actual))
    except TrainyardError as error:
        return replace(diff, images_error=str(error))


def compare_predictions(first: Predictions, second: Predictions, labels: tuple[str, str]) -> PredictionDiff:
    """Compares the predictions of two runs, with these labels, on the same images.

    Raises:
        ConfigError: If the runs have different test images.
    """
    if not np.array_equal(first.actual, second.actual) or first.class_names != second.class_names:
        raise ConfigError("compare: expected two runs with the same test images; their labels differ")
    improved = np.flatnonzero(second.correct & ~first.correct)
    worsened = np.flatnonzero(first.correct & ~second.correct)
    return PredictionDiff(
        first_label=labels[0],
        second_label=labels[1],
        first=first,
        second=second,
        improved=improved[np.argsort(-second.probability[improved], kind="stable")],
        worsened=worsened[np.argsort(-second.probability[worsened], kind="stable")],
        p_value=compute_mcnemar_p_value(len(worsened), len(improved)),
    )
