"""Points drawn from a space by Optuna: it is asked for a point, and told what came of it.

A sampler is a function of its seed and of what it was asked and told, in that order, so that one that is told again
what stands in a ledger goes on as if nothing had been. Those that need no memory of their own are seeded anew for each
point; the others draw what they drew before.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.errors import ConfigError
from trainyard.sweep.grid import Axis, Interval, Point, Setting

if TYPE_CHECKING:
    import optuna

GRID = "grid"
SAMPLERS = (GRID, "random", "tpe", "gp", "cmaes", "qmc")
"""What `sweep.sampler` may be; a grid is all points, in order."""

LEARNING = ("tpe", "gp", "cmaes")
"""Those whose draws depend on what came of earlier ones."""

_REMEMBERING = ("cmaes", "qmc")
"""Samplers with a state of their own, which comes back when they draw again what they drew before."""
LEAST_FOR_CMAES = 10
"""It begins from the best tenth of what it knows."""
_DIGITS = 4
"""Of a number that is drawn: a learning rate of 0.001234 is as good as one of 0.0012341234."""

Applies = Callable[[Axis, Sequence[Setting]], bool]
"""Tells whether an axis means anything under the settings of the structural ones."""


def require_sampler(name: str) -> None:
    """Makes sure that what a sampler needs is installed.

    Raises:
        ConfigError: If a package is missing.
    """
    if name == "gp" and importlib.util.find_spec("torch") is None:
        raise ConfigError(
            "sweep.sampler: gp fits its Gaussian process with the package torch, which is not installed. Install it "
            "(pip install torch, or Trainyard's extra 'gp'), or take tpe"
        )


class Sampler:
    """An Optuna study of one objective in memory."""

    def __init__(self, name: str, seed: int, axes: Sequence[Axis], *, maximize: bool) -> None:
        """Begins with nothing known.

        Args:
            name: One of `SAMPLERS`, but no grid.
            seed: Of all that is drawn.
            axes: What is drawn from, and what is fixed.
            maximize: Whether more is better.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._name = name
        self._seed = seed
        self._axes = axes
        self._study = optuna.create_study(sampler=_make(name, seed), direction="maximize" if maximize else "minimize")
        self._asked: list[optuna.Trial] = []
        self._told: set[int] = set()

    def draw(self, applies: Applies, known: Mapping[str, Any] | None = None) -> tuple[Point, dict[str, Any]]:
        """Returns a point, and what was drawn, by the keys of the axes.

        Args:
            applies: Which axes mean anything.
            known: What was drawn at this turn by an earlier start; it is drawn again.
        """
        drawn = self._ask(applies, known if self._name not in _REMEMBERING else None)
        if known is not None and drawn[1] != known:  # another version of the library
            self._study.tell(self._asked.pop(), state=_states().FAIL)
            drawn = self._ask(applies, known)
        return drawn

    def tell(self, turn: int, value: float | None) -> None:
        """Says what came of the point of a turn, counted from 0; None or NaN: nothing, it failed.

        Of one that had failed, and was tried again, it is told as of a point of its own.
        """
        trial = self._asked[turn]
        failed = value is None or math.isnan(value)
        if turn not in self._told:
            self._study.tell(trial, None if failed else value, state=_states().FAIL if failed else None)
        elif not failed and self._name not in _REMEMBERING:
            self._study.add_trial(_complete(trial.params, trial.distributions, value))
        self._told.add(turn)

    def tell_pruned(self, turn: int, epoch: int, value: float) -> None:
        """Says that the point of a turn was given up after an epoch, and what it had come to by then."""
        if turn not in self._told:
            self._asked[turn].report(value, epoch)
            self._study.tell(self._asked[turn], state=_states().PRUNED)
        self._told.add(turn)

    def know(self, known: Sequence[tuple[Mapping[str, Any], float]]) -> None:
        """Says what points came to that were not asked for, of earlier sweeps. Comes before the first draw."""
        spaces = {axis.key: _distribution(axis) for axis in self._axes if axis.swept}
        if self._name == "cmaes":  # it knows numbers alone, heeds only trials of its own, and these as where to begin
            spaces = {key: space for key, space in spaces.items() if not hasattr(space, "choices")}
        trials = [
            _complete({key: drawn[key] for key in drawn if key in spaces}, spaces, value) for drawn, value in known
        ]
        if self._name == "cmaes":
            with quietly():
                self._study.sampler = _make(self._name, self._seed, trials)
        else:
            self._study.add_trials(trials)

    def _ask(self, applies: Applies, known: Mapping[str, Any] | None) -> tuple[Point, dict[str, Any]]:
        if known is not None:
            self._study.enqueue_trial(dict(known))
        if known is not None and self._name not in _REMEMBERING:
            self._study.sampler = _make("random", 0)  # all is said: nothing is to be fitted
        elif self._name not in _REMEMBERING:
            seeds = np.random.SeedSequence([self._seed, len(self._asked)])
            self._study.sampler = _make(self._name, int(seeds.generate_state(1)[0]))
        with quietly():
            trial = self._study.ask()
            self._asked.append(trial)
            groups = [_suggest(trial, axis) for axis in self._axes if axis.settings[0].structural]
            chosen = {setting.key: setting for setting in groups}
            for axis in self._axes:
                if axis.key not in chosen and (not axis.swept or applies(axis, groups)):
                    chosen[axis.key] = _suggest(trial, axis)
        point = tuple(chosen[axis.key] for axis in self._axes if axis.key in chosen)
        return point, dict(trial.params)


def read_drawn(axis: Axis, value: Any) -> Any:  # noqa: ANN401 - any value
    """Returns how a setting's value stands among what is drawn, or None where the axis does not have it."""
    if axis.interval:
        return value if axis.interval.has(value) else None
    return next((setting.text for setting in axis.settings if setting.value == value), None)


def _suggest(trial: optuna.Trial, axis: Axis) -> Setting:
    """Draws a setting of an axis; of one that is fixed, takes it."""
    if not axis.swept:
        return axis.settings[0]
    interval = axis.interval
    if interval is None:
        text = trial.suggest_categorical(axis.key, [setting.text for setting in axis.settings])
        return next(setting for setting in axis.settings if setting.text == text)
    if interval.whole:
        low, high = int(interval.low), int(interval.high)
        return axis.setting(trial.suggest_int(axis.key, low, high, log=interval.log, step=_step(interval)))
    value = trial.suggest_float(axis.key, interval.low, interval.high, log=interval.log)
    return axis.setting(min(max(_round(value, interval), interval.low), interval.high))


def _round(value: float, interval: Interval) -> float:
    """Returns a number with the digits that matter in itself, and in an interval that is narrow beside it."""
    least = min(_exponent(value), _exponent(interval.high - interval.low))
    return round(value, _DIGITS - 1 - least)


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value))) if value else 0


def _step(interval: Interval) -> int:
    """Returns the step of whole numbers; Optuna has none but 1 on a logarithmic scale."""
    return 1 if interval.log else int(interval.step or 1)


def _distribution(axis: Axis) -> Any:  # noqa: ANN401 - of Optuna's
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    interval = axis.interval
    if interval is None:
        return CategoricalDistribution([setting.text for setting in axis.settings])
    if interval.whole:
        return IntDistribution(int(interval.low), int(interval.high), log=interval.log, step=_step(interval))
    return FloatDistribution(interval.low, interval.high, log=interval.log)


def _complete(params: Mapping[str, Any], spaces: Mapping[str, Any], value: float | None) -> Any:  # noqa: ANN401 - of Optuna's
    """Returns a trial that nobody asked for."""
    import optuna

    spaces = {key: spaces[key] for key in params}
    return optuna.trial.create_trial(params=dict(params), distributions=spaces, value=value)


def _make(name: str, seed: int, known: Sequence[Any] | None = None) -> Any:  # noqa: ANN401 - of Optuna's
    from optuna import samplers

    with quietly():
        match name:
            case "random":
                return samplers.RandomSampler(seed=seed)
            case "tpe":
                return samplers.TPESampler(seed=seed, multivariate=True, group=True, warn_independent_sampling=False)
            case "gp":
                return samplers.GPSampler(seed=seed, warn_independent_sampling=False)
            case "cmaes":
                return samplers.CmaEsSampler(
                    seed=seed, warn_independent_sampling=False, source_trials=list(known) if known else None
                )
            case "qmc":
                return samplers.QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)
            case _:
                raise ValueError(f"expected one of {SAMPLERS[1:]}, got {name!r}")


def _states() -> Any:  # noqa: ANN401 - of Optuna's
    from optuna.trial import TrialState

    return TrialState


@contextmanager
def quietly() -> Iterator[None]:
    """Keeps to itself what Optuna says of parts that may change in its later versions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
