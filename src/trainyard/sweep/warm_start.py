"""What earlier sweeps came to, as a sampler is told of it before it draws."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainyard.config.compose import flatten_tree
from trainyard.errors import ConfigError
from trainyard.evaluation.trials import Trial
from trainyard.sweep.folder import find_sweep
from trainyard.sweep.grid import Axis
from trainyard.sweep.ledger import Known, Ledger
from trainyard.sweep.sampler import LEAST_FOR_CMAES, read_drawn


@dataclass(frozen=True, slots=True)
class Experience:
    """What is known from one earlier sweep.

    Attributes:
        sweep: Its name.
        known: Those of its points that lie in the space, each with the mean of its trials that are done.
        outside: How many of its points are done and lie elsewhere.
    """

    sweep: str
    known: tuple[Known, ...]
    outside: int

    def describe(self) -> str:
        """Returns a line for a reader."""
        elsewhere = f"; {self.outside} more lie outside what is drawn from" if self.outside else ""
        return f"{len(self.known)} points of the sweep {self.sweep} are known to the sampler{elsewhere}"


def read_experience(
    names: Sequence[str], objective: str, axes: Sequence[Axis], sampler: str = "tpe"
) -> list[Experience]:
    """Reads earlier sweeps; nothing is written there. What their trials had in common may differ from what it is now.

    Args:
        names: Of the sweeps, or the paths of their folders.
        objective: What the new sweep compares.
        axes: What it draws from.
        sampler: By what.

    Raises:
        ConfigError: If there is no such sweep, it compares something else, or knows too little to be of use.
    """
    found = [_read_one(name, objective, [axis for axis in axes if axis.swept]) for name in names]
    count = sum(len(earlier.known) for earlier in found)
    if names and sampler == "cmaes" and count < LEAST_FOR_CMAES:
        raise ConfigError(
            f"sweep.warm_start: cmaes begins from the best tenth of what it knows, and needs {LEAST_FOR_CMAES} points; "
            f"{count} of {' and '.join(names)} lie in what is drawn from. Take tpe as sweep.sampler, or leave it out"
        )
    return found


def _read_one(name: str, objective: str, axes: Sequence[Axis]) -> Experience:
    folder = find_sweep(name, "sweep.warm_start")
    compared = folder.read_header()["objective"] or "nothing"
    if compared != objective:
        raise ConfigError(f"sweep.warm_start: expected a sweep that compares by {objective}, {name} does by {compared}")
    points: dict[int, list[Trial]] = defaultdict(list)
    values: dict[int, list[float]] = defaultdict(list)
    ledger = Ledger(folder.ledger)
    for trial in folder.read_trials():
        value = ledger.objective_of(trial.number)
        if value is not None:
            points[trial.point].append(trial)
            values[trial.point].append(value)
    drawn = {number: _as_drawn(trials[0].config, axes) for number, trials in points.items()}
    known = tuple(Known(of, statistics.fmean(values[number]), name) for number, of in drawn.items() if of is not None)
    if not known:
        done = f"none of its {len(drawn)} points that are done lies in what is drawn from" if drawn else "none is done"
        raise ConfigError(f"sweep.warm_start: there is nothing to be learnt from {name}: {done}")
    return Experience(name, known, len(drawn) - len(known))


def _as_drawn(config: Mapping[str, Any], axes: Sequence[Axis]) -> dict[str, Any] | None:
    """Returns the settings of an earlier trial as a sampler would have drawn them; None where it could not have."""
    drawn = dict(_settings(config, axes))
    return None if None in drawn.values() or not drawn else drawn


def _settings(config: Mapping[str, Any], axes: Sequence[Axis]) -> Iterator[tuple[str, Any]]:
    values = flatten_tree(dict(config))
    for axis in axes:
        key = axis.key.lstrip("+~")
        if f"{key}.name" in values:  # of a group, what was chosen
            yield axis.key, read_drawn(axis, values[f"{key}.name"])
        elif key in values:
            yield axis.key, read_drawn(axis, values[key])
        elif axis.settings[0].structural:  # a recipe, of which a config does not say that it was chosen
            yield axis.key, None
