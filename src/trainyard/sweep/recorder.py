"""The state of the trials of a sweep: each change is written to the ledger first, then passed to the listeners."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trainyard.errors import TrainyardError
from trainyard.evaluation import Trial, TrialResult, higher_is_better
from trainyard.sweep.folder import START_AGAIN, SweepFolder
from trainyard.sweep.ledger import EpochReport, Ledger, TrialState
from trainyard.sweep.listener import SweepCounts, SweepListener
from trainyard.sweep.results import has_finished, is_among, load_result, rebuild_result
from trainyard.sweep.space import NOT_DRAWN

if TYPE_CHECKING:
    from trainyard.sweep.tracking import SweepTracker

_MAX_LISTED = 10
"""The number of trials that an error message lists."""


@dataclass(slots=True)
class TrialOutcomes:
    """The results of finished trials, and why others were pruned, in all sessions of the sweep, by trial number.

    Attributes:
        failed: The errors of the trials that failed in this session and are not retried.
        waiting: The numbers of the trials that remain to be run.
    """

    done: dict[int, TrialResult] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    pruned: dict[int, str] = field(default_factory=dict)
    waiting: list[int] = field(default_factory=list)

    def update(self, ledger: Ledger, numbers: Sequence[int]) -> None:
        """Adds the outcomes that a ledger contains for these trials. Trials without a result are added to `waiting`."""
        for number in numbers:
            record = ledger.get_trial_record(number)
            if record.result:
                self.done[number] = record.result
            elif record.state is TrialState.PRUNED:
                self.pruned[number] = record.reason
            else:
                self.waiting.append(number)


class TrialRecorder:
    """Records what happens to the trials of a sweep, and notifies its `listeners` of each change."""

    def __init__(self, trials: Sequence[Trial], folder: SweepFolder, objective: str | None) -> None:
        """Loads the outcomes of earlier sessions from the ledger. This process must have locked the folder."""
        self.outcomes = TrialOutcomes()
        self.listeners: list[SweepListener] = []
        self._folder = folder
        self._ledger = ledger = folder.ledger
        drawn = (trial for trial in trials if not (ledger.is_exhausted and trial.label == NOT_DRAWN))
        self._trials = {trial.number: trial for trial in drawn}
        self._attempts: dict[int, int] = {}
        self._objective = objective
        self.outcomes.update(ledger, list(self._trials))
        self._best: float | None = None
        self._points: dict[int, list[int]] = defaultdict(list)
        for trial in self._trials.values():
            self._points[trial.point].append(trial.number)
        for point in self._points:
            self._update_best(point)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials, including those that were drawn so far."""
        return tuple(self._trials.values())

    def get_trial(self, number: int) -> Trial:
        """Returns the trial with a number."""
        return self._trials[number]

    def get_folder(self, trial: Trial) -> Path:
        """Returns the run folder of the last attempt of a trial."""
        return Path(self._ledger.get_trial_record(trial.number).folder)

    def count_attempts(self, trial: Trial) -> int:
        """Returns how often a trial was started in this session."""
        return self._attempts.get(trial.number, 0)

    def adopt_finished(self, runs: SweepTracker) -> None:
        """Records the results of waiting trials that finished according to their files; uploads what the store lacks.

        They finished after the sweep was killed, or the ledger lost their entries.
        """
        attempts = self._folder.list_attempt_folders()
        folders = [(number, folder) for number in self.outcomes.waiting for folder in attempts.get(number, ())]
        found = [(*item, load_result(item[1]) or rebuild_result(item[1], self._objective)) for item in folders]
        results = [(number, folder, result) for number, folder, result in found if result]
        finished = runs.find_finished_trials() if results else None
        for number, folder, result in results:
            is_stored = is_among(finished, result)
            is_lacking = f"{number}" not in (finished or {}) and has_finished(folder)
            if number in self.outcomes.done or not (is_stored or is_lacking):
                continue
            if not self._ledger.get_trial_record(number).attempts:
                self.notify(f"trial {number}: its result is read from its folder, because the ledger lacks it")
                self._ledger.record_start(number, folder)
            run_id = result.run_id if is_stored else runs.upload_run(folder)
            self.record_done(self._trials[number], replace(result, run_id=run_id))
        self.update_waiting()

    def check_untrained(self, runs: SweepTracker) -> None:
        """Raises a TrainyardError if the store has a finished run of a trial that would be trained again."""
        finished = runs.find_finished_trials() or {}
        if lost := [f"{number}" for number in self.outcomes.waiting if f"{number}" in finished]:
            raise TrainyardError(
                f"{self._folder.ledger_file}: expected the results of all trials with a finished run in the tracking "
                f"store, but neither the ledger nor its folder contains that of trial {_format_list(lost)}. "
                "Restore the files of the sweep from a copy; or delete these runs in MLflow "
                f"({_format_list([finished[number] for number in lost])}), to train the trials again; or {START_AGAIN}"
            )

    def reconcile(self, runs: SweepTracker) -> str:
        """Uploads the runs of finished trials that the store lacks.

        Returns a message about the runs that remain missing, or the failure of the store; empty if there are none.
        """
        tracked = {number: result for number, result in self.outcomes.done.items() if result.run_id is not None}
        missing = []
        try:
            finished = runs.find_finished_trials() if tracked else None
            if finished is None:
                return ""
            for number, result in tracked.items():
                folder, run_id = Path(result.folder), finished.get(f"{number}")
                if run_id is None and has_finished(folder):
                    self.notify(
                        f"trial {number}: the tracking store lacks its run {result.run_id}, which is uploaded again"
                    )
                    run_id = runs.upload_run(folder)
                if run_id is None:
                    missing.append(f"{number} ({result.run_id})")
                elif run_id != result.run_id:
                    self._ledger.record_upload(number, run_id)
                    self.outcomes.done[number] = replace(result, run_id=run_id)
        except TrainyardError as error:
            return f"{error}. No results are lost: the folder of the sweep contains all of them"
        if not missing:
            return ""
        return (
            f"the tracking store lacks the run of trial {_format_list(missing)}, which can't be uploaded, because its "
            f"folder below {self._folder.path} is missing or damaged. If the run was deleted, restore it (mlflow runs "
            "restore --run-id ...); otherwise restore the store or the folder from a copy. Then start the sweep again; "
            f"or {START_AGAIN}"
        )

    def update_waiting(self) -> None:
        """Sets the waiting trials: all that are not done, failed or pruned, in the order of the plan."""
        ended = self.outcomes.done.keys() | self.outcomes.failed.keys() | self.outcomes.pruned.keys()
        self.outcomes.waiting = [number for number in self._trials if number not in ended]

    def notify(self, text: str) -> None:
        """Sends a one-line message to the listeners; prints it if there are none yet."""
        if not self.listeners:
            print(text, flush=True)  # noqa: T201 - the display is not open yet
        for listener in self.listeners:
            listener.on_message(text)

    def record_start(self, trial: Trial) -> Path:
        """Records that an attempt of a trial starts, and returns its run folder, which does not exist yet."""
        self._trials[trial.number] = trial  # if it was just drawn, it replaces its placeholder
        folder = self._folder.find_next_attempt_folder(trial.number)
        self._ledger.record_start(trial.number, folder)
        self._attempts[trial.number] = self.count_attempts(trial) + 1
        for listener in self.listeners:
            listener.on_trial_begin(trial, self._ledger.get_trial_record(trial.number).attempts)
        return folder

    def record_epoch(
        self, trial: Trial, epoch: int, epochs: int, metrics: Mapping[str, float], objective: str | None
    ) -> EpochReport | None:
        """Notifies the listeners of an epoch. With an objective, also writes its value to the ledger and returns it."""
        for listener in self.listeners:
            listener.on_epoch_end(trial, epoch, epochs, metrics)
        if objective is None:
            return None
        report = EpochReport(trial.number, epoch, epochs, metrics[objective])
        self._ledger.record_epoch(report)
        return report

    def record_done(self, trial: Trial, result: TrialResult) -> None:
        """Records that a trial is done."""
        self._ledger.record_result(trial.number, result)
        self.outcomes.done[trial.number] = replace(result, history=())
        self._update_best(trial.point)
        for listener in self.listeners:
            listener.on_trial_done(trial, result, self._count())

    def record_pruned(self, trial: Trial, reason: str) -> None:
        """Records that a trial was pruned."""
        self._trials[trial.number] = trial  # if it did not start, it replaces its placeholder
        self._ledger.record_pruned(trial.number, reason)
        self.outcomes.pruned[trial.number] = reason
        for listener in self.listeners:
            listener.on_trial_pruned(trial, reason, self._count())

    def record_failure(self, trial: Trial, reason: str, *, will_retry: bool) -> None:
        """Records that a trial failed."""
        self._ledger.record_failure(trial.number, reason, will_retry=will_retry)
        if not will_retry:
            self.outcomes.failed[trial.number] = reason
        for listener in self.listeners:
            listener.on_trial_failed(trial, reason, self._count(), will_retry=will_retry)

    def drop_undrawn(self, numbers: Sequence[int]) -> None:
        """Removes the trials that cannot be drawn because the search space seems exhausted, and records this."""
        undrawn = [number for number in numbers if number in self._trials]
        if undrawn:
            for number in undrawn:
                del self._trials[number]
            self._ledger.record_exhausted()
            self.notify(f"{len(undrawn)} trials were skipped: the search space contains no further untried points")

    def _count(self) -> SweepCounts:
        """Returns the numbers of ended trials, and the objective of the best point."""
        outcomes = self.outcomes
        return SweepCounts(len(outcomes.done), len(outcomes.failed), len(outcomes.pruned), self._best)

    def _update_best(self, point: int) -> None:
        """Updates the best value of the objective with the mean of the seeds of a point, if all of them are done."""
        done = self.outcomes.done
        values = [done[number].objective if number in done else None for number in self._points[point]]
        known = [value for value in values if value is not None]
        if self._objective and known and len(known) == len(values):
            means = [statistics.fmean(known), *([] if self._best is None else [self._best])]
            self._best = (max if higher_is_better(self._objective) else min)(means)


def _format_list(texts: Sequence[str]) -> str:
    """Returns the first texts of a list, separated by commas."""
    return ", ".join([*texts[:_MAX_LISTED], *(["..."] if len(texts) > _MAX_LISTED else [])])
