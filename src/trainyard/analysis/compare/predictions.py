"""Compares the predictions of two runs on the same test images: finds the images that only one model gets right."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from trainyard.config import load_config
from trainyard.data import DataSpec, load_dataset
from trainyard.errors import ConfigError, TrainyardError
from trainyard.tracking import RunRecord, names

SIGNIFICANCE_LEVEL = 0.05
"""Differences with a p-value below this level are reported as significant."""
_FOLDER, _CONFIG = "evaluation", names.CONFIG_FILE
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
        correct: NDArray[np.bool_] = self.actual == self.predicted
        return correct

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Confusion matrix: counts by true class (rows) and predicted class (columns), int64 (classes, classes)."""
        classes = len(self.class_names)
        counts = np.bincount(self.actual.astype(np.int64) * classes + self.predicted, minlength=classes**2)
        return counts.reshape(classes, classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassDiff:
    """The difference between two runs for the images of one class.

    Attributes:
        name: Name of the class.
        images: Number of test images of the class.
        improved: Number of images that only the second run classifies correctly.
        worsened: Number of images that only the first run classifies correctly.
    """

    name: str
    images: int
    improved: int
    worsened: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionDiff:
    """The difference between the predictions of two runs.

    Attributes:
        first: Predictions of the first run.
        second: Predictions of the second run.
        improved: Indices of the test images that only the second run classifies correctly, int64 (m,). The images that
            the second run classifies with the highest probability are first.
        worsened: Indices of the test images that only the first run classifies correctly, int64 (m,). The images that
            the second run misclassifies with the highest probability are first.
        p_value: P-value of McNemar's exact test, under the null hypothesis that an image which only one of the models
            classifies correctly is equally likely to belong to either model.
    """

    first: Predictions
    second: Predictions
    improved: NDArray[np.int64]
    worsened: NDArray[np.int64]
    p_value: float

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
        images, improved, worsened = (
            np.bincount(labels, minlength=classes)
            for labels in (self.first.actual, self.first.actual[self.improved], self.first.actual[self.worsened])
        )
        return [
            ClassDiff(name=name, images=int(images[at]), improved=int(improved[at]), worsened=int(worsened[at]))
            for at, name in enumerate(self.first.class_names)
        ]

    def describe(self, first_label: str, second_label: str) -> str:
        """Returns one or two sentences on which run is better and whether the difference is significant.

        Args:
            first_label: Label of the first run.
            second_label: Label of the second run.
        """
        better, worse = len(self.improved), len(self.worsened)
        if not better + worse:
            return f"Both models classify the same images correctly ({len(self.first.actual):,} test images)."
        counts = (
            f"Of {better + worse:,} test images that only one model classifies correctly, {second_label} classifies "
            f"{better:,} correctly and {first_label} {worse:,}"
        )
        if better == worse:
            return f"{counts}: neither model is better."
        best = second_label if better > worse else first_label
        verdict = (
            f"{best} is significantly better"
            if self.p_value < SIGNIFICANCE_LEVEL
            else f"{best} is not significantly better"
        )
        return f"{counts}: {verdict} (McNemar's exact test of these two trained models, p = {self.p_value:.2g})."


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


def compare_predictions(first: Predictions, second: Predictions) -> PredictionDiff:
    """Compares the predictions of two runs on the same images.

    Raises:
        ConfigError: If the runs have different test images.
    """
    from scipy.stats import binomtest

    if not np.array_equal(first.actual, second.actual) or first.class_names != second.class_names:
        raise ConfigError("compare: expected two runs with the same test images; their labels differ")
    improved = np.flatnonzero(second.correct & ~first.correct)
    worsened = np.flatnonzero(first.correct & ~second.correct)
    changed = len(improved) + len(worsened)
    return PredictionDiff(
        first=first,
        second=second,
        improved=improved[np.argsort(-second.probability[improved], kind="stable")],
        worsened=worsened[np.argsort(-second.probability[worsened], kind="stable")],
        p_value=float(binomtest(len(improved), changed).pvalue) if changed else 1.0,
    )


def load_test_images(run: RunRecord, labels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], DataSpec]:
    """Loads the raw pixels of the images that a run was tested on, using the data set of its config.

    Args:
        run: The run.
        labels: Labels of its test images as it logged them, uint8 (n,).

    Returns:
        The images, uint8 (n, height, width) or (n, height, width, 3), and the description of the data set.

    Raises:
        TrainyardError: If the images are not available on this machine, or have changed since the run.
    """
    with run.open_files(_CONFIG) as folder:
        config = load_config(Path(folder) / _CONFIG)
    path = getattr(config.dataset, "path", None)
    if hasattr(config.dataset, "mirrors") and path and not Path(path).exists():
        config.dataset.path = None  # type: ignore[attr-defined]  # the path is on another machine
    full = load_dataset(config.dataset, config.seed)
    test = config.debug.reduce_dataset(full, config.training.batch_size, config.seed).test
    if run.test_digest and not test.digest.startswith(run.test_digest):
        raise TrainyardError(f"expected test images with the digest {run.test_digest}, got {test.digest}")
    if not np.array_equal(test.labels, labels):
        raise TrainyardError("expected the test images that the run logged, got other images: their labels differ")
    return test.images, full.spec
