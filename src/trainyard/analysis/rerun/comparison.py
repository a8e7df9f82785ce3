"""Two runs of the same thing, compared: how alike they are, where they part, and what was different around them.

    bitwise       all weights are the same, to the last bit
    same metrics  the weights are not, and every figure on the test images is
    within spread the accuracies differ by no more than seeds differ, or than the choice of test images would
    drifted       by more

The spread is that of the difference of two runs, 95 % of which lie within it: by Student's t from runs of the same
config with other seeds, where the store has five; else 1.96 standard errors of the difference of two shares of so many
images.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from trainyard.analysis.claims.judging import LEVEL
from trainyard.analysis.rerun.original import Original
from trainyard.tracking import Account

LEAST_SIBLINGS = 5
_ACCURACY = "accuracy/test"
_TEST = ("/test", "_by_class/")
"""What the names of metrics on the test images hold."""
_EPOCH = ("/train", "/val")
"""How the names of metrics of an epoch end that do not tell of time."""
_SOURCE = {"mlflow.source.git.commit": "commit", "git.dirty": "uncommitted changes"}
_TAGS = {
    "threads": "threads", "engine": "engine", "xla": "xla", "determinism": "determinism",
    "dataset_digest": "digest of the data", "initial_weights_digest": "digest of the initial weights",
}  # fmt: skip
_MACHINE = ("host", "cpu", "instructions", "gpus", "onednn", "platform", "python")
_PACKAGES = ("tensorflow", "keras", "numpy", "ml_dtypes", "ml-dtypes", "scikit-learn", "pillow", "h5py", "trainyard")
"""Those that data and weights go through."""
_CAUSES = ("threads", "engine", "xla", "determinism", "digest of the data", "cpu", "instructions", "gpus", "onednn",
           *(f"package {name}" for name in _PACKAGES), "python", "commit", "uncommitted changes")  # fmt: skip
"""Of what may differ, what may change bits, what is likelier to have done so first."""


class Likeness(StrEnum):
    """How alike two runs are."""

    BITWISE = "bitwise"
    METRICS = "same metrics"
    SPREAD = "within spread"
    DRIFTED = "drifted"


@dataclass(frozen=True, slots=True)
class Difference:
    """Something around two runs that is not the same: what it was, and what it is."""

    what: str
    before: str
    now: str

    def __str__(self) -> str:
        return f"{self.what}: {self.now or 'absent'}, was {self.before or 'absent'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two runs, compared.

    Attributes:
        likeness: How alike they are; None where the first did not come to its end.
        before: The accuracy of the first on the test images.
        now: That of the second.
        spread: Within which accuracies may differ, and what it is from, in words.
        parted: The first epoch of which a metric is not the same, counted from 1; 0: before any, their initial weights
            differ; None: never.
        changed: What was changed in the config on purpose, a line each.
        environment: What else is not the same.
    """

    likeness: Likeness | None
    before: float | None
    now: float
    spread: tuple[float, str]
    parted: int | None
    changed: Sequence[str]
    environment: Sequence[Difference]

    @property
    def causes(self) -> list[Difference]:
        """What may have made the bits differ."""
        return sorted((one for one in self.environment if one.what in _CAUSES), key=lambda one: _CAUSES.index(one.what))


def compare(original: Original, again: Original, siblings: Sequence[float], changed: Sequence[str] = ()) -> Comparison:
    """Compares a run with an earlier one.

    Args:
        original: The earlier.
        again: The later, which came to its end.
        siblings: The accuracies of runs of the same config with other seeds.
        changed: What was changed in the config on purpose, a line each.
    """
    first, second = original.account, again.account
    before, now = last_values(first), last_values(second)
    images = next((split.images for split in second.inputs if split.context == "test"), 0)
    spread = _spread(now[_ACCURACY], siblings, images)
    return Comparison(
        likeness=_likeness(first, second, spread[0]),
        before=before.get(_ACCURACY),
        now=now[_ACCURACY],
        spread=spread,
        parted=_first_difference(first, second),
        changed=changed,
        environment=list(_environment(original, again)),
    )


def last_values(account: Account) -> dict[str, float]:
    """Returns the last value of each metric of a run."""
    return {name: value for metrics, _, _ in account.metrics for name, value in metrics.items()}


def _likeness(first: Account, second: Account, spread: float) -> Likeness | None:
    before, now = last_values(first), last_values(second)
    if first.status != "FINISHED" or _ACCURACY not in before:
        return None
    if first.tags.get("weights_digest") == second.tags["weights_digest"]:
        return Likeness.BITWISE
    tested = {name for name in {**before, **now} if any(part in name for part in _TEST)}
    if all(_same(before.get(name), now.get(name)) for name in tested):
        return Likeness.METRICS
    return Likeness.SPREAD if abs(before[_ACCURACY] - now[_ACCURACY]) <= spread else Likeness.DRIFTED


def _spread(accuracy: float, siblings: Sequence[float], images: int) -> tuple[float, str]:
    from scipy.special import stdtrit

    if len(siblings) >= LEAST_SIBLINGS:
        std = math.sqrt(max(statistics.variance(siblings), (1 / images) ** 2 / 12 if images else 0.0))
        half = float(stdtrit(len(siblings) - 1, 1 - LEVEL / 2)) * std * math.sqrt(2)
        return half, f"within which two runs of {len(siblings)} other seeds of this config lie"
    error = math.sqrt(2 * accuracy * (1 - accuracy) / images) if images else 0.0
    return 1.96 * error, f"within which two shares of {images:,} test images lie"


def _first_difference(first: Account, second: Account) -> int | None:
    """Returns the first epoch of which a metric of both is not the same."""
    initial = "initial_weights_digest"
    if first.tags.get(initial) != second.tags.get(initial):
        return 0
    before, now = _by_epoch(first), _by_epoch(second)
    for epoch in sorted(before.keys() & now.keys()):
        if not all(_same(before[epoch][name], now[epoch][name]) for name in before[epoch].keys() & now[epoch].keys()):
            return epoch
    return None


def _same(one: float | None, other: float | None) -> bool:
    """Tells whether two figures are the same; what is no number is the same as what is none."""
    return one == other or (one is not None and other is not None and math.isnan(one) and math.isnan(other))


def _by_epoch(account: Account) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = {}
    for metrics, step, _ in account.metrics:
        kept = {name: value for name, value in metrics.items() if name.endswith(_EPOCH)}
        if kept:
            found.setdefault(step, {}).update(kept)
    return found


def _environment(original: Original, again: Original) -> Iterator[Difference]:
    """Yields what is not the same around two runs, what is likelier to matter first."""
    before, now = (_without_reasons(run.account.tags) for run in (original, again))
    yield from _differing(before, now, _SOURCE | _TAGS)
    yield from _differing(original.machine, again.machine, {name: name for name in _MACHINE})
    names = {name: f"package {name}" for name in sorted({*original.versions, *again.versions})}
    yield from _differing(original.versions, again.versions, names)


def _without_reasons(tags: Mapping[str, str]) -> dict[str, str]:
    """Returns tags without the reason for the engine and for XLA, as what was found the first time is asked for now."""
    return {**tags, **{name: tags[name].partition(":")[0] for name in ("engine", "xla") if name in tags}}


def _differing(
    before: Mapping[str, object], now: Mapping[str, object], names: Mapping[str, str]
) -> Iterator[Difference]:
    for key, what in names.items():
        if before.get(key) != now.get(key):
            yield Difference(what, _shown(before.get(key)), _shown(now.get(key)))


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
