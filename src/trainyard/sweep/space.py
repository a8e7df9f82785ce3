"""The search space that a sampler draws from, and the trials of a drawn point.

A setting that exists only for some choices of a group is drawn only with those: `model.filters` only with model=cnn.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainyard.config import RunConfig, ValidValues, build_label, check_files_exist, shorten_keys, validate_config
from trainyard.errors import ConfigError
from trainyard.evaluation import Trial
from trainyard.sweep.composer import Composer
from trainyard.sweep.grid import Axis, AxisSetting, Point, build_seed_axis

NOT_DRAWN = "not drawn yet"
"""Label of a trial whose settings have not been drawn yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """The axes of a search, and how trials are built from a point.

    Attributes:
        axes: Swept and fixed axes, without the seed.
        seeds: Consecutive seeds of each point; one trial per seed.
        freeze: Converts a config to the dict that is stored in the plan.
    """

    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    composer: Composer
    freeze: Callable[[RunConfig], dict[str, Any]]

    @property
    def swept(self) -> tuple[str, ...]:
        """Keys of the swept axes."""
        return tuple(axis.key for axis in self.axes if axis.swept)

    def is_active(self, axis: Axis, groups: Sequence[AxisSetting]) -> bool:
        """Returns whether a setting exists for the chosen config groups."""
        return self.composer.get_base(tuple(groups)).has_path(axis.key)

    def iterate_base_points(self) -> Iterator[Point]:
        """Yields every combination of the structural axes, each with the first setting of all other axes."""
        structural = [axis for axis in self.axes if axis.settings[0].structural]
        field_axes = [axis for axis in self.axes if not axis.settings[0].structural]
        for groups in itertools.product(*(axis.settings for axis in structural)):
            first_settings = [axis.settings[0] for axis in field_axes if not axis.swept or self.is_active(axis, groups)]
            yield self.sort_by_axis([*groups, *first_settings])

    def iterate_probe_points(self) -> Iterator[Point]:
        """Yields points that cover all settings or ends of intervals: the base points, and each with one changed."""
        for base in self.iterate_base_points():
            yield base
            for index, setting in enumerate(base):
                axis = next(axis for axis in self.axes if axis.key == setting.key)
                if not setting.structural:
                    yield from (self.sort_by_axis([*base[:index], *base[index + 1 :], s]) for s in axis.settings[1:])

    def find_unknown_keys(self) -> list[str]:
        """Returns the swept keys that exist for no choice of the config groups."""
        existing_keys = {setting.key for base in self.iterate_base_points() for setting in base}
        return [key for key in self.swept if key not in existing_keys]

    def build_config(self, point: Point) -> RunConfig:
        """Returns the config of a point with its first seed. Raises ConfigError if it is invalid."""
        config = replace(self.composer.build_config(point), seed=self.seeds[0])
        check_trial_config(config)
        return config

    def build_trials(self, number: int, point: Point, config: RunConfig) -> list[Trial]:
        """Returns the trials of the point with a number, one per seed; `config` is its config with the first seed."""
        names, count = shorten_keys(self.swept), len(self.seeds)
        trials = []
        for index, setting in enumerate(build_seed_axis(self.seeds[0], count).settings, start=(number - 1) * count + 1):
            seeded = replace(config, seed=setting.value)
            frozen = self.freeze(seeded)
            settings = (*point, setting)
            trials.append(build_trial(index, number, settings, seeded, frozen, names=names, names_seed=count > 1))
        return trials

    def sort_by_axis(self, settings: Sequence[AxisSetting]) -> Point:
        """Returns the settings as a point, in the order of `axes`; an axis without a setting is left out."""
        by_key = {setting.key: setting for setting in settings}
        return tuple(by_key[axis.key] for axis in self.axes if axis.key in by_key)


def check_trial_config(config: RunConfig, valid: ValidValues | None = None) -> None:
    """Raises a ConfigError if the config of a trial or its objective or pruner is invalid, or a file does not exist.

    `valid` is as for `validate_config`.
    """
    validate_config(config, valid)
    check_files_exist(config)
    if config.sweep.objective == "off" and config.sweep.pruner != "off":
        raise ConfigError(
            f"sweep.pruner: {config.sweep.pruner} requires an objective, but sweep.objective is off. Set "
            "sweep.objective, or sweep.pruner=off"
        )
    if config.sweep.objective != "off" and not config.dataset.has_validation:
        raise ConfigError(
            f"sweep.objective: {config.sweep.objective} needs validation images, but there are none. Set "
            "dataset.validation_fraction=0.1, or sweep.objective=off to run the trials without comparing them"
        )


def build_trial(
    number: int,
    point_number: int,
    point: Point,
    config: RunConfig,
    frozen_config: dict[str, Any],
    *,
    names: Mapping[str, str],
    names_seed: bool,
) -> Trial:
    """Returns a trial. Its label uses the `names` of the swept keys, and the seed if `names_seed`."""
    varied = {setting.key: setting.value for setting in point if setting.key in names}
    return Trial(
        number=number,
        point=point_number,
        label=build_label(varied, names, config.seed if names_seed else None) or config.model.label,
        varied=varied,
        seed=config.seed,
        # without the settings of Hydra's own config
        overrides=tuple(s.text for s in point if not s.key.lstrip("+~").startswith("hydra")),
        config=frozen_config,
        parameters=config.known_parameters,
    )


def compute_identity(frozen_config: Any) -> str:  # noqa: ANN401 - a config, a section or a scalar
    """Returns a string that is equal for equal configs, or parts of them: its canonical JSON."""
    return json.dumps(frozen_config, sort_keys=True)
