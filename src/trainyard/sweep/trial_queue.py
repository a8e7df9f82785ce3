"""The order in which the trials of a sweep start. A sampler draws a point only when a slot for it is free.

Each draw is written to the plan and the ledger before its first trial starts. A resumed sweep rebuilds the sampler's
state from the ledger, so it continues exactly where it stopped.
"""

from __future__ import annotations

import itertools
import statistics
from collections import deque
from collections.abc import Sequence

from trainyard.config import SweepConfig
from trainyard.errors import ConfigError
from trainyard.evaluation import Trial, higher_is_better
from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.ledger import Draw, Ended, EpochReport, PriorPoint, TrialState
from trainyard.sweep.sampler import Sampler
from trainyard.sweep.space import SearchSpace, compute_identity
from trainyard.sweep.warm_start import PriorSweep

_MAX_REJECTED_DRAWS = 100
"""The search ends after this number of consecutive rejected draws, because the space is nearly exhausted."""


class TrialQueue:
    """Waiting trials, in the order in which they were added."""

    def __init__(self) -> None:
        self._ready: deque[Trial] = deque()
        self._deferred: deque[Trial] = deque()

    @property
    def undrawn(self) -> Sequence[int]:
        """The numbers of the trials that remain to be drawn."""
        return ()

    def has_more(self) -> bool:
        """Returns whether there may be further trials to start."""
        return bool(self._ready or self._deferred)

    def put(self, trial: Trial) -> None:
        """Adds a trial to the queue."""
        self._ready.append(trial)

    def put_last(self, trial: Trial) -> None:
        """Adds a trial to start after all other trials."""
        self._deferred.append(trial)

    def take(self) -> Trial | None:
        """Removes and returns the next trial, or returns None if there is none."""
        queue = self._ready or self._deferred
        return queue.popleft() if queue else None

    def finish(self, trial: Trial, value: float | None) -> None:
        """Reports the end of a trial that is not retried; `value` is its objective, None if it failed or was pruned."""


class SearchQueue(TrialQueue):
    """Waiting trials, and the sampler that draws further points."""

    def __init__(
        self, space: SearchSpace, policy: SweepConfig, folder: SweepFolder, prior_sweeps: Sequence[PriorSweep] = ()
    ) -> None:
        """Creates the queue and replays the ledger, which has the points of `prior_sweeps` if the sweep is resumed."""
        super().__init__()
        self._space = space
        self._points = policy.points
        maximize = higher_is_better(policy.objective)
        self._sampler = Sampler(policy.sampler, policy.sampler_seed, space, maximize=maximize)
        self._folder = folder
        self._ledger = folder.ledger
        self._values: dict[int, dict[int, float | None]] = {}
        self._turns: dict[int, int] = {}
        self._seen: dict[str, int] = {}
        self._reported: dict[int, float | None] = {}
        self._turn = 0
        self._rejected = 0
        prior_points = list(itertools.chain.from_iterable(earlier.points for earlier in prior_sweeps))
        if prior_points and not any(isinstance(event, PriorPoint | Draw) for event in folder.ledger.events):
            folder.ledger.record_prior_points(prior_points)
        self._replay()

    def has_more(self) -> bool:
        """Returns whether there may be further trials to start."""
        return super().has_more() or self._can_draw

    @property
    def _can_draw(self) -> bool:
        """Whether fewer points than planned were drawn and the search space does not seem exhausted."""
        return len(self._turns) < self._points and self._rejected < _MAX_REJECTED_DRAWS

    def put(self, trial: Trial) -> None:
        """Queues a trial that was drawn earlier. A trial whose draw is not in the ledger is ignored and drawn anew."""
        if trial.point in self._turns:
            super().put(trial)

    def take(self) -> Trial | None:
        """Removes and returns the next trial, and draws points if necessary. Returns None if there is none."""
        while not self._ready and self._can_draw:
            self._draw_point()
        return super().take()

    def finish(self, trial: Trial, value: float | None) -> None:
        """Records the final result of a trial. When all trials of a point have ended, reports it to the sampler."""
        values = self._values[trial.point]
        values[trial.number] = value
        if len(values) == len(self._space.seeds):
            self._report_point(trial.point)

    @property
    def undrawn(self) -> range:
        """Numbers of the trials that have not been drawn yet."""
        seeds = len(self._space.seeds)
        return range(len(self._turns) * seeds + 1, self._points * seeds + 1)

    def _draw_point(self) -> None:
        """Draws a point, records it, and queues its trials. Rejects it if its config is invalid or a duplicate."""
        point, drawn = self._sampler.draw()
        number = len(self._turns) + 1
        try:
            config = self._space.build_config(point)
        except ConfigError as error:
            self._ledger.record_draw(Draw(drawn, None, f"its config is invalid: {error.problems[0]}"))
            self._reject_draw(None)
            return
        identity = compute_identity(self._space.freeze(config) | {"seed": None})
        if duplicate_of := self._seen.get(identity):
            reason = f"it has the same config as point {duplicate_of}"
            self._ledger.record_draw(Draw(drawn, None, reason, duplicate_of))
            self._reject_draw(duplicate_of)
            return
        trials = self._space.build_trials(number, point, config)
        self._folder.add_trials(trials)
        self._ledger.record_draw(Draw(drawn, number))
        self._register_point(number, identity)
        self._ready.extend(trials)

    def _register_point(self, number: int, identity: str) -> None:
        """Stores the number of an accepted point; `identity` is that of its config without the seed."""
        self._turns[number] = self._turn
        self._seen[identity] = number
        self._values[number] = {}
        self._turn += 1
        self._rejected = 0

    def _reject_draw(self, duplicate_of: int | None) -> None:
        """Reports the current draw, which was rejected, to the sampler.

        A duplicate of a point that has a result gets the value of that point; any other draw is reported as failed.
        """
        self._sampler.report_value(self._turn, self._reported.get(duplicate_of) if duplicate_of else None)
        self._turn += 1
        self._rejected += 1

    def _report_point(self, point: int) -> None:
        """Reports a point to the sampler: the mean of its finished trials, or if all were pruned, their last values."""
        values = self._values[point]
        records = map(self._ledger.get_trial_record, values)
        pruned = [record.last_epoch for record in records if record.state is TrialState.PRUNED and record.last_epoch]
        finished = [value for value in values.values() if value is not None]
        self._reported[point] = statistics.fmean(finished) if finished else None
        if pruned and not finished:
            value = statistics.fmean(report.value for report in pruned)
            self._sampler.report_pruned(self._turns[point], min(report.epoch for report in pruned), value)
        else:
            self._sampler.report_value(self._turns[point], self._reported[point])

    def _replay(self) -> None:
        """Repeats all recorded draws and reports in their original order."""
        if prior := [event for event in self._ledger.events if isinstance(event, PriorPoint)]:
            self._sampler.add_prior_points([(event.drawn, event.value) for event in prior])
        trials = {trial.number: trial for trial in self._folder.read_trials()}
        for event in self._ledger.events:
            if isinstance(event, PriorPoint | EpochReport):
                continue
            if isinstance(event, Ended):
                self.finish(trials[event.trial], event.value)
                continue
            self._sampler.draw(event.drawn)
            if event.point is None:
                self._reject_draw(event.duplicate_of)
            else:
                first = trials[(event.point - 1) * len(self._space.seeds) + 1]
                self._register_point(event.point, compute_identity({**first.config, "seed": None}))
