"""The plan of a sweep: composes and validates all trials before the first one starts."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import operator
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig

from trainyard.config import (
    RunConfig,
    SweepConfig,
    ValidValues,
    config_to_dict,
    find_section_problems,
    get_override_key,
    normalize_overrides,
    shorten_keys,
)
from trainyard.errors import ConfigError
from trainyard.evaluation import Trial
from trainyard.sweep.composer import Composer
from trainyard.sweep.freezer import ConfigFreezer
from trainyard.sweep.grid import Axis, Point, build_seed_axis, combine_axes, parse_axes
from trainyard.sweep.sampler import ADAPTIVE_SAMPLERS, GRID, check_sampler_installed
from trainyard.sweep.space import NOT_DRAWN, SearchSpace, build_trial, check_trial_config
from trainyard.system import gc_paused
from trainyard.tracking import TrackingStore

_MAX_LISTED_PROBLEMS = 50
_MAX_NAMES = 3
_FIRST_REPORT_SECONDS, _REPORT_SECONDS = 2, 10
"""When the progress of a long plan is reported first, and how often after that."""
_Item = TypeVar("_Item")
_EXECUTION_FIELDS = ("on_error", "retries", "max_failures", "points", "pruner", "min_epochs")
"""Fields of `sweep` that are not part of its definition. A sweep can be resumed with other values of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """Everything that a sweep will do.

    Attributes:
        policy: The `sweep` section of the config.
        objective: Metric that the trials are compared by, or None if they are not compared.
        store: None if tracking is off.
        swept: Swept keys, without the seed.
        trials: Trials in the order in which they start.
        duplicates: Number of combinations that were dropped because their config equals that of an earlier one.
        space: The space from which a sampler draws points, or None for a grid, where all trials are known.
        definition: JSON-serialisable definition of the search. Resuming requires the same definition.
    """

    name: str
    policy: SweepConfig
    objective: str | None
    experiment: str
    store: TrackingStore | None
    notes: str
    swept: tuple[str, ...]
    overrides: tuple[str, ...]
    config_name: str | None
    config_dir: Path | None
    trials: tuple[Trial, ...]
    duplicates: int
    hydra_section: DictConfig
    space: SearchSpace | None
    definition: dict[str, Any] | None

    @property
    def epochs(self) -> int:
        """Maximum number of epochs of a trial."""
        axes = self.space.axes if self.space else ()
        drawn = [setting.value for axis in axes if axis.key == "training.epochs" for setting in axis.settings]
        epochs: list[int] = [*(trial.config["training"]["epochs"] for trial in self.trials), *drawn]
        return max(epochs)

    @property
    def threads(self) -> set[int | None]:
        """All values of `training.threads` in the trials' configs."""
        return {trial.config["training"]["threads"] for trial in self.trials}


@gc_paused()  # composing creates many objects, and none of them is garbage
def make_plan(overrides: Sequence[str], config_name: str | None = None, config_dir: Path | None = None) -> SweepPlan:
    """Plans a sweep without training.

    A grid has all its trials; a search has placeholders, whose points are drawn during the sweep.

    Raises:
        ConfigError: If an override, a trial of the grid, or a probe point of the search space is invalid.
        DatasetError: If the files of a data set are invalid, as far as is known without reading their data.
    """
    composer = Composer(config_name, config_dir)
    overrides = normalize_overrides(overrides)
    axes = parse_axes(overrides, config_dir=config_dir)
    shared, hydra_section = _compose_shared_config(axes, composer)
    if params := {**(hydra_section.sweeper.get("params") or {}), **shared.sweep.params}:
        axes = parse_axes(overrides, params, config_dir)
        shared, hydra_section = _compose_shared_config(axes, composer)
    sweep = shared.sweep
    if sweep.warm_start and sweep.sampler not in ADAPTIVE_SAMPLERS:
        raise ConfigError(
            f"sweep.warm_start: the sampler {sweep.sampler} does not use earlier results. Set sweep.sampler to one of "
            f"{', '.join(ADAPTIVE_SAMPLERS)}, or remove sweep.warm_start"
        )
    space = None if sweep.sampler == GRID else _build_space(axes, shared, composer)
    if space is None and sweep.seeds is not None:
        axes = _add_seed_axis(axes, shared.seed, sweep.seeds)
    swept = tuple(axis.key for axis in axes if axis.swept and axis.key != "seed")

    points = space.iterate_probe_points() if space else combine_axes(axes)
    total = None if space else math.prod(len(axis.settings) for axis in axes)
    drafts = list(_compose_drafts(_report_progress(points, total, "checked"), swept, composer))
    configs = [config for _, config in drafts]
    datasets = {id(config.dataset): config.dataset for config in configs}.values()  # most trials share the object
    for dataset in {repr(dataset): dataset for dataset in datasets}.values():
        dataset.check_files()
    _check_shared_settings(configs)
    name = sweep.name or _build_default_name(configs, overrides, config_name)
    experiments = list(dict.fromkeys(config.experiment for config in configs))
    experiment = experiments[0] if len(experiments) == 1 else name
    freezer = ConfigFreezer(name, experiment if len(experiments) > 1 else None)
    if space:
        space = replace(space, freeze=freezer)
        definition = _define_search(space, sweep)
        trials = _build_placeholders(space.seeds, sweep.points, definition["bases"].values())
    else:
        definition, trials = None, _build_trials(drafts, freezer, swept)
    return SweepPlan(
        name=name,
        policy=sweep,
        objective=None if sweep.objective == "off" else sweep.objective,
        experiment=experiment,
        store=TrackingStore.from_config(configs[0].tracking),
        notes=configs[0].notes,
        swept=swept,
        overrides=tuple(overrides),
        config_name=config_name,
        config_dir=config_dir,
        trials=trials,
        duplicates=0 if space else len(drafts) - len(trials),
        hydra_section=hydra_section,
        space=space,
        definition=definition,
    )


def _build_space(axes: Sequence[Axis], shared: RunConfig, composer: Composer) -> SearchSpace:
    """Returns the search space of a sampler. Raises ConfigError if the sampler or its settings cannot be used."""
    sweep = shared.sweep
    check_sampler_installed(sweep.sampler)
    if sweep.objective == "off":
        raise ConfigError(
            f"sweep.sampler: {sweep.sampler} requires an objective, but sweep.objective is off. Set "
            "sweep.objective, or sweep.sampler=grid"
        )
    swept = [axis for axis in axes if axis.swept]
    if any(axis.key == "seed" for axis in swept):
        raise ConfigError("seed: a sampler cannot draw seeds. Set sweep.seeds to repeat each point with several seeds")
    if not swept:
        raise ConfigError(
            f"sweep.sampler: {sweep.sampler} requires settings to draw, but none is swept. Example: "
            "optimizer.learning_rate='tag(log, interval(1e-4, 1e-1))' model.hidden_units='choice([300,100],[512])'"
        )
    seeds = tuple(range(shared.seed, shared.seed + (sweep.seeds or 1)))
    drawn_axes = tuple(axis for axis in axes if axis.key != "seed")
    space = SearchSpace(axes=drawn_axes, seeds=seeds, composer=composer, freeze=config_to_dict)
    if unknown := space.find_unknown_keys():
        raise ConfigError(*(f"{key}: this field exists for no choice of the swept config groups" for key in unknown))
    return space


def _define_search(space: SearchSpace, sweep: SweepConfig) -> dict[str, Any]:
    """Returns the definition that a resumed search must match."""
    axes = {
        axis.key: {
            "settings": [setting.text for setting in axis.settings],
            "interval": asdict(axis.interval) if axis.interval else None,
            "description": axis.describe(),
        }
        for axis in space.axes
        if axis.swept
    }
    bases = enumerate(space.iterate_base_points(), start=1)
    return {
        "sampler": sweep.sampler,
        "sampler_seed": sweep.sampler_seed,
        "seeds": list(space.seeds),
        "warm_start": list(sweep.warm_start),
        "axes": axes,
        "bases": {f"{number}": space.freeze(space.build_config(base)) for number, base in bases},
    }


def _build_placeholders(seeds: Sequence[int], points: int, bases: Collection[dict[str, Any]]) -> tuple[Trial, ...]:
    """Returns placeholder trials for points that are not drawn yet, with the configs of the base points in turn."""
    places = itertools.product(zip(range(1, points + 1), itertools.cycle(bases), strict=False), seeds)
    return tuple(
        Trial(
            number=number,
            point=point,
            label=NOT_DRAWN,
            varied={},
            seed=seed,
            overrides=(),
            config=base | {"seed": seed},
        )
        for number, ((point, base), seed) in enumerate(places, start=1)
    )


def _compose_shared_config(axes: Sequence[Axis], composer: Composer) -> tuple[RunConfig, DictConfig]:
    """Returns the config that all trials share, with the first choice of swept config groups, and the `hydra` section.

    Only its `sweep` section is validated: the rest may be invalid without the swept settings.
    """
    shared = tuple(axis.settings[0] for axis in axes if not axis.swept or axis.settings[0].structural)
    config = composer.build_config(shared)
    if problems := list(find_section_problems(config.sweep, "sweep")):
        raise ConfigError(*problems)
    return config, composer.get_base(shared).hydra_section


def _add_seed_axis(axes: list[Axis], first: int, count: int) -> list[Axis]:
    """Adds the axis of the seeds. It varies fastest, so that the trials of a point are consecutive."""
    other_axes = [axis for axis in axes if axis.key != "seed"]
    if any(axis.swept for axis in axes if axis.key == "seed"):
        raise ConfigError("sweep.seeds: cannot be combined with a swept seed. Remove one of the two")
    return [*other_axes, build_seed_axis(first, count)]


def _compose_drafts(
    points: Iterable[Point], swept: Sequence[str], composer: Composer
) -> Iterator[tuple[Point, RunConfig]]:
    """Yields points with their composed and validated configs. Raises one ConfigError for all that are invalid."""
    invalid: list[tuple[int, Point, ConfigError]] = []
    valid: ValidValues = {}
    count = 0
    for count, point in enumerate(points, start=1):
        try:
            config = composer.build_config(point)
            check_trial_config(config, valid)
        except ConfigError as error:
            invalid.append((count, point, error))
            continue
        if not invalid:
            yield point, config
    if invalid:
        raise _build_invalid_trials_error(invalid, count, [*swept, "seed"])


def _build_invalid_trials_error(
    invalid: Sequence[tuple[int, Point, ConfigError]], count: int, swept: Sequence[str]
) -> ConfigError:
    """Returns one error for all invalid points, without settings if all `count` points have the same problems."""
    distinct = {error.problems for _, _, error in invalid}
    if len(distinct) == 1 and (len(invalid) == count):
        return invalid[0][2]
    lines = [f"{len(invalid)} of {count} trials are invalid, so none was started:"]
    for number, point, error in invalid[:_MAX_LISTED_PROBLEMS]:
        settings = " ".join(setting.text for setting in point if setting.key in swept)
        lines += [f"trial {number}, {settings}: {problem}" for problem in error.problems]
    if len(invalid) > _MAX_LISTED_PROBLEMS:
        lines.append(f"and {len(invalid) - _MAX_LISTED_PROBLEMS} more")
    return ConfigError(*lines)


def _check_shared_settings(configs: Sequence[RunConfig]) -> None:
    """Raises a ConfigError if trials differ in settings that must be equal (by swept recipes), or set `resume`."""
    if any(config.resume is not None for config in configs):
        raise ConfigError("resume: expected null for a sweep, because it resumes a single run. Remove it")
    configs = [*{(id(config.sweep), id(config.tracking)): config for config in configs}.values()]
    first = configs[0]
    shared = [f"sweep.{spec.name}" for spec in fields(first.sweep)]
    for path in (*shared, "tracking.name", "tracking.uri"):
        value = operator.attrgetter(path)
        if differing := next((config for config in configs if value(config) != value(first)), None):
            raise ConfigError(
                f"{path}: expected the same for all trials, got {value(first)!r} and {value(differing)!r}"
            )


def _build_default_name(configs: Sequence[RunConfig], overrides: Sequence[str], config_name: str | None) -> str:
    """Returns a name that is the same for the same command: the names of the recipes and a hash of the overrides."""
    names = list(dict.fromkeys(config.name for config in configs))
    prefix = "+".join(names[:_MAX_NAMES]) + ("+more" if len(names) > _MAX_NAMES else "")
    defining = [override for override in overrides if not is_execution_override(override)]
    text = json.dumps([config_name, sorted(defining)])
    return f"{prefix}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def is_execution_override(override: str) -> bool:
    """Returns whether an override only affects how a sweep is run, for example its launcher or its retries."""
    key = get_override_key(override)
    if key.startswith("hydra.sweeper.params"):
        return False
    return key.startswith(("hydra.", "hydra/")) or key in {f"sweep.{name}" for name in _EXECUTION_FIELDS}


def _build_trials(
    drafts: Sequence[tuple[Point, RunConfig]], freezer: ConfigFreezer, swept: Sequence[str]
) -> tuple[Trial, ...]:
    """Returns the trials with their labels, without duplicates."""
    unique: dict[tuple[int, ...], tuple[Point, RunConfig, dict[str, Any], tuple[int, ...]]] = {}
    for point, config in _report_progress(drafts, len(drafts), "planned"):
        frozen, numbers = freezer.freeze(config)
        without_seed = tuple(numbers[name] for name in numbers if name != "seed")
        unique.setdefault((*without_seed, numbers["seed"]), (point, config, frozen, without_seed))
    points: dict[tuple[int, ...], int] = {}
    names, repeated = shorten_keys(swept), len({config.seed for _, config, _, _ in unique.values()}) > 1
    trials = []
    for number, (settings, config, frozen, without_seed) in enumerate(unique.values(), start=1):
        point_number = points.setdefault(without_seed, len(points) + 1)
        trials.append(build_trial(number, point_number, settings, config, frozen, names=names, names_seed=repeated))
    return tuple(trials)


def _report_progress(items: Iterable[_Item], total: int | None, verb: str) -> Iterator[_Item]:
    """Yields items. If that takes long, prints their number to stderr: after two seconds, then every ten."""
    next_report = time.monotonic() + _FIRST_REPORT_SECONDS
    for count, item in enumerate(items):
        if count % 100 == 0 and time.monotonic() > next_report:
            next_report = time.monotonic() + _REPORT_SECONDS
            of_total = f" of {total:,}" if total else ""
            print(f"planning: {verb} {count:,}{of_total} trials", file=sys.stderr, flush=True)  # noqa: T201
        yield item
