"""The parts of Optuna that a sweep uses: studies of one objective, distributions, samplers and pruners."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna

_REDUCTION_FACTOR = 3
"""Halving and Hyperband keep one of this number of trials at each rung."""
MEDIAN_STARTUP_TRIALS = 4
"""The median pruner starts after this number of trials have finished."""


def create_study(*, maximize: bool, sampler: Any = None, pruner: Any = None) -> optuna.Study:  # noqa: ANN401 - Optuna types
    """Returns an in-memory study of one objective."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(
        study_name="sweep",  # Hyperband assigns trials to its brackets by this name
        sampler=sampler,
        pruner=pruner,
        direction="maximize" if maximize else "minimize",
    )


def end_trial(study: optuna.Study, trial: optuna.Trial, value: float | None, *, pruned: bool = False) -> None:
    """Ends a trial with its objective. None or NaN ends it without one: as failed, or, with `pruned`, as pruned."""
    from optuna.trial import TrialState

    if value is None or math.isnan(value):
        study.tell(trial, state=TrialState.PRUNED if pruned else TrialState.FAIL)
    else:
        study.tell(trial, value)


def build_finished_trial(params: Mapping[str, Any], distributions: Mapping[str, Any], value: float) -> Any:  # noqa: ANN401 - an Optuna type
    """Returns a completed trial to add to a study without a draw. Parameters without a distribution are left out."""
    import optuna

    known = {key: params[key] for key in params if key in distributions}
    return optuna.trial.create_trial(
        params=known, distributions={key: distributions[key] for key in known}, value=value
    )


def build_distribution(
    choices: Sequence[str] | None, low: float = 0, high: float = 0, *, log: bool = False, step: int | None = None
) -> Any:  # noqa: ANN401 - an Optuna type
    """Returns a distribution: one of the choices, or, without choices, a float or, with a step, an integer."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if choices is not None:
        return CategoricalDistribution(choices)
    if step is None:
        return FloatDistribution(low, high, log=log)
    return IntDistribution(int(low), int(high), log=log, step=step)


def build_sampler(name: str, seed: int, prior: Sequence[Any] = ()) -> Any:  # noqa: ANN401 - an Optuna type
    """Returns the sampler of `sweep.sampler`; `prior` are finished trials that start CMA-ES."""
    from optuna import samplers

    with warnings.catch_warnings(action="ignore"):  # about experimental features
        match name:
            case "random":
                return samplers.RandomSampler(seed=seed)
            case "tpe":
                return samplers.TPESampler(seed=seed, multivariate=True, group=True, warn_independent_sampling=False)
            case "gp":
                return samplers.GPSampler(seed=seed, warn_independent_sampling=False)
            case "cmaes":
                trials = [*prior] or None
                return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False, source_trials=trials)
            case _:  # qmc
                return samplers.QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)


def build_pruner(name: str, min_epochs: int, max_epochs: int) -> Any:  # noqa: ANN401 - an Optuna type
    """Returns the pruner of `sweep.pruner`, which is not off."""
    from optuna import pruners

    match name:
        case "median":
            return pruners.MedianPruner(n_startup_trials=MEDIAN_STARTUP_TRIALS, n_warmup_steps=min_epochs)
        case "halving":
            return pruners.SuccessiveHalvingPruner(min_resource=min_epochs, reduction_factor=_REDUCTION_FACTOR)
        case _:  # hyperband
            return pruners.HyperbandPruner(
                min_resource=min_epochs, max_resource=max_epochs, reduction_factor=_REDUCTION_FACTOR
            )
