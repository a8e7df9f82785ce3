"""Two runs on the same test images, image by image: which of them one told right and the other did not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from trainyard.analysis.compare.runs import ComparedRun
from trainyard.config.compose import load_config
from trainyard.data import load_dataset
from trainyard.data.dataset import DataSpec
from trainyard.errors import ConfigError, TrainyardError

LEVEL = 0.05
"""Above it a difference may be chance."""
_FOLDER, _CONFIG = "evaluation", "config.yaml"
_PREDICTIONS, _MATRIX = "test_predictions.npz", "confusion_matrix.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What a run said of the test images.

    Attributes:
        class_names: By label.
        actual: The labels, uint8 (n,).
        predicted: What it took them for, uint8 (n,).
        probability: That it gave to what it predicted, float (n,), 0 to 1.
    """

    class_names: tuple[str, ...]
    actual: NDArray[np.uint8]
    predicted: NDArray[np.uint8]
    probability: NDArray[np.float32]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which images it told right, bool (n,)."""
        right: NDArray[np.bool_] = self.actual == self.predicted
        return right

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Counts of actual (rows) against predicted classes (columns), int64 (classes, classes)."""
        classes = len(self.class_names)
        counts = np.bincount(self.actual.astype(np.int64) * classes + self.predicted, minlength=classes**2)
        return counts.reshape(classes, classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassChange:
    """What changed for the images of one class.

    Attributes:
        name: Of the class.
        images: How many there are.
        improved: That only the second run told right.
        worsened: That only the first did.
    """

    name: str
    images: int
    improved: int
    worsened: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What changed from one run to another.

    Attributes:
        before: Of the first run.
        now: Of the second.
        improved: The indices of the test images that only the second told right, the surest first, int64.
        worsened: Those that only the first told right, where the second was surest of its mistake first, int64.
        chance: The p-value of McNemar's exact test: how likely so uneven a split of the images that changed sides is,
            where each is as likely to change to one side as to the other.
    """

    before: Predictions
    now: Predictions
    improved: NDArray[np.int64]
    worsened: NDArray[np.int64]
    chance: float

    @property
    def both_right(self) -> int:
        """How many images both told right."""
        return int((self.before.right & self.now.right).sum())

    @property
    def both_wrong(self) -> int:
        """How many images neither told right."""
        return int((~self.before.right & ~self.now.right).sum())

    @property
    def difference(self) -> NDArray[np.int64]:
        """The second confusion matrix less the first, int64 (classes, classes)."""
        return self.now.confusion - self.before.confusion

    def by_class(self) -> list[ClassChange]:
        """Returns what changed for each class, in the order of the labels."""
        classes = len(self.before.class_names)
        images, improved, worsened = (
            np.bincount(labels, minlength=classes)
            for labels in (self.before.actual, self.before.actual[self.improved], self.before.actual[self.worsened])
        )
        return [
            ClassChange(name=name, images=int(images[at]), improved=int(improved[at]), worsened=int(worsened[at]))
            for at, name in enumerate(self.before.class_names)
        ]

    def describe(self, before: str, now: str) -> str:
        """Returns in a sentence or two whether one run is better than the other, or that may be chance.

        Args:
            before: What the first run is called.
            now: What the second is.
        """
        better, worse = len(self.improved), len(self.worsened)
        if not better + worse:
            return f"Of {len(self.before.actual):,} test images both told the same ones right."
        counts = (
            f"Of {better + worse:,} test images that only one of them told right, it was {now} for {better:,} and "
            f"{before} for {worse:,}"
        )
        if better == worse:
            return f"{counts}: neither is ahead."
        ahead = now if better > worse else before
        verdict = (
            f"that {ahead} is ahead is more than chance"
            if self.chance < LEVEL
            else f"that {ahead} is ahead may be chance"
        )
        return f"{counts}: {verdict} (McNemar's exact test of these two trained models, p = {self.chance:.2g})."


def read_predictions(run: ComparedRun) -> Predictions:
    """Reads what a run said of the test images.

    Raises:
        ConfigError: If it left no predictions, or they can't be read.
        TrackingError: If its store can't be reached, or lacks them.
    """
    with run.files(_FOLDER) as folder:
        try:
            names = json.loads((folder / _FOLDER / _MATRIX).read_text())["classes"]
            with np.load(folder / _FOLDER / _PREDICTIONS, allow_pickle=False) as arrays:
                return Predictions(
                    class_names=tuple(names),
                    actual=arrays["actual"],
                    predicted=arrays["predicted"],
                    probability=arrays["probability"],
                )
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise ConfigError(f"{run.reference}: its predictions of the test images can't be read: {error}") from error


def find_change(before: Predictions, now: Predictions) -> Change:
    """Compares what two runs said of the same images.

    Raises:
        ConfigError: If they are not the same images.
    """
    from scipy.stats import binomtest

    if not np.array_equal(before.actual, now.actual) or before.class_names != now.class_names:
        raise ConfigError("compare: expected two runs on the same test images; their labels differ")
    improved = np.flatnonzero(now.right & ~before.right)
    worsened = np.flatnonzero(before.right & ~now.right)
    changed = len(improved) + len(worsened)
    return Change(
        before=before,
        now=now,
        improved=improved[np.argsort(-now.probability[improved], kind="stable")],
        worsened=worsened[np.argsort(-now.probability[worsened], kind="stable")],
        chance=float(binomtest(len(improved), changed).pvalue) if changed else 1.0,
    )


def load_test_images(run: ComparedRun, labels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], DataSpec]:
    """Loads the raw pixels of the images that a run was tested on, as its config names them.

    Args:
        run: Any.
        labels: Of its test images, as it logged them: uint8 (n,).

    Returns:
        The images, uint8 (n, height, width) or (n, height, width, 3), and what is known of them.

    Raises:
        TrainyardError: If they can't be had on this machine, or are others by now.
    """
    with run.files(_CONFIG) as folder:
        config = load_config(Path(folder) / _CONFIG)
    path = getattr(config.dataset, "path", None)
    if hasattr(config.dataset, "mirrors") and path and not Path(path).exists():
        config.dataset.path = None  # type: ignore[attr-defined]  # it lay there on another machine
    whole = load_dataset(config.dataset, config.seed)
    test = config.debug.cut(whole, config.training.batch_size, config.seed).test
    if run.test_digest and not test.digest.startswith(run.test_digest):
        raise TrainyardError(f"expected test images with the digest {run.test_digest}, found {test.digest}")
    if not np.array_equal(test.labels, labels):
        raise TrainyardError("expected the test images that the run tells of, found others: their labels differ")
    return test.images, whole.spec
