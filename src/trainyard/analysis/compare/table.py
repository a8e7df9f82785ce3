"""How runs stand: those that compute the same are one row, with the mean and the spread over their seeds, best first.

What is compared is a ranking, as a sweep has one, with the same statistics: see `sweep.ranking`.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

from trainyard.analysis.compare.runs import ComparedRun
from trainyard.config.compose import HASHED_SECTIONS
from trainyard.config.fields import rule_of
from trainyard.config.registry import components, did_you_mean
from trainyard.config.schema import COMPONENT_GROUPS
from trainyard.config.sections import TrainingConfig
from trainyard.errors import ConfigError
from trainyard.evaluation.ranking import Place, Ranking, rank
from trainyard.evaluation.trials import Trial, TrialResult
from trainyard.sweep.labels import name_trial, short_keys

CHOSEN_BY = ("accuracy/val", "accuracy/test", "loss/val", "loss/test")
"""What runs are compared by where nobody says: the first that all of them have."""
PARAMETERS = "model.parameters"
_SIZES = (PARAMETERS, "model.layers")
"""What follows from the settings and is none."""
_SECONDS = "time/total_seconds"
ADVICE = "Train more seeds to tell."
_MOST_WORDS = 4
"""Settings that name a row at most."""


class Spread(NamedTuple):
    """A metric over the seeds of a row: mean, standard deviation (None for one seed), and of how many."""

    mean: float
    std: float | None
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Runs, compared.

    Attributes:
        ranking: A place per config; its `varied` holds the settings in which the configs differ.
        runs: By the place's number (`Place.point`), one per seed: the latest where one was run more than once.
        varied: The dotted paths of the settings in which the configs differ.
        verdict: What the ranking comes to, in a few sentences.
        left_out: How many more runs there are, by why they have no place.
    """

    ranking: Ranking
    runs: Mapping[int, Sequence[ComparedRun]]
    varied: Sequence[str]
    verdict: str
    left_out: Mapping[str, int]

    @property
    def by(self) -> str:
        """What is compared."""
        return self.ranking.objective or ""

    def runs_of(self, place: Place) -> Sequence[ComparedRun]:
        """Returns the runs of a place."""
        return self.runs[place.point]

    def metrics(self, place: Place) -> dict[str, Spread]:
        """Returns the mean and the spread of every metric that all runs of a place have."""
        runs = self.runs_of(place)
        names = [name for name in runs[0].metrics if all(name in run.metrics for run in runs)]
        return {name: _spread([run.metrics[name] for run in runs]) for name in names}

    def best(self, count: int) -> Standing:
        """Returns the first places alone; the verdict, and which can't be told from the best, stay those of all."""
        places = self.ranking.places[:count]
        seeds = [path for path in self.varied if path == "seed"]
        shown = [path for path in self.varied if len({_shown(place, path) for place in places}) > 1]
        keys = [_key(path) for path in shown]
        kept = [replace(it, varied={key: it.varied[key] for key in keys if key in it.varied}) for it in places]
        ranking = Ranking(objective=self.by, places=kept, tied=min(self.ranking.tied, count))
        return replace(self, ranking=ranking, varied=seeds or shown)


def _shown(place: Place, path: str) -> str:
    return json.dumps(place.varied.get(_key(path)), sort_keys=True)


def stand(
    runs: Sequence[ComparedRun],
    by: str,
    histories: Mapping[str, Sequence[Mapping[str, float]]] | None = None,
    *,
    apart: bool = False,
) -> Standing:
    """Compares runs.

    Args:
        runs: Tested on the same images.
        by: The metric that they are compared by.
        histories: Metrics epoch by epoch, by the reference of a run, where somebody draws them.
        apart: Whether runs of one config, where there is no other, are a row each.

    Raises:
        ConfigError: If no run has the metric.
    """
    comparable = [run for run in runs if math.isfinite(run.metrics.get(by, math.nan))]
    if not comparable:
        known = sorted({name for run in runs for name in run.metrics if "_by_class/" not in name})
        raise ConfigError(
            f"--by: no run has the metric {by!r}.{did_you_mean(by, known)} There are: {', '.join(known) or 'none'}"
        )
    found = _rows(comparable, apart=apart)
    varied = _varied(found)
    rows = [_latest_by_seed(row) for row in found]
    labels = _labels(rows, varied)
    numbered = enumerate(((point, run) for point, row in enumerate(rows, 1) for run in row), 1)
    courses = histories or {}
    pairs = [
        (_trial(number, point, labels[point - 1], varied, run), _result(run, by, courses.get(run.reference, ())))
        for number, (point, run) in numbered
    ]
    ranking = rank(pairs, by)
    ranking = replace(ranking, places=[replace(place, label=labels[place.point - 1]) for place in ranking.places])
    left_out = {
        f"without {by}": len(runs) - len(comparable),
        "run again later with the same seed": sum(map(len, found)) - sum(map(len, rows)),
    }
    return Standing(
        ranking=ranking,
        runs=dict(enumerate(rows, 1)),
        varied=varied,
        verdict=ranking.verdict(ADVICE),
        left_out={why: count for why, count in left_out.items() if count},
    )


def chosen_metric(runs: Sequence[ComparedRun]) -> str:
    """Returns what runs are compared by where nobody says."""
    return next((name for name in CHOSEN_BY if all(name in run.metrics for run in runs)), CHOSEN_BY[1])


def _rows(runs: Iterable[ComparedRun], *, apart: bool) -> list[list[ComparedRun]]:
    """Returns the runs by config; where there is one, and they are to stand apart, each by itself."""
    rows: dict[str, list[ComparedRun]] = {}
    for run in runs:
        rows.setdefault(run.config, []).append(run)
    if len(rows) == 1 and apart:
        return [[run] for row in rows.values() for run in row]
    return list(rows.values())


def _latest_by_seed(row: Sequence[ComparedRun]) -> list[ComparedRun]:
    """Returns a run per seed: one that was run again says nothing new of the spread."""
    latest = {run.seed: run for run in sorted(row, key=lambda run: run.started)}
    return [latest[seed] for seed in sorted(latest)]


def _varied(rows: Sequence[Sequence[ComparedRun]]) -> list[str]:
    """Returns the settings in which the rows differ, in the order of the config."""
    first = [row[0] for row in rows]
    paths = dict.fromkeys(path for run in first for path in run.params if _is_computed_with(path, run))
    if len({run.config for run in first}) == 1:
        return ["seed"] if len({run.seed for run in first}) > 1 else []
    return [path for path in paths if len({_as_text(run, path) for run in _that_have(path, first)}) > 1]


def _that_have(path: str, runs: Sequence[ComparedRun]) -> Sequence[ComparedRun]:
    """Returns the runs that a setting is to be compared of: only one kind of a component has a field of its own."""
    group, _, rest = path.partition(".")
    kinds = {run.params.get(f"{group}.name") for run in runs}
    own = rest != "name" and group in COMPONENT_GROUPS and len(kinds) > 1
    return [run for run in runs if path in run.params] if own else runs


def _as_text(run: ComparedRun, path: str) -> str:
    return json.dumps(run.params[path], sort_keys=True) if path in run.params else ""


def _is_computed_with(path: str, run: ComparedRun) -> bool:
    """Tells whether a setting changes what is computed; of runs that are not ours all may."""
    if "config_hash" not in run.tags:
        return True
    section, _, rest = path.partition(".")
    if section not in HASHED_SECTIONS or path in _SIZES:
        return False
    kind = TrainingConfig if section == "training" else components(section).get(run.params.get(f"{section}.name", ""))
    field = rest.partition(".")[0]
    return all(rule_of(spec).identity for spec in fields(kind) if spec.name == field) if kind else True


def _labels(rows: Sequence[Sequence[ComparedRun]], varied: Sequence[str]) -> list[str]:
    """Returns what distinguishes each row: the name of its runs where that does, else its settings; all different."""
    if list(varied) == ["seed"]:
        return _told_apart([f"seed {row[0].seed}" for row in rows], rows)
    names = [{run.name for run in row} for row in rows]
    plain = [name for name, *others in names if not others and not re.fullmatch(r"seed=?\d+", name)]
    if len(set(plain)) == len(rows):
        return plain
    told = [row[0].name if len(row) == 1 else row[0].experiment for row in rows]
    for count in range(1, min(len(varied), _MOST_WORDS) + 1):
        shown = varied[:count]
        short = short_keys([_key(path) for path in shown])
        told = [
            name_trial({_key(path): row[0].params[path] for path in shown if path in row[0].params}, short) or old
            for row, old in zip(rows, told, strict=True)
        ]
        if len(set(told)) == len(rows):
            break
    return _told_apart(told, rows)


def _told_apart(labels: Sequence[str], rows: Sequence[Sequence[ComparedRun]]) -> list[str]:
    """Returns labels that are all different: where several are not, each with what its first run is told by."""
    longer = [
        label if labels.count(label) == 1 else f"{label} {row[0].short}"
        for label, row in zip(labels, rows, strict=True)
    ]
    return [label if longer.count(label) == 1 else f"{label} ({number})" for number, label in enumerate(longer, 1)]


def _key(path: str) -> str:
    """Returns a path as overrides write it: what is chosen in a group is the group's own value."""
    group, _, rest = path.partition(".")
    return group if rest == "name" and group in COMPONENT_GROUPS else path


def _trial(number: int, point: int, label: str, varied: Sequence[str], run: ComparedRun) -> Trial:
    return Trial(
        number=number,
        point=point,
        label=label,
        varied={_key(path): run.params[path] for path in varied if path in run.params and path != "seed"},
        seed=run.seed,
        overrides=(),
        config={},
    )


def _result(run: ComparedRun, by: str, history: Sequence[Mapping[str, float]]) -> TrialResult:
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


def _spread(values: Sequence[float]) -> Spread:
    std = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), std, len(values))
