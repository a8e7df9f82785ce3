"""Compares a rerun with the original run: how similar they are, where they diverge, and how their environments differ.

The spread is the limit that 95 % of the differences between two runs stay below. With at least five runs of the same
config with other seeds in the store, it is computed from them with Student's t-distribution. Otherwise it is 1.96
standard errors of the difference of two binomial proportions, for the number of test images.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from trainyard.analysis.compare.predictions import Predictions
from trainyard.analysis.rerun.original import OriginalRun
from trainyard.evaluation import compute_min_accuracy_variance, compute_std, compute_t_quantile
from trainyard.tracking import names

MIN_SIBLINGS = 5
"""Minimum number of runs with other seeds for a spread that is computed from them."""
_ACCURACY = "accuracy/test"
_TEST = ("/test", "_by_class/")
"""Parts of the names of test metrics."""
_EPOCH = ("/train", "/val")
"""Endings of the names of epoch metrics, without those that measure time."""
_LISTED_METRICS = 3
"""Number of different metrics that are listed by name."""
_TAGS = {
    "commit": names.GIT_COMMIT, "uncommitted changes": names.GIT_DIRTY, "threads": "threads", "engine": "engine",
    "xla": "xla", "determinism": "determinism", "digest of the data": "dataset_digest",
    "digest of the initial weights": names.INITIAL_WEIGHTS_DIGEST,
}  # fmt: skip
"""Tags of the environment by their displayed names."""
_MACHINE = ("host", "cpu", "instructions", "gpus", "onednn", "platform", "python")
_PACKAGES = ("tensorflow", "keras", "numpy", "ml_dtypes", "ml-dtypes", "scikit-learn", "pillow", "h5py", "trainyard")
"""Packages that process data or weights."""
_CAUSES = ("threads", "engine", "xla", "determinism", "digest of the data", "cpu", "instructions", "gpus", "onednn",
           *(f"package {name}" for name in _PACKAGES), "python", "commit", "uncommitted changes")  # fmt: skip
"""Differences that can change results bit for bit, the most likely cause first."""


class Agreement(StrEnum):
    """How similar two runs are. ``docs/reproduce.md`` defines the values."""

    BITWISE = "bitwise"
    METRICS = "same metrics"
    SPREAD = "within spread"
    DRIFTED = "drifted"


@dataclass(frozen=True, slots=True)
class EnvironmentDifference:
    """A difference between the environments of two runs: what differs, and its value in either run."""

    name: str
    before: str
    now: str

    def __str__(self) -> str:
        return f"{self.name}: {self.now or 'absent'}, was {self.before or 'absent'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunComparison:
    """The comparison of a rerun with the original run.

    Attributes:
        agreement: How similar the runs are, or None if the original did not finish or has no test accuracy.
        different: The parts of the result that differ: weights, data, epoch metrics, predictions or test metrics, one
            line each. Empty if the runs are bitwise identical or were not compared.
        before: Test accuracy of the original, or None if it has none.
        now: Test accuracy of the rerun.
        spread: Limit for the difference of the accuracies, and a text that explains how it was estimated.
        first_different_epoch: First epoch in which a training or validation metric of both runs differs, counted from
            1; 0 if the initial weights differ; None if neither differs.
        changed: Intentional changes of the config, one line each.
    """

    agreement: Agreement | None
    different: Sequence[str]
    before: float | None
    now: float
    spread: tuple[float, str]
    first_different_epoch: int | None
    changed: Sequence[str]
    environment: Sequence[EnvironmentDifference]

    @property
    def causes(self) -> list[EnvironmentDifference]:
        """Differences that can change results bit for bit, the most likely cause first."""
        return [difference for cause in _CAUSES for difference in self.environment if difference.name == cause]


def compare_runs(
    original: OriginalRun,
    rerun: OriginalRun,
    siblings: Sequence[float],
    changed: Sequence[str] = (),
    *,
    test_images: int,
) -> RerunComparison:
    """Compares a finished rerun with the original run.

    `siblings` are the test accuracies of runs of the same config with other seeds; `changed` are the intentional
    changes of the config, one line each; `test_images` is the number of test images.
    """
    before, now = original.run.metrics, rerun.run.metrics
    spread = _estimate_spread(now[_ACCURACY], siblings, test_images)
    is_comparable = original.run.status == "FINISHED" and _ACCURACY in before
    different = _find_different_parts(original, rerun) if is_comparable else []
    return RerunComparison(
        agreement=_classify_agreement(before, now, different, spread[0]) if is_comparable else None,
        different=different,
        before=before.get(_ACCURACY),
        now=now[_ACCURACY],
        spread=spread,
        first_different_epoch=_find_first_different_epoch(original, rerun),
        changed=changed,
        environment=_find_environment_differences(original, rerun),
    )


def _classify_agreement(
    before: Mapping[str, float], now: Mapping[str, float], different: Sequence[str], spread: float
) -> Agreement:
    """Returns how similar two runs are, from their metrics and the different parts of their results."""
    if not different:
        return Agreement.BITWISE
    if not _find_different_test_metrics(before, now):
        return Agreement.METRICS
    return Agreement.SPREAD if abs(before[_ACCURACY] - now[_ACCURACY]) <= spread else Agreement.DRIFTED


def _find_different_parts(original: OriginalRun, rerun: OriginalRun) -> list[str]:
    """Returns the parts of the results of two runs that are not bitwise identical, one line each."""
    before, now = original.run, rerun.run
    parts = [
        part
        for part, tag in (("weights", names.WEIGHTS_DIGEST), ("data", names.DATASET_DIGEST))
        if before.tags.get(tag) is None or before.tags.get(tag) != now.tags.get(tag)
    ]
    if epoch := _find_first_different_epoch(original, rerun):
        parts.append(f"metrics of epoch {epoch}")
    parts += _compare_predictions(original.predictions, rerun.predictions)
    if metrics := _find_different_test_metrics(before.metrics, now.metrics):
        hidden_count = len(metrics) - _LISTED_METRICS
        more = f" and {hidden_count} more" if hidden_count > 0 else ""
        parts.append(f"test metrics: {', '.join(metrics[:_LISTED_METRICS])}{more}")
    return parts


def _compare_predictions(before: Predictions | None, now: Predictions | None) -> list[str]:
    """Returns an empty list if all predictions are bitwise identical, otherwise one line on what differs."""
    if before is None or now is None:
        return ["predictions: those of the original run can't be read"]
    if len(before.actual) != len(now.actual):
        return [f"predictions: for {len(now.actual):,} test images, was {len(before.actual):,}"]
    pairs = {
        "labels of the test images": (before.actual, now.actual),
        "predicted classes": (before.predicted, now.predicted),
        "predicted probabilities": (before.probability, now.probability),
    }
    counts = {name: int(np.count_nonzero(first != second)) for name, (first, second) in pairs.items()}
    return [f"{name}: {count:,} of {len(now.actual):,} images" for name, count in counts.items() if count]


def _find_different_test_metrics(before: Mapping[str, float], now: Mapping[str, float]) -> list[str]:
    """Returns the names of the test metrics that differ, or that only one run has."""
    test_metrics = [name for name in {**before, **now} if any(part in name for part in _TEST)]
    return [name for name in test_metrics if not _is_equal(before.get(name), now.get(name))]


def _estimate_spread(accuracy: float, siblings: Sequence[float], images: int) -> tuple[float, str]:
    """Returns the limit for the difference of two test accuracies, and a text on how it was estimated."""
    if len(siblings) >= MIN_SIBLINGS:
        least = compute_min_accuracy_variance(statistics.fmean(siblings), len(siblings), images)
        limit = compute_t_quantile(len(siblings) - 1) * compute_std(siblings, least) * math.sqrt(2)
        return limit, f"estimated from {len(siblings)} runs of this config with other seeds"
    error = math.sqrt(2 * accuracy * (1 - accuracy) / images)
    return 1.96 * error, f"estimated from the number of test images, {images:,}"


def _find_first_different_epoch(original: OriginalRun, rerun: OriginalRun) -> int | None:
    """Returns the first epoch in which a common metric differs; 0 if the initial weights differ; None if none do."""
    if original.run.tags.get(names.INITIAL_WEIGHTS_DIGEST) != rerun.run.tags.get(names.INITIAL_WEIGHTS_DIGEST):
        return 0
    for epoch in sorted(original.epochs.keys() & rerun.epochs.keys()):
        before, now = original.epochs[epoch], rerun.epochs[epoch]
        common = [name for name in before.keys() & now.keys() if name.endswith(_EPOCH)]
        if not all(_is_equal(before[name], now[name]) for name in common):
            return epoch
    return None


def _is_equal(first: float | None, second: float | None) -> bool:
    """Returns whether two values are equal. NaN is equal to NaN, and None to None."""
    return first == second or (first is not None and second is not None and math.isnan(first) and math.isnan(second))


def _find_environment_differences(original: OriginalRun, rerun: OriginalRun) -> list[EnvironmentDifference]:
    """Returns the differences between the environments of two runs: commit and tags, then machine, then packages.

    `RerunComparison.causes` sorts them by how likely they explain a different result.
    """
    before, now = _describe_environment(original), _describe_environment(rerun)
    packages = sorted(name for name in {**before, **now} if name.startswith("package "))
    return [
        EnvironmentDifference(name, before.get(name, ""), now.get(name, ""))
        for name in (*_TAGS, *_MACHINE, *packages)
        if before.get(name) != now.get(name)
    ]


def _describe_environment(run: OriginalRun) -> dict[str, str]:
    """Returns the environment of a run as texts by name, without values that are unknown.

    A run logs the tags of `engine` and `xla` as ``value: reason``. A rerun requests both values explicitly, so its
    reasons differ, and only the values are compared.
    """
    tags = {name: run.run.tags[tag] for name, tag in _TAGS.items() if tag in run.run.tags}
    for name in {"engine", "xla"} & tags.keys():
        tags[name] = tags[name].partition(":")[0]
    machine = {
        name: ", ".join(value) if isinstance(value, list) else str(value)
        for name in _MACHINE
        if (value := run.machine.get(name)) is not None
    }
    packages = {f"package {name}": version for name, version in run.versions.items()}
    return {**tags, **machine, **packages}
