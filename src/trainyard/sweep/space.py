"""The search space that a sampler draws from, and the trials of a drawn point.

A setting that exists only for some choices of a group is drawn only with those: `model.filters` only with model=cnn.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainyard.config import RunConfig
from trainyard.evaluation import Trial
from trainyard.sweep.composer import Composer
from trainyard.sweep.grid import Axis, AxisSetting, Point
from trainyard.sweep.labels import build_trial_label, shorten_keys

NOT_DRAWN = "not drawn yet"
"""Label of a trial whose settings have not been drawn yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """The axes of a search, and how trials are built from a point.

    Attributes:
        axes: Swept and fixed axes, without the seed.
        seeds: Seeds of each point; one trial per seed.
        check: Raises a ConfigError if a config is invalid.
        freeze: Converts a config to the dict that is stored in the plan.
    """

    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    composer: Composer
    check: Callable[[RunConfig], None]
    freeze: Callable[[RunConfig], dict[str, Any]]

    @property
    def swept(self) -> tuple[str, ...]:
        """Keys of the swept axes."""
        return tuple(axis.key for axis in self.axes if axis.swept)

    def is_active(self, axis: Axis, groups: Sequence[AxisSetting]) -> bool:
        """Returns whether a setting exists for the chosen config groups."""
        return self.composer.has_path(tuple(groups), axis.key)

    def iterate_base_points(self) -> Iterator[Point]:
        """Yields every combination of the structural axes, each with the first setting of all other axes."""
        structural = [axis for axis in self.axes if axis.settings[0].structural]
        field_axes = [axis for axis in self.axes if not axis.settings[0].structural]
        for groups in itertools.product(*(axis.settings for axis in structural)):
            first_settings = [axis.settings[0] for axis in field_axes if not axis.swept or self.is_active(axis, groups)]
            yield self._sort_by_axis([*groups, *first_settings])

    def iterate_probe_points(self) -> Iterator[Point]:
        """Yields points that cover every setting: the base points, and each with one setting changed.

        Of an interval, only the ends are used.
        """
        for base in self.iterate_base_points():
            yield base
            for index, setting in enumerate(base):
                axis = next(axis for axis in self.axes if axis.key == setting.key)
                if not setting.structural:
                    yield from (self._sort_by_axis([*base[:index], *base[index + 1 :], s]) for s in axis.settings[1:])

    def find_unknown_keys(self) -> list[str]:
        """Returns the swept keys that exist for no choice of the config groups."""
        existing_keys = {setting.key for base in self.iterate_base_points() for setting in base}
        return [key for key in self.swept if key not in existing_keys]

    def build_config(self, point: Point) -> RunConfig:
        """Returns the config of a point with its first seed. Raises ConfigError if it is invalid."""
        config = replace(self.composer.build_config(point), seed=self.seeds[0])
        self.check(config)
        return config

    def build_trials(self, number: int, first_trial: int, point: Point, config: RunConfig) -> list[Trial]:
        """Returns the trials of a point, one per seed; `config` is its config with the first seed."""
        names = shorten_keys(self.swept)
        varied = {setting.key: setting.value for setting in point if setting.key in names}
        # without the seed and without the settings of Hydra's own config
        overrides = [s.text for s in point if s.key != "seed" and not s.key.lstrip("+~").startswith("hydra")]
        return [
            Trial(
                number=first_trial + index,
                point=number,
                label=build_trial_label(varied, names, seed if len(self.seeds) > 1 else None),
                varied=varied,
                seed=seed,
                overrides=(*overrides, f"seed={seed}"),
                config=self.freeze(replace(config, seed=seed)),
                parameters=config.known_parameters,
            )
            for index, seed in enumerate(self.seeds)
        ]

    def build_placeholder_trials(self, number: int, first_trial: int, base: dict[str, Any]) -> list[Trial]:
        """Returns trials for a point that has not been drawn yet. Only the settings that all points share are valid."""
        return [
            Trial(
                number=first_trial + index, point=number, label=NOT_DRAWN, varied={}, seed=seed, overrides=(),
                config=base | {"seed": seed},
            )
            for index, seed in enumerate(self.seeds)
        ]  # fmt: skip

    def _sort_by_axis(self, settings: Sequence[AxisSetting]) -> Point:
        """Returns the settings as a point, in the order of `axes`; an axis without a setting is left out."""
        by_key = {setting.key: setting for setting in settings}
        return tuple(by_key[axis.key] for axis in self.axes if axis.key in by_key)
