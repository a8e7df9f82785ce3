"""The comparison table: one row per config, with mean and standard deviation over its seeds, best first.

A comparison is a ranking with the same statistics as the ranking of a sweep; see `Ranking`.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from trainyard.config import (
    COMPONENT_GROUPS,
    HASHED_SECTIONS,
    TrainingConfig,
    build_label,
    find_common_label,
    format_suggestion,
    get_registered_components,
    get_rule,
    shorten_keys,
)
from trainyard.errors import ConfigError
from trainyard.evaluation import RankedPoint, RankedRun, Ranking, rank
from trainyard.tracking import RunRecord, names

DEFAULT_METRICS = ("accuracy/val", "accuracy/test", "loss/val", "loss/test")
"""Without ``--by``, runs are compared by the first of these metrics that all of them have."""
PARAMETERS = "model.parameters"
_SIZES = (PARAMETERS, "model.layers")
"""Logged parameters that follow from the config and are not settings."""
_SECONDS = "time/total_seconds"
_MAX_LABEL_SETTINGS = 4
"""Maximum number of settings in the label of a row."""


class MetricSummary(NamedTuple):
    """Mean and standard deviation (None for one seed) of a metric over the seeds."""

    mean: float
    std: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonTable:
    """A comparison of runs.

    Attributes:
        ranking: One point per config, best first. `RankedPoint.varied` has the settings in which the configs differ.
        full_ranking: The ranking of all configs, also of those that `select_best` left out of `ranking`.
        runs: The runs of each config by its number (`RankedPoint.point`): one per seed, the latest if it was repeated.
        varied: Dotted paths of the settings in which the configs differ.
        left_out: Number of runs that are not in the table, by reason.
    """

    ranking: Ranking
    full_ranking: Ranking
    runs: Mapping[int, Sequence[RunRecord]]
    varied: list[str]
    left_out: Mapping[str, int]

    @property
    def verdict(self) -> str:
        """Which configs differ significantly, in one or two sentences."""
        return self.full_ranking.format_verdict("Train more seeds to decide.")

    @property
    def metric(self) -> str:
        """The metric by which the runs are compared."""
        return self.ranking.objective or ""

    def get_runs(self, ranked: RankedPoint) -> Sequence[RunRecord]:
        """Returns the runs of a config."""
        return self.runs[ranked.point]

    def summarize_metrics(self, ranked: RankedPoint) -> dict[str, MetricSummary]:
        """Returns mean and standard deviation of every metric that all runs of a config have."""
        runs = self.get_runs(ranked)
        shared = [name for name in runs[0].metrics if all(name in run.metrics for run in runs)]
        values = {name: [run.metrics[name] for run in runs] for name in shared}
        return {
            name: MetricSummary(statistics.fmean(row), statistics.stdev(row) if len(row) > 1 else None)
            for name, row in values.items()
        }

    def select_best(self, count: int) -> ComparisonTable:
        """Returns a table of the best configs only. Verdict, lead and tests still refer to all configs."""
        best = self.ranking.points[:count]
        varied = ["seed"] if self.varied == ["seed"] else _find_varied([self.get_runs(ranked)[0] for ranked in best])
        keys = [_build_override_key(path) for path in varied]
        points = [
            replace(ranked, varied={key: ranked.varied[key] for key in keys if key in ranked.varied}) for ranked in best
        ]
        return replace(self, ranking=replace(self.ranking, points=points), varied=varied)


def build_comparison_table(
    runs: Sequence[RunRecord],
    by: str,
    histories: Mapping[str, Sequence[Mapping[str, float]]] | None = None,
    *,
    separate_seeds: bool = False,
) -> ComparisonTable:
    """Compares runs by the metric `by`. The runs were tested on the same images.

    `histories` has the metrics of each epoch by the reference of the run, for learning curves. With `separate_seeds`,
    each run gets a row if all runs have the same config.

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
    by_config: dict[str, list[RunRecord]] = defaultdict(list)
    for run in comparable:
        by_config[run.config_key].append(run)
    rows = list(by_config.values())
    if len(rows) == 1 and separate_seeds:
        rows = [[run] for run in comparable]
    varied = _find_varied([row[0] for row in rows])
    rows = [_select_latest_by_seed(row) for row in rows]
    labels = _build_labels(rows, varied)
    ranking = rank(
        [
            RankedRun(
                number=point,
                point=point,
                label=label,
                varied=_select_settings(run, varied),
                seed=run.seed,
                value=run.metrics[by],
                metrics=run.metrics,
                history=(histories or {}).get(run.reference, ()),
                seconds=run.metrics.get(_SECONDS, 0.0),
                run_id=run.run_id,
                parameters=parameters if isinstance(parameters := run.params.get(PARAMETERS), int) else 0,
            )
            for point, (row, label) in enumerate(zip(rows, labels, strict=True), 1)
            for run in row
        ],
        by,
    )
    left_out = {
        f"without {by}": len(runs) - len(comparable),
        "replaced by a newer run with the same config and seed": len(comparable) - sum(map(len, rows)),
    }
    return ComparisonTable(
        ranking=ranking,
        full_ranking=ranking,
        runs=dict(enumerate(rows, 1)),
        varied=varied,
        left_out={reason: count for reason, count in left_out.items() if count},
    )


def choose_metric(runs: Sequence[RunRecord]) -> str:
    """Returns the first of `DEFAULT_METRICS` that all runs have, otherwise the test accuracy."""
    return next((name for name in DEFAULT_METRICS if all(name in run.metrics for run in runs)), DEFAULT_METRICS[1])


def _select_latest_by_seed(row: Sequence[RunRecord]) -> list[RunRecord]:
    """Returns the latest run of each seed. Repeating a seed gives no information on the variance over seeds."""
    latest = {run.seed: run for run in sorted(row, key=lambda run: run.started)}
    return [latest[seed] for seed in sorted(latest)]


def _find_varied(runs: Sequence[RunRecord]) -> list[str]:
    """Returns the dotted paths of the settings in which the rows differ, given one run of each, in config order."""
    if len({run.config_key for run in runs}) == 1:
        return ["seed"] if len({run.seed for run in runs}) > 1 else []
    paths = dict.fromkeys(path for run in runs for path in run.params if _affects_result(path, run))
    return [path for path in paths if len({_encode(run.params, path) for run in _select_runs_with(path, runs)}) > 1]


def _select_runs_with(path: str, runs: Sequence[RunRecord]) -> Sequence[RunRecord]:
    """Returns the runs whose values of a setting are compared.

    If the runs use different components of a group, runs whose component does not have the field are left out.
    """
    group, _, field = path.partition(".")
    component_names = {run.params.get(f"{group}.name") for run in runs}
    is_own_field = field != "name" and group in COMPONENT_GROUPS and len(component_names) > 1
    return [run for run in runs if path in run.params] if is_own_field else runs


def _encode(settings: Mapping[str, Any], key: str) -> str:
    """Returns a setting as JSON, so that values can be compared; empty if it is missing."""
    return json.dumps(settings[key], sort_keys=True) if key in settings else ""


def _affects_result(path: str, run: RunRecord) -> bool:
    """Returns whether a setting can change the result of a run; True for all settings of runs not made by Trainyard."""
    if names.CONFIG_HASH not in run.tags:
        return True
    section, _, field_path = path.partition(".")
    if section not in HASHED_SECTIONS or path in _SIZES:
        return False
    component = run.params.get(f"{section}.name", "")
    section_class = TrainingConfig if section == "training" else get_registered_components(section).get(component)
    field = field_path.partition(".")[0]
    specs = fields(section_class) if section_class else ()
    return all(get_rule(spec).identity for spec in specs if spec.name == field)


def _build_labels(rows: Sequence[Sequence[RunRecord]], varied: Sequence[str]) -> list[str]:
    """Returns a unique label for each row: what the names of its runs say that others do not, else its settings."""
    if list(varied) == ["seed"]:
        return _make_unique([f"seed {row[0].seed}" for row in rows], rows)
    names_of_rows = [find_common_label(run.name for run in row).split() for row in rows]
    shared = set.intersection(*map(set, names_of_rows)) if len(rows) > 1 else set()
    words_of_rows = [" ".join(word for word in words if word not in shared) for words in names_of_rows]
    if "" not in words_of_rows and len(set(words_of_rows)) == len(rows):
        return words_of_rows
    labels = [row[0].name if len(row) == 1 else row[0].experiment for row in rows]
    for count in range(1, min(len(varied), _MAX_LABEL_SETTINGS) + 1):
        short_names = shorten_keys([_build_override_key(path) for path in varied[:count]])
        settings = [_select_settings(row[0], varied[:count]) for row in rows]
        labels = [build_label(values, short_names) or label for values, label in zip(settings, labels, strict=True)]
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


def _select_settings(run: RunRecord, paths: Sequence[str]) -> dict[str, Any]:
    """Returns the values of settings that a run has, by the keys of their overrides."""
    return {_build_override_key(path): run.params[path] for path in paths if path in run.params}


def _build_override_key(path: str) -> str:
    """Returns the key of a setting in an override: ``optimizer`` instead of ``optimizer.name``."""
    group, _, field = path.partition(".")
    return group if field == "name" and group in COMPONENT_GROUPS else path
