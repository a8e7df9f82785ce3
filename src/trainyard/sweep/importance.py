"""Hyperparameter importance: the fraction of the objective's variance that each setting explains, by Optuna's fANOVA.

fANOVA fits a random forest to the points and decomposes its variance (F. Hutter, H. Hoos, K. Leyton-Brown, An efficient
approach for assessing hyperparameter importance, ICML 2014).
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from trainyard.evaluation import RankedPoint, Ranking
from trainyard.reporting import format_value
from trainyard.sweep.grid import Interval
from trainyard.sweep.optuna_adapter import build_distribution, build_finished_trial, create_study
from trainyard.sweep.sampler import build_interval_distribution

Axes = Mapping[str, Mapping[str, Any]]
"""The swept axes of a search by path, as in the plan: the `interval` of each, or None if it is a list of values."""

MIN_POINTS, MAX_POINTS = 8, 200
"""With fewer points importance is not computed. Of more points, evenly spaced ranks from best to worst are used."""


def compute_importances(ranking: Ranking, axes: Axes = MappingProxyType({})) -> dict[str, float]:
    """Returns the fraction (0 to 1) of the objective's variance that each setting explains alone, largest first.

    The variance is that over the ranges of the `axes`. A setting without an axis has the range of its values.
    The fractions can sum to less than 1; the rest is due to interactions and noise. A setting is left out if it does
    not vary or if some points do not have it. The result is empty if there are too few points, if fewer than two
    settings vary, or if all points have the same value.
    """
    points = ranking.points[:: -(-len(ranking.points) // MAX_POINTS) or 1]
    values = [statistics.fmean(point.values) for point in points if point.values]
    paths = [path for path in (points[0].varied if points else {}) if all(path in point.varied for point in points)]
    varying = [path for path in paths if len({format_value(point.varied[path]) for point in points}) > 1]
    if ranking.objective is None or len(values) < MIN_POINTS or len(varying) < 2 or len(set(values)) < 2:  # noqa: PLR2004
        return {}
    return _compute_fanova(points, values, varying, axes)


def explain_missing_importances(ranking: Ranking) -> str:
    """Returns a sentence if the ranking has too few points for importances, else an empty string."""
    count = len(ranking.points)
    if ranking.objective is None or not 0 < count < MIN_POINTS:
        return ""
    return (
        "The plots show the effect of each setting. The shares of variance, which show the settings that matter most, "
        f"need at least {MIN_POINTS} ranked points; this sweep has {count}."
    )


def _compute_fanova(points: list[RankedPoint], values: list[float], paths: list[str], axes: Axes) -> dict[str, float]:
    """Returns the importance (0 to 1) of each setting by path, largest first; `values` has one value per point."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    study = create_study(maximize=True)
    encoded = {path: _encode_setting([point.varied[path] for point in points], axes.get(path)) for path in paths}
    distributions = {path: distribution for path, (distribution, _) in encoded.items()}
    for number, value in enumerate(values):
        params = {path: params[number] for path, (_, params) in encoded.items()}
        study.add_trial(build_finished_trial(params, distributions, value))
    with warnings.catch_warnings(action="ignore"):  # about experimental features
        shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0), normalize=False)
    return {path: float(share) for path, share in shares.items()}


def _encode_setting(values: list[Any], axis: Mapping[str, Any] | None) -> tuple[Any, list[Any]]:
    """Returns the Optuna distribution of a setting and its values as parameters: numbers, or else texts."""
    if axis and axis["interval"]:
        return build_interval_distribution(Interval(**axis["interval"])), values
    if axis is None and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        low, high = float(min(values)), float(max(values))
        return build_distribution(None, low, high, log=low > 0 and high > 10 * low), [float(value) for value in values]
    texts = [format_value(value) for value in values]
    return build_distribution(sorted(set(texts))), texts
