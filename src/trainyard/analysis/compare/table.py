"""The comparison table: one row per config, with mean and standard deviation over its seeds, best first.

A comparison is a ranking with the same statistics as the ranking of a sweep; see `Ranking`.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

from trainyard.config import (
    COMPONENT_GROUPS,
    HASHED_SECTIONS,
    TrainingConfig,
    format_suggestion,
    get_registered_components,
    get_rule,
)
from trainyard.errors import ConfigError
from trainyard.evaluation import RankedPoint, Ranking, Trial, TrialResult, rank
from trainyard.sweep import build_trial_label, shorten_keys
from trainyard.tracking import RunRecord, names

DEFAULT_METRICS = ("accuracy/val", "accuracy/test", "loss/val", "loss/test")
"""Without ``--by``, runs are compared by the first of these metrics that all of them have."""
PARAMETERS = "model.parameters"
_SIZES = (PARAMETERS, "model.layers")
"""Logged parameters that follow from the config and are not settings."""
_SECONDS = "time/total_seconds"
MORE_SEEDS_ADVICE = "Train more seeds to decide."
_MAX_LABEL_SETTINGS = 4
"""Maximum number of settings in the label of a row."""


class MetricSummary(NamedTuple):
    """Mean and standard deviation (None for one seed) of a metric over n seeds."""

    mean: float
    std: float | None
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonTable:
    """A comparison of runs.

    Attributes:
        ranking: One point per config, best first. `RankedPoint.varied` has the settings in which the configs differ.
        runs: The runs of each config by its number (`RankedPoint.point`): one per seed, the latest if it was repeated.
        varied: Dotted paths of the settings in which the configs differ.
        verdict: The result of the ranking, in a few sentences.
        left_out: Number of runs that are not in the table, by reason.
    """

    ranking: Ranking
    runs: Mapping[int, Sequence[RunRecord]]
    varied: Sequence[str]
    verdict: str
    left_out: Mapping[str, int]

    @property
    def metric(self) -> str:
        """The metric by which the runs are compared."""
        return self.ranking.objective or ""

    def get_runs(self, ranked: RankedPoint) -> Sequence[RunRecord]:
        """Returns the runs of a config, one per seed."""
        return self.runs[ranked.point]

    def summarize_metrics(self, ranked: RankedPoint) -> dict[str, MetricSummary]:
        """Returns mean and standard deviation of every metric that all runs of a config have."""
        runs = self.get_runs(ranked)
        metric_names = [name for name in runs[0].metrics if all(name in run.metrics for run in runs)]
        return {name: _summarize([run.metrics[name] for run in runs]) for name in metric_names}

    def select_best(self, count: int) -> ComparisonTable:
        """Returns a table of the best configs only. The verdict and the ties still refer to all configs."""
        best = self.ranking.points[:count]
        seeds = [path for path in self.varied if path == "seed"]
        differing = [path for path in self.varied if len({_encode_setting(ranked, path) for ranked in best}) > 1]
        keys = [_build_override_key(path) for path in differing]
        points = [
            replace(ranked, varied={key: ranked.varied[key] for key in keys if key in ranked.varied}) for ranked in best
        ]
        ranking = Ranking(objective=self.metric, points=points, n_tied=min(self.ranking.n_tied, count))
        return replace(self, ranking=ranking, varied=seeds or differing)


def _encode_setting(ranked: RankedPoint, path: str) -> str:
    """Returns a setting of a ranked config as JSON, so that values can be compared; ``null`` if it has none."""
    return json.dumps(ranked.varied.get(_build_override_key(path)), sort_keys=True)


def build_comparison_table(
    runs: Sequence[RunRecord],
    by: str,
    histories: Mapping[str, Sequence[Mapping[str, float]]] | None = None,
    *,
    separate_seeds: bool = False,
) -> ComparisonTable:
    """Compares runs by a metric.

    Args:
        runs: Runs that were tested on the same images.
        by: Name of the metric.
        histories: Metrics of each epoch by the reference of the run, for learning curves; None without learning curves.
        separate_seeds: Whether each run gets a row if all runs have the same config.

    Raises:
        ConfigError: If no run has the metric.
    """
    comparable = [run for run in runs if math.isfinite(run.metrics.get(by, math.nan))]
    if not comparable:
        metric_names = sorted({name for run in runs for name in run.metrics if "_by_class/" not in name})
        raise ConfigError(
            f"--by: no run has the metric {by!r}.{format_suggestion(by, metric_names)} Available: "
            f"{', '.join(metric_names) or 'none'}"
        )
    all_rows = _group_runs(comparable, separate_seeds=separate_seeds)
    varied = _find_varied(all_rows)
    rows = [_select_latest_by_seed(row) for row in all_rows]
    labels = _build_labels(rows, varied)
    numbered = enumerate(((point, run) for point, row in enumerate(rows, 1) for run in row), 1)
    curves = histories or {}
    trials = [
        (
            _build_trial(number, point, labels[point - 1], varied, run),
            _build_result(run, by, curves.get(run.reference, ())),
        )
        for number, (point, run) in numbered
    ]
    ranking = rank(trials, by)
    ranking = replace(ranking, points=[replace(ranked, label=labels[ranked.point - 1]) for ranked in ranking.points])
    left_out = {
        f"without {by}": len(runs) - len(comparable),
        "replaced by a newer run with the same config and seed": sum(map(len, all_rows)) - sum(map(len, rows)),
    }
    return ComparisonTable(
        ranking=ranking,
        runs=dict(enumerate(rows, 1)),
        varied=varied,
        verdict=ranking.format_verdict(MORE_SEEDS_ADVICE),
        left_out={reason: count for reason, count in left_out.items() if count},
    )


def choose_metric(runs: Sequence[RunRecord]) -> str:
    """Returns the first of `DEFAULT_METRICS` that all runs have, otherwise the test accuracy."""
    return next((name for name in DEFAULT_METRICS if all(name in run.metrics for run in runs)), DEFAULT_METRICS[1])


def _group_runs(runs: Iterable[RunRecord], *, separate_seeds: bool) -> list[list[RunRecord]]:
    """Returns the runs of each row: one row per config, or one row per run if `separate_seeds` applies."""
    rows: dict[str, list[RunRecord]] = {}
    for run in runs:
        rows.setdefault(run.config_key, []).append(run)
    if len(rows) == 1 and separate_seeds:
        return [[run] for row in rows.values() for run in row]
    return list(rows.values())


def _select_latest_by_seed(row: Sequence[RunRecord]) -> list[RunRecord]:
    """Returns the latest run of each seed. Repeating a seed gives no information on the variance over seeds."""
    latest = {run.seed: run for run in sorted(row, key=lambda run: run.started)}
    return [latest[seed] for seed in sorted(latest)]


def _find_varied(rows: Sequence[Sequence[RunRecord]]) -> list[str]:
    """Returns the dotted paths of the settings in which the rows differ, in the order of the config."""
    first_runs = [row[0] for row in rows]
    paths = dict.fromkeys(path for run in first_runs for path in run.params if _affects_result(path, run))
    if len({run.config_key for run in first_runs}) == 1:
        return ["seed"] if len({run.seed for run in first_runs}) > 1 else []
    return [
        path for path in paths if len({_encode_param(run, path) for run in _select_runs_with(path, first_runs)}) > 1
    ]


def _select_runs_with(path: str, runs: Sequence[RunRecord]) -> Sequence[RunRecord]:
    """Returns the runs whose values of a setting are compared.

    If the runs use different components of a group, runs whose component does not have the field are left out.
    """
    group, _, field = path.partition(".")
    component_names = {run.params.get(f"{group}.name") for run in runs}
    is_own_field = field != "name" and group in COMPONENT_GROUPS and len(component_names) > 1
    return [run for run in runs if path in run.params] if is_own_field else runs


def _encode_param(run: RunRecord, path: str) -> str:
    """Returns a logged parameter of a run as JSON, so that values can be compared; empty if it is missing."""
    return json.dumps(run.params[path], sort_keys=True) if path in run.params else ""


def _affects_result(path: str, run: RunRecord) -> bool:
    """Returns whether a setting can change the result of a run; True for all settings of runs not made by Trainyard."""
    if names.CONFIG_HASH not in run.tags:
        return True
    section, _, field_path = path.partition(".")
    if section not in HASHED_SECTIONS or path in _SIZES:
        return False
    section_class = (
        TrainingConfig
        if section == "training"
        else get_registered_components(section).get(run.params.get(f"{section}.name", ""))
    )
    field = field_path.partition(".")[0]
    return (
        all(get_rule(spec).identity for spec in fields(section_class) if spec.name == field) if section_class else True
    )


def _build_labels(rows: Sequence[Sequence[RunRecord]], varied: Sequence[str]) -> list[str]:
    """Returns a unique label for each row: the name of its runs if the names are unique, otherwise its settings."""
    if list(varied) == ["seed"]:
        return _make_unique([f"seed {row[0].seed}" for row in rows], rows)
    row_names = [{run.name for run in row} for row in rows]
    unique_names = [
        name for name, *other_names in row_names if not other_names and not re.fullmatch(r"seed=?\d+", name)
    ]
    if len(set(unique_names)) == len(rows):
        return unique_names
    labels = [row[0].name if len(row) == 1 else row[0].experiment for row in rows]
    for count in range(1, min(len(varied), _MAX_LABEL_SETTINGS) + 1):
        paths = varied[:count]
        short_names = shorten_keys([_build_override_key(path) for path in paths])
        labels = [
            build_trial_label(
                {_build_override_key(path): row[0].params[path] for path in paths if path in row[0].params}, short_names
            )
            or label
            for row, label in zip(rows, labels, strict=True)
        ]
        if len(set(labels)) == len(rows):
            break
    return _make_unique(labels, rows)


def _make_unique(labels: Sequence[str], rows: Sequence[Sequence[RunRecord]]) -> list[str]:
    """Returns unique labels: appends the short name of the row's first run, or a number, to labels that repeat."""
    longer = [
        label if labels.count(label) == 1 else f"{label} {row[0].short_name}"
        for label, row in zip(labels, rows, strict=True)
    ]
    return [label if longer.count(label) == 1 else f"{label} ({number})" for number, label in enumerate(longer, 1)]


def _build_override_key(path: str) -> str:
    """Returns the key of a setting in an override: ``optimizer`` instead of ``optimizer.name``."""
    group, _, field = path.partition(".")
    return group if field == "name" and group in COMPONENT_GROUPS else path


def _build_trial(number: int, point: int, label: str, varied: Sequence[str], run: RunRecord) -> Trial:
    """Converts a run to a trial for the ranking. `point` is the number of its config, from 1."""
    return Trial(
        number=number,
        point=point,
        label=label,
        varied={
            _build_override_key(path): run.params[path] for path in varied if path in run.params and path != "seed"
        },
        seed=run.seed,
        overrides=(),
        config={},
    )


def _build_result(run: RunRecord, by: str, history: Sequence[Mapping[str, float]]) -> TrialResult:
    """Converts the metrics of a run to a trial result, whose objective is the metric `by`."""
    parameters = run.params.get(PARAMETERS)
    return TrialResult(
        objective=run.metrics[by],
        metrics=run.metrics,
        epochs=len(history),
        history=tuple(history),
        seconds=run.metrics.get(_SECONDS, 0.0),
        run_id=run.run_id,
        folder=str(run.folder or ""),
        parameters=parameters if isinstance(parameters, int) else 0,
    )


def _summarize(values: Sequence[float]) -> MetricSummary:
    """Returns mean, standard deviation (None for a single value) and number of values."""
    std = statistics.stdev(values) if len(values) > 1 else None
    return MetricSummary(statistics.fmean(values), std, len(values))
