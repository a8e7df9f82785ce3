"""Runs the trials of a sweep: starts them as slots become free, prunes and retries them, and stops after failures.

A trial writes its result file just before its MLflow run becomes FINISHED. If the process of the trial or of the sweep
ends between these two steps, the status of the MLflow run decides whether the trial is done.
"""

from __future__ import annotations

import contextlib

from trainyard.config import SweepConfig
from trainyard.errors import TrackingError
from trainyard.evaluation import Trial, TrialResult
from trainyard.sweep.launch.process_pool import JobExit, Message
from trainyard.sweep.ledger import Ended, TrialState
from trainyard.sweep.pruner import TrialPruner
from trainyard.sweep.recorder import TrialRecorder
from trainyard.sweep.results import has_finished, load_result
from trainyard.sweep.space import NOT_DRAWN
from trainyard.sweep.tracking import SweepTracker
from trainyard.sweep.trial_queue import TrialQueue
from trainyard.sweep.trial_runner import TrialRunner


class SweepScheduler:
    """Runs all waiting trials of a sweep."""

    def __init__(
        self,
        policy: SweepConfig,
        recorder: TrialRecorder,
        queue: TrialQueue,
        runner: TrialRunner,
        *,
        runs: SweepTracker,
        pruner: TrialPruner | None = None,
    ) -> None:
        """Queues the waiting trials; the `queue` must be empty. Without a `pruner`, no trial ends early."""
        self._policy = policy
        self._recorder = recorder
        self._queue = queue
        self._runner = runner
        self._runs = runs
        self._pruner = pruner
        self._prune_reasons: dict[int, str] = {}
        for number in recorder.outcomes.waiting:
            if (trial := recorder.get_trial(number)).label != NOT_DRAWN:
                queue.put(trial)

    def run(self) -> None:
        """Starts a trial whenever a slot is free, and processes messages and exits as they arrive."""
        queue, runner = self._queue, self._runner
        while (queue.has_more() and not self._should_stop()) or len(runner):
            while runner.has_free_slot and not self._should_stop() and (trial := queue.take()):
                if self._pruner and (reason := self._pruner.find_skip_reason(trial.number)):
                    self._end_pruned(trial, reason)
                else:
                    runner.start(trial, self._recorder.record_start(trial))
            for event in runner.poll() if len(runner) else ():  # none runs if no further point could be drawn
                trial = self._recorder.get_trial(event.number)
                if isinstance(event, JobExit):
                    self._handle_exit(trial, event.failure)
                else:
                    self._handle_epoch(trial, event)
        if not queue.has_more():
            self._recorder.drop_undrawn(queue.undrawn)
        self._recorder.update_waiting()

    def _should_stop(self) -> bool:
        """Returns whether the number of failed trials has reached the limit, so that no further trial starts."""
        failures = len(self._recorder.outcomes.failed)
        limit = 1 if self._policy.on_error == "stop" else self._policy.max_failures
        return limit is not None and failures >= limit

    def _handle_epoch(self, trial: Trial, message: Message) -> None:
        """Records an epoch, and with a pruner replies whether the trial is pruned."""
        epoch, epochs, metrics = message.content
        objective = self._pruner.objective if self._pruner else None
        report = self._recorder.record_epoch(trial, epoch, epochs, metrics, objective)
        if self._pruner and report:
            if reason := self._pruner.report_epoch(report):
                self._prune_reasons[trial.number] = reason
            message.answer((epoch, reason))

    def _handle_exit(self, trial: Trial, failure: str) -> None:
        """Processes the end of a trial. If its MLflow run is FINISHED, the trial is done, even if its process failed.

        A trial that finished but could not reach the tracking store counts as failed. It is not retried: when the sweep
        is resumed, its run is only uploaded.
        """
        folder = self._recorder.get_folder(trial)
        result = load_result(folder)
        if result and (not failure or self._is_finished(result)):
            self._recorder.record_done(trial, result)
            self._report_end(trial, TrialState.DONE, result.objective)
            return
        prune_reason = self._prune_reasons.pop(trial.number, "")
        if prune_reason and not failure:
            self._end_pruned(trial, prune_reason)
            return
        can_retry = self._recorder.count_attempts(trial) <= self._policy.retries
        will_retry = can_retry and not (result and has_finished(folder))
        self._recorder.record_failure(trial, failure or "it ended without a result", will_retry=will_retry)
        if will_retry:
            self._queue.put_last(trial)
        else:
            self._report_end(trial, TrialState.FAILED)

    def _end_pruned(self, trial: Trial, reason: str) -> None:
        """Records and reports that a trial was pruned."""
        self._recorder.record_pruned(trial, reason)
        self._report_end(trial, TrialState.PRUNED)

    def _report_end(self, trial: Trial, state: TrialState, value: float | None = None) -> None:
        """Reports the end of a trial that is not retried; `value` is None if it failed or was pruned."""
        if self._pruner:
            self._pruner.report_end(Ended(trial.number, state, value))
        self._queue.finish(trial, value)

    def _is_finished(self, result: TrialResult) -> bool:
        """Returns whether the MLflow run of a trial is FINISHED; False if the tracking store is unreachable."""
        with contextlib.suppress(TrackingError):
            return self._runs.is_finished(result)
        return False
