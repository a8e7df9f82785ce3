"""How much each setting of a sweep matters: its share in the variance of the objective, by Optuna's fANOVA.

F. Hutter, H. Hoos, K. Leyton-Brown, An efficient approach for assessing hyperparameter importance, ICML 2014: a forest
is fitted to the points, and its variance taken apart.
"""

from __future__ import annotations

import statistics
from typing import Any

from trainyard.evaluation.ranking import Place, Ranking
from trainyard.reporting.formatting import show_value
from trainyard.sweep.sampler import quietly

LEAST_POINTS, MOST_POINTS = 8, 200
"""A forest that is fitted to fewer says nothing; of more, as many are taken, from the best to the worst."""


def importances(ranking: Ranking) -> dict[str, float]:
    """Returns the share of each setting by itself, the largest first; the rest they do together, or chance does.

    A setting that not all points have is left out, as one that does not vary. Nothing where there are few points, only
    one setting varies, or all points came to the same.
    """
    places = ranking.places[:: -(-len(ranking.places) // MOST_POINTS) or 1]
    values = [statistics.fmean(place.values) for place in places if place.values]
    paths = [path for path in (places[0].varied if places else {}) if all(path in place.varied for place in places)]
    varying = [path for path in paths if len({show_value(place.varied[path]) for place in places}) > 1]
    if ranking.objective is None or len(values) < LEAST_POINTS or len(varying) < 2 or len(set(values)) < 2:  # noqa: PLR2004
        return {}
    return _fanova(places, values, varying)


def _fanova(places: list[Place], values: list[float], paths: list[str]) -> dict[str, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    spaces = {path: _distribution([place.varied[path] for place in places]) for path in paths}
    study = optuna.create_study(direction="maximize")
    for place, value in zip(places, values, strict=True):
        params = {path: _param(place.varied[path], spaces[path]) for path in paths}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=spaces, value=value))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    with quietly():
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator, normalize=False)
    return {path: float(share) for path, share in shares.items()}


def _distribution(values: list[Any]) -> Any:  # noqa: ANN401 - of Optuna's
    """Returns what the values of a setting may have been drawn from."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        low, high = float(min(values)), float(max(values))
        return FloatDistribution(low, high, log=low > 0 and high > 10 * low)
    return CategoricalDistribution(sorted({show_value(value) for value in values}))


def _param(value: Any, space: Any) -> Any:  # noqa: ANN401 - any value of a config
    return show_value(value) if hasattr(space, "choices") else float(value)
