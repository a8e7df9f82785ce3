"""Warm start: results of earlier sweeps, which a sampler receives before it draws its first point."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainyard.config import flatten_tree
from trainyard.errors import ConfigError
from trainyard.sweep.folder import find_sweep
from trainyard.sweep.grid import Axis
from trainyard.sweep.ledger import PriorPoint
from trainyard.sweep.sampler import MIN_CMAES_POINTS, find_drawn_value


@dataclass(frozen=True, slots=True)
class PriorSweep:
    """The points of an earlier sweep in the new search space, with mean objectives, and the number of its others."""

    sweep: str
    points: tuple[PriorPoint, ...]
    n_outside: int

    def describe(self) -> str:
        """Returns a one-line description for the user."""
        outside = f"; {self.n_outside} more are outside the search space" if self.n_outside else ""
        return f"warm start: the sampler uses {len(self.points)} points of the sweep {self.sweep}{outside}"


def load_prior_sweeps(
    names: Sequence[str], objective: str, axes: Sequence[Axis], sampler: str = "tpe"
) -> list[PriorSweep]:
    """Loads the results of earlier sweeps, by their names or folders; the other arguments are of the new sweep.

    Raises ConfigError if a sweep does not exist, compares another metric, or has too few points in the search space.
    """
    prior_sweeps = [_load_prior_sweep(name, objective, [axis for axis in axes if axis.swept]) for name in names]
    count = sum(len(earlier.points) for earlier in prior_sweeps)
    if names and sampler == "cmaes" and count < MIN_CMAES_POINTS:
        raise ConfigError(
            f"sweep.warm_start: cmaes starts from the best tenth of the earlier points and needs at least "
            f"{MIN_CMAES_POINTS}, but only {count} points of {' and '.join(names)} are in the search space. Set "
            "sweep.sampler=tpe, or remove sweep.warm_start"
        )
    return prior_sweeps


def _load_prior_sweep(name: str, objective: str, axes: Sequence[Axis]) -> PriorSweep:
    """Loads the points of one sweep that lie in the search space; raises a ConfigError if there are none."""
    folder = find_sweep(name, "sweep.warm_start")
    compared = folder.read_header()["objective"] or "nothing"
    if compared != objective:
        raise ConfigError(
            f"sweep.warm_start: expected a sweep with the objective {objective}, but {name} has {compared}"
        )
    configs: dict[int, Mapping[str, Any]] = {}
    values: dict[int, list[float]] = {}
    for trial in folder.read_trials():
        value = folder.ledger.get_objective_value(trial.number)
        if value is not None:
            configs.setdefault(trial.point, trial.config)
            values.setdefault(trial.point, []).append(value)
    drawn = {number: _convert_to_draw(config, axes) for number, config in configs.items()}
    usable = tuple(
        PriorPoint(draw, statistics.fmean(values[number]), name) for number, draw in drawn.items() if draw is not None
    )
    if not usable:
        reason = f"none of its {len(drawn)} finished points is in the search space" if drawn else "none is finished"
        raise ConfigError(
            f"sweep.warm_start: {name} has no points that the sampler can use: {reason}. Name another sweep"
        )
    return PriorSweep(name, usable, len(drawn) - len(usable))


def _convert_to_draw(config: Mapping[str, Any], axes: Sequence[Axis]) -> dict[str, Any] | None:
    """Returns the settings of an earlier trial as a sampler would draw them, or None if one is outside its axis."""
    settings = flatten_tree(dict(config))
    drawn = {}
    for axis in axes:
        key = axis.key.lstrip("+~")
        name = f"{key}.name" if f"{key}.name" in settings else key  # the chosen component of a config group
        if name in settings:
            drawn[axis.key] = find_drawn_value(axis, settings[name])
        elif axis.settings[0].structural:  # a recipe: the config does not show which one was chosen
            return None
    return None if None in drawn.values() or not drawn else drawn
