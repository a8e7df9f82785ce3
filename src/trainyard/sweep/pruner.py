"""Pruning: stops weak points early, with Optuna's pruners.

A point is judged by the mean of its seeds. The n-th seed of a point that reports an epoch adds the mean of n seeds at
this epoch to a study of its own, so that a mean of n seeds is compared only with means of n seeds of other points, and
the seeds of a point never prune one another. A point with several seeds is judged only by the mean of at least half of
them, because one seed says too little, and its first seed always trains to the end. Therefore each point has a result,
and a sweep never ends without a ranking. If a point is pruned, its running seeds stop, and the others do not start.

The decisions depend only on the sequence of reports. A resumed sweep therefore replays the ledger and continues exactly
where it stopped.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trainyard.config import SweepConfig
from trainyard.evaluation import Trial, higher_is_better
from trainyard.reporting import format_count
from trainyard.sweep.ledger import Ended, EpochReport, Ledger, TrialState
from trainyard.sweep.optuna_adapter import MEDIAN_STARTUP_TRIALS, build_pruner, build_sampler, create_study, end_trial

if TYPE_CHECKING:
    import optuna

OFF = "off"


@dataclass(slots=True)
class _Point:
    """What a point has reported.

    Attributes:
        seeds: Number of its trials.
        values: Objective by epoch, of each trial that has started, in the order of the first reports.
        results: Objective of each trial that is done.
        pruned: The trials that ended as pruned.
        studied: The point's trial in the study of the means of n seeds, by n.
        judged: The last epoch at which the mean of n seeds was judged, by n.
        reason: Why the point is pruned; empty if it is not.
    """

    seeds: int
    values: dict[int, dict[int, float]] = field(default_factory=dict)
    results: dict[int, float] = field(default_factory=dict)
    pruned: set[int] = field(default_factory=set)
    studied: dict[int, optuna.Trial] = field(default_factory=dict)
    judged: dict[int, int] = field(default_factory=dict)
    reason: str = ""

    @property
    def min_seeds(self) -> int:
        """Number of seeds whose mean can prune the point."""
        return 1 if self.seeds == 1 else max(2, math.ceil(self.seeds / 2))

    def find_protected(self) -> int | None:
        """Returns the trial that trains to the end even if the point is pruned; None if the point has one seed."""
        return next((number for number in self.values if number not in self.pruned), None) if self.seeds > 1 else None

    def list_values(self, epoch: int) -> list[float]:
        """Returns the objective of each seed at an epoch; of a seed that ended before it, the final one."""
        values = (values.get(epoch, self.results.get(number)) for number, values in self.values.items())
        return [value for value in values if value is not None]


class TrialPruner:
    """Decides after each epoch whether a trial is pruned, with in-memory Optuna studies."""

    def __init__(self, policy: SweepConfig, epochs: int, ledger: Ledger, trials: Iterable[Trial]) -> None:
        """Creates the pruner of a sweep of `trials` and replays its ledger. A trial has at most `epochs` epochs."""
        self.objective = policy.objective
        self._policy = policy
        self._epochs = epochs
        self._studies: dict[int, optuna.Study] = {}
        self._point_numbers = {trial.number: trial.point for trial in trials}
        self._points = {point: _Point(seeds) for point, seeds in Counter(self._point_numbers.values()).items()}
        self._last_decisions: dict[int, tuple[int, str]] = {}
        for event in ledger.events:
            if isinstance(event, EpochReport):
                self.report_epoch(event)
            elif isinstance(event, Ended):
                self.report_end(event)

    def find_ineffective_setting(self) -> str:
        """Returns a warning if no trial of the sweep can be pruned, else an empty string."""
        if self._policy.pruner == "median" and len(self._points) <= MEDIAN_STARTUP_TRIALS:
            return (
                f"sweep.pruner: median prunes a point only after {MEDIAN_STARTUP_TRIALS} others are finished, so "
                f"no trial is pruned in this sweep of {format_count(len(self._points), 'point')}. Set another pruner"
            )
        # after its last epoch, a trial is not pruned, but the other seeds of its point can be
        needed = self._policy.min_epochs + all(point.min_seeds == point.seeds for point in self._points.values())
        if needed > self._epochs:
            return (
                f"sweep.min_epochs: with {self._policy.min_epochs}, no trial is pruned before it ends, after "
                f"training.epochs={self._epochs}. Set a smaller value, or sweep.pruner=off"
            )
        return ""

    def report_epoch(self, report: EpochReport) -> str:
        """Records the objective after an epoch. Returns the reason to prune the trial, or an empty string.

        NaN is not recorded, nor is an epoch that the trial reported before it was restarted. A trial is never pruned
        after its last epoch.
        """
        number, epoch = report.trial, report.epoch
        last_epoch, reason = self._last_decisions.get(number, (0, ""))
        if epoch <= last_epoch:  # the trial was restarted
            return reason if epoch == last_epoch else ""
        if math.isnan(report.value):
            return ""
        point = self._get_point(number)
        point.values.setdefault(number, {})[epoch] = report.value
        if not point.reason:
            point.reason = self._judge_point(point, report)
        is_pruned = point.reason and epoch < report.epochs and number != point.find_protected()
        reason = f"after epoch {epoch}, with {self.objective} {report.value:.4f}{point.reason}" if is_pruned else ""
        self._last_decisions[number] = epoch, reason
        return reason

    def report_end(self, end: Ended) -> None:
        """Records the end of a trial. If it failed, its reports are discarded, so that its retry is judged anew."""
        point = self._get_point(end.trial)
        self._last_decisions.pop(end.trial, None)
        if end.state is TrialState.PRUNED:
            point.pruned.add(end.trial)
        elif end.value is None or math.isnan(end.value):
            point.values.pop(end.trial, None)
            if not point.values:
                self._points[self._point_numbers[end.trial]] = _Point(point.seeds)
        elif end.trial in point.values:
            point.results[end.trial] = end.value
            count = len(point.results)
            if trial := point.studied.get(count):
                end_trial(self._studies[count], trial, statistics.fmean(point.results.values()))

    def find_skip_reason(self, number: int) -> str:
        """Returns why a trial is pruned before it starts, because its point is; an empty string if it has to start."""
        point = self._get_point(number)
        if not point.reason or number in point.values or point.find_protected() is None:
            return ""
        return f"before its first epoch, because of its other seeds{point.reason}"

    def _get_point(self, number: int) -> _Point:
        """Returns the point of a trial."""
        return self._points[self._point_numbers[number]]

    def _judge_point(self, point: _Point, report: EpochReport) -> str:
        """Adds the mean of a point's seeds at an epoch to its study. Returns why the point is pruned, or empty text."""
        values = point.list_values(report.epoch)
        count, mean = len(values), statistics.fmean(values)
        if report.epoch <= point.judged.get(count, 0):  # by the reports of a trial that has failed since
            return ""
        point.judged[count] = report.epoch
        study = self._studies.get(count) or self._studies.setdefault(count, self._create_study())
        trial = point.studied.get(count) or point.studied.setdefault(count, study.ask())
        trial.report(mean, report.epoch)
        prune = trial.should_prune()  # also at the last epoch, because pruners record that they were called
        is_trained = count == point.seeds and report.epoch == report.epochs
        if not prune or count < point.min_seeds or is_trained:
            return ""
        source = f" (mean of {count} seeds after epoch {report.epoch}: {mean:.4f})" if count > 1 else ""
        return f"{source}, by sweep.pruner={self._policy.pruner}"

    def _create_study(self) -> optuna.Study:
        """Returns a study that judges means of the same number of seeds."""
        return create_study(
            maximize=higher_is_better(self.objective),
            sampler=build_sampler("random", 0),
            pruner=build_pruner(self._policy.pruner, self._policy.min_epochs, self._epochs),
        )
