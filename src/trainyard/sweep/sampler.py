"""Points drawn from a search space by Optuna's samplers, through Optuna's ask-and-tell interface.

The draws of a sampler depend only on its seed and on the sequence of draws and reported results. A resumed sweep
therefore replays the ledger and continues exactly where it stopped. Stateless samplers get a new seed for each point;
stateful ones repeat their earlier draws.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.errors import ConfigError
from trainyard.sweep.grid import Axis, AxisSetting, Interval, Point
from trainyard.sweep.optuna_adapter import (
    build_distribution,
    build_finished_trial,
    build_sampler,
    create_study,
    end_trial,
)
from trainyard.sweep.space import SearchSpace

if TYPE_CHECKING:
    import optuna

GRID = "grid"
ADAPTIVE_SAMPLERS = ("tpe", "gp", "cmaes")
"""Samplers whose draws depend on earlier results."""

_STATEFUL_SAMPLERS = ("cmaes", "qmc")
"""Samplers with internal state. It is restored by repeating their earlier draws."""
MIN_CMAES_POINTS = 10
"""Minimum number of prior points for CMA-ES, which starts from the best tenth of them."""
_DIGITS = 4
"""Significant digits of a drawn number: more would not make a learning rate of 0.001234 better."""


def check_sampler_installed(name: str) -> None:
    """Raises a ConfigError if a package that the sampler needs is not installed."""
    if name == "gp" and importlib.util.find_spec("torch") is None:
        raise ConfigError(
            "sweep.sampler: gp requires the package torch, which is not installed. Install it (pip install torch, or "
            "Trainyard's extra 'gp'), or set sweep.sampler=tpe"
        )


class Sampler:
    """Draws points with an in-memory Optuna study of one objective."""

    def __init__(self, name: str, seed: int, space: SearchSpace, *, maximize: bool) -> None:
        """Creates a sampler without any results. `name` is a value of `sweep.sampler`, except the grid."""
        self._name = name
        self._seed = seed
        self._space = space
        self._study = create_study(maximize=maximize, sampler=build_sampler(name, seed))
        self._draws: list[optuna.Trial] = []
        self._reported: set[int] = set()

    def draw(self, recorded: Mapping[str, Any] | None = None) -> tuple[Point, dict[str, Any]]:
        """Draws the next point, or repeats a `recorded` draw. Returns it with the drawn values by axis key."""
        drawn = self._draw_from_study(recorded if self._name not in _STATEFUL_SAMPLERS else None)
        if recorded is not None and drawn[1] != recorded:  # another version of the library
            end_trial(self._study, self._draws.pop(), None)
            drawn = self._draw_from_study(recorded)
        return drawn

    def report_value(self, turn: int, value: float | None) -> None:
        """Reports the objective of the draw with index `turn`, from 0. None or NaN means that the draw failed.

        If a failed point is retried, its result is reported as a separate point.
        """
        trial = self._draws[turn]
        if turn not in self._reported:
            end_trial(self._study, trial, value)
        elif value is not None and not math.isnan(value) and self._name not in _STATEFUL_SAMPLERS:
            self._study.add_trial(build_finished_trial(trial.params, trial.distributions, value))
        self._reported.add(turn)

    def report_pruned(self, turn: int, epoch: int, value: float) -> None:
        """Reports that the draw with index `turn`, from 0, was pruned after an epoch; `value` is the objective then."""
        if turn not in self._reported:
            self._draws[turn].report(value, epoch)
            end_trial(self._study, self._draws[turn], None, pruned=True)
        self._reported.add(turn)

    def add_prior_points(self, points: Sequence[tuple[Mapping[str, Any], float]]) -> None:
        """Adds points of earlier sweeps with their objectives. Must be called before the first draw."""
        is_cmaes = self._name == "cmaes"  # it uses only numbers, and not as trials of the study, but as starting points
        axes = [axis for axis in self._space.axes if axis.swept and (axis.interval or not is_cmaes)]
        distributions = {axis.key: _build_axis_distribution(axis) for axis in axes}
        trials = [build_finished_trial(drawn, distributions, value) for drawn, value in points]
        if is_cmaes:
            self._study.sampler = build_sampler(self._name, self._seed, trials)
        else:
            self._study.add_trials(trials)

    def _draw_from_study(self, recorded: Mapping[str, Any] | None) -> tuple[Point, dict[str, Any]]:
        """Draws a point, or repeats the `recorded` values; returns it with the drawn values by axis key."""
        if recorded is not None:
            self._study.enqueue_trial(dict(recorded))
        if recorded is not None and self._name not in _STATEFUL_SAMPLERS:
            self._study.sampler = build_sampler("random", 0)  # all values are given: no model has to be fitted
        elif self._name not in _STATEFUL_SAMPLERS:
            seeds = np.random.SeedSequence([self._seed, len(self._draws)])
            self._study.sampler = build_sampler(self._name, int(seeds.generate_state(1)[0]))
        with warnings.catch_warnings(action="ignore"):  # about experimental features
            trial = self._study.ask()
            self._draws.append(trial)
            groups = [_draw_setting(trial, axis) for axis in self._space.axes if axis.settings[0].structural]
            chosen = {setting.key: setting for setting in groups}
            for axis in self._space.axes:
                if axis.key not in chosen and (not axis.swept or self._space.is_active(axis, groups)):
                    chosen[axis.key] = _draw_setting(trial, axis)
        return self._space.sort_by_axis([*chosen.values()]), dict(trial.params)


def find_drawn_value(axis: Axis, value: Any) -> Any:  # noqa: ANN401 - any value
    """Returns a config value as it is drawn: a number, or the text of an override; None if it is not on the axis."""
    if axis.interval:
        return value if axis.interval.contains(value) else None
    return next((setting.text for setting in axis.settings if setting.value == value), None)


def _draw_setting(trial: optuna.Trial, axis: Axis) -> AxisSetting:
    """Draws a setting of an axis. Returns the only setting if the axis is fixed."""
    if not axis.swept:
        return axis.settings[0]
    interval = axis.interval
    if interval is None:
        text = trial.suggest_categorical(axis.key, [setting.text for setting in axis.settings])
        return next(setting for setting in axis.settings if setting.text == text)
    if interval.is_integer:
        low, high = int(interval.low), int(interval.high)
        return axis.build_setting(
            trial.suggest_int(axis.key, low, high, log=interval.log, step=_compute_step(interval))
        )
    value = trial.suggest_float(axis.key, interval.low, interval.high, log=interval.log)
    return axis.build_setting(min(max(_round_drawn_number(value, interval), interval.low), interval.high))


def _round_drawn_number(value: float, interval: Interval) -> float:
    """Rounds a number to 4 significant digits, of itself or of the interval's width, whichever is finer."""
    exponent = min(_compute_exponent(value), _compute_exponent(interval.high - interval.low))
    return round(value, _DIGITS - 1 - exponent)


def _compute_exponent(value: float) -> int:
    """Returns the decimal exponent of a number: -3 for 0.0012; 0 for zero."""
    return math.floor(math.log10(abs(value))) if value else 0


def _compute_step(interval: Interval) -> int:
    """Returns the step between integers. On a logarithmic scale Optuna supports only 1."""
    return 1 if interval.log else int(interval.step or 1)


def _build_axis_distribution(axis: Axis) -> Any:  # noqa: ANN401 - an Optuna type
    """Returns the Optuna distribution of a swept axis."""
    if axis.interval is None:
        return build_distribution([setting.text for setting in axis.settings])
    return build_interval_distribution(axis.interval)


def build_interval_distribution(interval: Interval) -> Any:  # noqa: ANN401 - an Optuna type
    """Returns the Optuna distribution of the numbers of an interval."""
    step = _compute_step(interval) if interval.is_integer else None
    return build_distribution(None, interval.low, interval.high, log=interval.log, step=step)
