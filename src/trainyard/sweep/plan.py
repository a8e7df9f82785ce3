"""The plan of a sweep: every trial, composed, checked and told apart from the others, before the first one starts."""

from __future__ import annotations

import hashlib
import itertools
import json
import operator
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from trainyard.config.compose import key_of, to_tree
from trainyard.config.schema import RunConfig
from trainyard.config.sections import SweepConfig
from trainyard.config.validation import require_files, section_problems, validate
from trainyard.errors import ConfigError
from trainyard.evaluation.trials import Trial
from trainyard.sweep.composer import Composer
from trainyard.sweep.grid import Axis, Point, combine, read_axes, seed_axis
from trainyard.sweep.labels import name_trial, short_keys
from trainyard.sweep.sampler import GRID, LEARNING, require_sampler
from trainyard.sweep.space import Space

_SHOWN_PROBLEMS = 50
_SHOWN_NAMES = 3
_POLICY = ("on_error", "retries", "max_failures", "points", "pruner", "min_epochs")
"""How failures are taken, and how many points are drawn, is no part of what a sweep is: it goes on with others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """How the points of a sweep are drawn.

    Attributes:
        space: What they are drawn from.
        sampler: By what, one of `sampler.SAMPLERS`.
        seed: Of the sampler.
        points: How many.
        definition: What makes the search this one and no other, as JSON holds it.
    """

    space: Space
    sampler: str
    seed: int
    points: int
    definition: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that a sweep will do.

    Attributes:
        name: Of the sweep.
        policy: What the config says of the sweep.
        objective: What trials are compared by; None: nothing.
        experiment: The MLflow experiment that all its runs go to.
        uri: The tracking URI, or None where nothing is tracked.
        notes: What the experiment is about.
        swept: The keys that have several values, without the seed.
        overrides: What was asked for.
        trials: In the order that they start in.
        duplicates: How many combinations came to the config of another.
        hydra_section: Of Hydra's config.
        search: How points are drawn; None: the trials are a grid, all of them known.
    """

    name: str
    policy: SweepConfig
    objective: str | None
    experiment: str
    uri: str | None
    notes: str
    swept: tuple[str, ...]
    overrides: tuple[str, ...]
    trials: tuple[Trial, ...]
    duplicates: int
    hydra_section: DictConfig
    search: SearchPlan | None = None

    @property
    def epochs(self) -> int:
        """The most that a trial trains."""
        axes = self.search.space.axes if self.search else ()
        drawn = [setting.value for axis in axes if axis.key == "training.epochs" for setting in axis.settings]
        epochs: list[int] = [*(trial.config["training"]["epochs"] for trial in self.trials), *drawn]
        return max(epochs)

    @property
    def threads(self) -> set[int | None]:
        """What the configs say of threads."""
        return {trial.config["training"]["threads"] for trial in self.trials}


def make_plan(overrides: Sequence[str], config_name: str | None = None, config_dir: Path | None = None) -> Plan:
    """Plans a sweep.

    Args:
        overrides: In Hydra's grammar, sweeps and single values.
        config_name: The primary config.
        config_dir: A further folder with configs.

    Raises:
        ConfigError: With a line per trial that is wrong.
    """
    composer = Composer(config_name, config_dir)
    axes = read_axes(overrides, config_dir=config_dir)
    shared, hydra_section = _read_shared(axes, composer)
    if params := {**(hydra_section.sweeper.get("params") or {}), **shared.sweep.params}:
        axes = read_axes(overrides, params, config_dir)
        shared, hydra_section = _read_shared(axes, composer)
    sweep = shared.sweep
    if sweep.warm_start and sweep.sampler not in LEARNING:
        raise ConfigError(
            f"sweep.warm_start: {sweep.sampler} does not learn from what came out. Take one of {', '.join(LEARNING)} "
            "as sweep.sampler, or leave it out"
        )
    space = None if sweep.sampler == GRID else _space(axes, shared, composer)
    if space is None and sweep.seeds is not None:
        axes = _with_seeds(axes, shared.seed, sweep.seeds)
    swept = tuple(axis.key for axis in axes if axis.swept and axis.key != "seed")

    drafts = list(_compose_all(space.probes() if space else combine(axes), swept, composer))
    configs = [draft.config for draft in drafts]
    _check_alike(configs)
    name = sweep.name or _default_name(configs, overrides, config_name)
    experiments = list(dict.fromkeys(config.experiment for config in configs))
    experiment = experiments[0] if len(experiments) == 1 else name
    freeze = partial(_freeze, name=name, experiment=experiment if len(experiments) > 1 else None)
    search = _plan_search(replace(space, freeze=freeze), sweep) if space else None
    trials = _blank_trials(search) if search else _tell_apart(drafts, [freeze(config) for config in configs], swept)
    return Plan(
        name=name,
        policy=sweep,
        objective=None if sweep.objective == "off" else sweep.objective,
        experiment=experiment,
        uri=configs[0].tracking.resolve_uri(os.environ, Path.cwd()),
        notes=configs[0].notes,
        swept=swept,
        overrides=tuple(overrides),
        trials=trials,
        duplicates=0 if search else len(drafts) - len(trials),
        hydra_section=hydra_section,
        search=search,
    )


def _space(axes: Sequence[Axis], shared: RunConfig, composer: Composer) -> Space:
    """Returns what points are drawn from; see `SearchPlan`.

    Raises:
        ConfigError: If there is nothing to draw, or nothing to draw it by.
    """
    sweep = shared.sweep
    require_sampler(sweep.sampler)
    if sweep.objective == "off":
        raise ConfigError(f"sweep.sampler: {sweep.sampler} wants something to be told, and sweep.objective is off")
    swept = [axis for axis in axes if axis.swept]
    if any(axis.key == "seed" for axis in swept):
        raise ConfigError("seed: can't be drawn by a sampler. Repeat each point with sweep.seeds")
    if not swept:
        raise ConfigError(
            f"sweep.sampler: {sweep.sampler} has nothing to draw. Give it some: optimizer.learning_rate="
            "'tag(log, interval(1e-4, 1e-1))' model.hidden_units='choice([300,100],[512])'"
        )
    seeds = tuple(range(shared.seed, shared.seed + (sweep.seeds or 1)))
    kept = tuple(axis for axis in axes if axis.key != "seed")
    space = Space(axes=kept, seeds=seeds, composer=composer, check=_check, freeze=to_tree)
    if unknown := space.unknown():
        raise ConfigError(*(f"{key}: no choice of what is swept has such a field" for key in unknown))
    return space


def _plan_search(space: Space, sweep: SweepConfig) -> SearchPlan:
    axes = {
        axis.key: {
            "settings": [setting.text for setting in axis.settings],
            "interval": asdict(axis.interval) if axis.interval else None,
            "told": axis.describe(),
        }
        for axis in space.axes
        if axis.swept
    }
    bases = {f"{number}": space.freeze(space.make(base)) for number, base in enumerate(space.bases(), start=1)}
    drawn_by = {
        "sampler": sweep.sampler, "sampler_seed": sweep.sampler_seed, "seeds": list(space.seeds),
        "warm_start": list(sweep.warm_start),
    }  # fmt: skip
    return SearchPlan(
        space=space,
        sampler=sweep.sampler,
        seed=sweep.sampler_seed,
        points=sweep.points,
        definition={**drawn_by, "axes": axes, "bases": bases},
    )


def _blank_trials(search: SearchPlan) -> tuple[Trial, ...]:
    """Returns the trials of points that are yet to be drawn; what they share they have of each base in turn."""
    bases = itertools.cycle(search.definition["bases"].values())
    each = len(search.space.seeds)
    blank = (
        search.space.blank(number, (number - 1) * each + 1, base)
        for number, base in zip(range(1, search.points + 1), bases, strict=False)
    )
    return tuple(itertools.chain.from_iterable(blank))


@dataclass(frozen=True, slots=True)
class _Draft:
    """A combination that was composed."""

    point: Point
    config: RunConfig


def _read_shared(axes: Sequence[Axis], composer: Composer) -> tuple[RunConfig, DictConfig]:
    """Returns what all trials have in common, and Hydra's section; of swept groups it has the first choice.

    Only what it says of the sweep is checked: the rest may be wrong without what is swept.
    """
    shared = tuple(axis.settings[0] for axis in axes if not axis.swept or axis.settings[0].structural)
    config = composer.make(shared)
    if problems := list(section_problems(config.sweep, "sweep")):
        raise ConfigError(*problems)
    return config, composer.hydra_section(shared)


def _with_seeds(axes: list[Axis], first: int, count: int) -> list[Axis]:
    """Adds the axis of the seeds, which varies fastest: a point's trials run one after the other."""
    others = [axis for axis in axes if axis.key != "seed"]
    if any(axis.swept for axis in axes if axis.key == "seed"):
        raise ConfigError("sweep.seeds: repeats each point with its own seeds, and seed is swept too. Leave one out")
    return [*others, seed_axis(first, count)]


def _compose_all(points: Iterable[Point], swept: Sequence[str], composer: Composer) -> Iterator[_Draft]:
    """Yields all points, composed and checked.

    Raises:
        ConfigError: When all have been looked at, with a line per point that is wrong.
    """
    wrong: list[tuple[int, Point, ConfigError]] = []
    count = 0
    for count, point in enumerate(points, start=1):
        try:
            config = composer.make(point)
            _check(config)
        except ConfigError as error:
            wrong.append((count, point, error))
            continue
        if not wrong:
            yield _Draft(point, config)
    if wrong:
        raise _report(wrong, count, [*swept, "seed"])


def _check(config: RunConfig) -> None:
    """Checks that a trial can be run, as far as its config tells."""
    validate(config)
    require_files(config)
    if config.sweep.objective == "off" and config.sweep.pruner != "off":
        raise ConfigError(f"sweep.pruner: {config.sweep.pruner} goes by sweep.objective, which is off")
    if config.sweep.objective != "off" and not config.dataset.validation_fraction:
        raise ConfigError(
            f"sweep.objective: {config.sweep.objective} needs validation images, and there are none. Set "
            "dataset.validation_fraction=0.1, or compare nothing with sweep.objective=off"
        )


def _report(wrong: Sequence[tuple[int, Point, ConfigError]], count: int, swept: Sequence[str]) -> ConfigError:
    """Returns the error that tells of all combinations that are wrong, each by what is swept."""
    told = {error.problems for _, _, error in wrong}
    if len(told) == 1 and (len(wrong) == count):
        return wrong[0][2]
    lines = [f"{len(wrong)} of {count} trials are wrong, so none was started:"]
    for number, point, error in wrong[:_SHOWN_PROBLEMS]:
        settings = " ".join(setting.text for setting in point if setting.key in swept)
        lines += [f"trial {number}, {settings}: {problem}" for problem in error.problems]
    if len(wrong) > _SHOWN_PROBLEMS:
        lines.append(f"and {len(wrong) - _SHOWN_PROBLEMS} more")
    return ConfigError(*lines)


def _check_alike(configs: Sequence[RunConfig]) -> None:
    """Checks that what all trials must share is the same in all: recipes that are swept over may differ in it."""
    if any(config.resume is not None for config in configs):
        raise ConfigError("resume: goes on with one run, and a sweep has several. Leave it out")
    first = configs[0]
    shared = [f"sweep.{spec.name}" for spec in fields(first.sweep)]
    for path in (*shared, "tracking.name", "tracking.uri"):
        value = operator.attrgetter(path)
        if other := next((config for config in configs if value(config) != value(first)), None):
            raise ConfigError(f"{path}: expected the same for all trials, got {value(first)!r} and {value(other)!r}")


def _default_name(configs: Sequence[RunConfig], overrides: Sequence[str], config_name: str | None) -> str:
    """Returns a name that the same command comes to again: the recipes', and a hash of what was asked for."""
    names = list(dict.fromkeys(config.name for config in configs))
    shown = "+".join(names[:_SHOWN_NAMES]) + ("+more" if len(names) > _SHOWN_NAMES else "")
    asked = [text for text in overrides if not is_about_running(text)]
    text = json.dumps([config_name, sorted(asked)])
    return f"{shown}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def is_about_running(override: str) -> bool:
    """Tells whether an override says how a sweep is run, and not what it is: the launcher, what failures mean."""
    key = key_of(override)
    if key.startswith("hydra.sweeper.params"):
        return False
    return key.startswith(("hydra.", "hydra/")) or key in {f"sweep.{name}" for name in _POLICY}


def _freeze(config: RunConfig, name: str, experiment: str | None) -> dict[str, Any]:
    """Returns the config of a trial as it is kept: of the sweep it has only the name."""
    tracking = replace(config.tracking, experiment=experiment) if experiment else config.tracking
    return to_tree(replace(config, sweep=SweepConfig(name=name), tracking=tracking))


def _tell_apart(drafts: Sequence[_Draft], frozen: Sequence[dict[str, Any]], swept: Sequence[str]) -> tuple[Trial, ...]:
    """Returns the trials, each once, with their names."""
    found: dict[str, tuple[_Draft, dict[str, Any]]] = {}
    for draft, config in zip(drafts, frozen, strict=True):
        found.setdefault(canonical(config), (draft, config))
    unique = list(found.values())
    numbers = itertools.count(1)
    points: dict[str, int] = {}
    names = short_keys(swept)
    repeated = len({config["seed"] for _, config in unique}) > 1
    sizes: dict[str, int | None] = {}
    trials = []
    for draft, config in unique:
        point = points.setdefault(canonical(config | {"seed": None}), len(points) + 1)
        varied = {setting.key: setting.value for setting in draft.point if setting.key in names}
        seed = config["seed"] if repeated else None
        trials.append(
            Trial(
                number=next(numbers),
                point=point,
                label=name_trial(varied, names, seed) or draft.config.model.label,
                varied=varied,
                seed=config["seed"],
                overrides=tuple(s.text for s in draft.point if not s.key.lstrip("+~").startswith("hydra")),
                config=config,
                parameters=_count_parameters(draft.config, sizes),
            )
        )
    return tuple(trials)


def _count_parameters(config: RunConfig, known: dict[str, int | None]) -> int | None:
    """Returns the size of a model where arithmetic gives it; each architecture is counted once."""
    shape = config.dataset.known_shape
    if shape is None:
        return None
    key = repr((shape, config.model))
    if key not in known:
        known[key] = config.model.count_parameters(*shape)
    return known[key]


def canonical(config: Mapping[str, Any]) -> str:
    """Returns a config as one text, equal for equal configs."""
    return json.dumps(config, sort_keys=True)
