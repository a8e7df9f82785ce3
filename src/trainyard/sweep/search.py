"""The queue of a sweep whose points are drawn: the next is drawn the moment a place is free for it.

Each draw is in the plan and in the ledger before its first trial begins. What a sampler knows is rebuilt from the
ledger, so that a sweep that was ended goes on as if it had not been.
"""

from __future__ import annotations

import itertools
import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from trainyard.config.schema import RunConfig
from trainyard.errors import ConfigError
from trainyard.evaluation.ranking import higher_is_better
from trainyard.evaluation.trials import Trial
from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.ledger import Draw, Epoch, Known, Ledger
from trainyard.sweep.plan import SearchPlan, canonical
from trainyard.sweep.sampler import Sampler
from trainyard.sweep.warm_start import Experience

_MOST_IN_VAIN = 100
"""So many draws in a row that came to nothing new end the search: there is little left that was not tried."""


class Search:
    """Trials that wait, and points that are yet to be drawn."""

    def __init__(
        self,
        plan: SearchPlan,
        objective: str,
        folder: SweepFolder,
        ledger: Ledger,
        experience: Sequence[Experience] = (),
    ) -> None:
        """Takes in what was drawn and done before.

        Args:
            plan: How points are drawn.
            objective: What trials are compared by.
            folder: Of the sweep.
            ledger: Of the sweep.
            experience: Earlier sweeps; of a sweep that goes on, the ledger has what it was told when it began.
        """
        self._space = plan.space
        self._points = plan.points
        self._sampler = Sampler(plan.sampler, plan.seed, plan.space.axes, maximize=higher_is_better(objective))
        self._folder = folder
        self._ledger = ledger
        self._ready: deque[Trial] = deque()
        self._later: deque[Trial] = deque()
        self._values: dict[int, dict[int, float | None]] = {}
        self._turns: dict[int, int] = {}
        self._seen: dict[str, int] = {}
        self._told: dict[int, float | None] = {}
        self._turn = 0
        self._in_vain = 0
        known = list(itertools.chain.from_iterable(earlier.known for earlier in experience))
        if known and not any(isinstance(event, Known | Draw) for event in ledger.sequence):
            ledger.knew(known)
        self._replay()

    def __bool__(self) -> bool:
        """Whether there may be something left to start."""
        return bool(self._ready or self._later) or self._may_draw

    @property
    def _may_draw(self) -> bool:
        return len(self._turns) < self._points and self._in_vain < _MOST_IN_VAIN

    def put(self, trial: Trial) -> None:
        """Has a trial wait that was drawn before; one whose drawing was broken off is drawn anew."""
        if trial.point in self._turns:
            self._ready.append(trial)

    def put_last(self, trial: Trial) -> None:
        """Has a trial wait until all others have begun."""
        self._later.append(trial)

    def take(self) -> Trial | None:
        """Returns the next trial, or None where nothing is left that was not tried."""
        while not self._ready and self._may_draw:
            self._draw()
        waiting = self._ready or self._later
        return waiting.popleft() if waiting else None

    def ended(self, trial: Trial, value: float | None) -> None:
        """Takes in how a trial ended for good; when all of its point have, the sampler is told their mean."""
        values = self._values[trial.point]
        values[trial.number] = value
        if len(values) == len(self._space.seeds):
            self._tell(trial.point)

    @property
    def missing(self) -> range:
        """The numbers of the trials that are not drawn."""
        seeds = len(self._space.seeds)
        return range(len(self._turns) * seeds + 1, self._points * seeds + 1)

    def _draw(self) -> None:
        point, drawn = self._sampler.draw(self._space.applies)
        number = len(self._turns) + 1
        try:
            config = self._space.make(point)
        except ConfigError as error:
            self._refuse(drawn, f"it is wrong: {error.problems[0]}", None)
            return
        if same := self._seen.get(self._name(config)):
            self._refuse(drawn, f"it is point {same} again", same)
            return
        trials = self._space.trials(number, (number - 1) * len(self._space.seeds) + 1, point, config)
        self._folder.add_trials(trials)
        self._ledger.drew(drawn, number)
        self._take_in(number, self._name(config))
        self._ready.extend(trials)

    def _take_in(self, number: int, name: str) -> None:
        self._turns[number] = self._turn
        self._seen[name] = number
        self._values[number] = {}
        self._turn += 1
        self._in_vain = 0

    def _refuse(self, drawn: Mapping[str, Any], why: str, same: int | None) -> None:
        """Has a draw come to nothing; where it is one that is known, the sampler is told what that came to."""
        self._ledger.drew(drawn, None, why, same)
        self._tell_again(same)
        self._turn += 1
        self._in_vain += 1

    def _tell(self, point: int) -> None:
        """Tells the sampler the mean of a point's trials that are done, or else how far those came that were pruned.

        Of a point with pruned trials those that are done would tell the luck of the best seeds.
        """
        values = self._values[point]
        last = [self._ledger.last_epoch(n) for n in values if self._ledger.account(n).state == "pruned"]
        reported = [epoch for epoch in last if epoch]
        known = [value for value in values.values() if value is not None and not reported]
        self._told[point] = statistics.fmean(known) if known else None
        if reported:
            value = statistics.fmean(epoch.value for epoch in reported)
            self._sampler.tell_pruned(self._turns[point], min(epoch.epoch for epoch in reported), value)
        else:
            self._sampler.tell(self._turns[point], self._told[point])

    def _tell_again(self, same: int | None) -> None:
        value = self._told.get(same) if same else None
        self._sampler.tell(self._turn, value)

    def _replay(self) -> None:
        """Draws again what was drawn, and tells again what was told, in the same order."""
        if known := [event for event in self._ledger.sequence if isinstance(event, Known)]:
            self._sampler.know([(event.drawn, event.value) for event in known])
        trials = {trial.number: trial for trial in self._folder.read_trials()}
        for event in self._ledger.sequence:
            if isinstance(event, Known | Epoch):
                continue
            if isinstance(event, int):
                self.ended(trials[event], self._ledger.objective_of(event))
                continue
            self._sampler.draw(self._space.applies, event.drawn)
            if event.point is None:
                self._tell_again(event.same)
                self._turn += 1
                self._in_vain += 1
            else:
                first = trials[(event.point - 1) * len(self._space.seeds) + 1]
                self._take_in(event.point, canonical(dict(first.config) | {"seed": None}))

    def _name(self, config: RunConfig) -> str:
        """Returns what is the same for all trials of a point, and for no other point's."""
        return canonical(self._space.freeze(config) | {"seed": None})
