"""The space that a sampler draws from: which settings there are, what they mean together, what a point's trials are.

A setting that only some choices of a group know, as `model.filters` of the cnn, is drawn where one of these is chosen.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainyard.config.schema import RunConfig
from trainyard.evaluation.trials import Trial
from trainyard.sweep.composer import Composer
from trainyard.sweep.grid import Axis, Point, Setting
from trainyard.sweep.labels import name_trial, short_keys

NOT_DRAWN = "not drawn yet"
"""The label of a trial whose settings are drawn when it is its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What is swept, and how trials are made of it.

    Attributes:
        axes: What is swept and what is fixed, without the seeds.
        seeds: Of each point's trials.
        composer: Makes configs; what it reads of YAML files it reads once.
        check: Raises a ConfigError where a config is wrong.
        freeze: Returns the config of a trial as it is kept.
    """

    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    composer: Composer
    check: Callable[[RunConfig], None]
    freeze: Callable[[RunConfig], dict[str, Any]]

    @property
    def swept(self) -> tuple[str, ...]:
        """The keys that have several values."""
        return tuple(axis.key for axis in self.axes if axis.swept)

    def applies(self, axis: Axis, groups: Sequence[Setting]) -> bool:
        """Tells whether a setting is there under the choices of groups."""
        return self.composer.has(tuple(groups), axis.key)

    def bases(self) -> Iterator[Point]:
        """Yields every combination of what a config is composed anew for, each with the first of all other settings."""
        structural = [axis for axis in self.axes if axis.settings[0].structural]
        others = [axis for axis in self.axes if not axis.settings[0].structural]
        for groups in itertools.product(*(axis.settings for axis in structural)):
            firsts = [axis.settings[0] for axis in others if not axis.swept or self.applies(axis, groups)]
            yield self._in_order([*groups, *firsts])

    def probes(self) -> Iterator[Point]:
        """Yields the bases, and with each of their settings in turn each of its other values, of intervals the ends."""
        for base in self.bases():
            yield base
            for place, setting in enumerate(base):
                axis = next(axis for axis in self.axes if axis.key == setting.key)
                if not setting.structural:
                    yield from (self._in_order([*base[:place], *base[place + 1 :], s]) for s in axis.settings[1:])

    def unknown(self) -> list[str]:
        """Returns the keys that no choice of groups knows."""
        known = {setting.key for base in self.bases() for setting in base}
        return [key for key in self.swept if key not in known]

    def make(self, point: Point) -> RunConfig:
        """Returns the config of a point under its first seed, checked.

        Raises:
            ConfigError: If it is wrong.
        """
        config = replace(self.composer.make(point), seed=self.seeds[0])
        self.check(config)
        return config

    def trials(self, number: int, first: int, point: Point, config: RunConfig) -> list[Trial]:
        """Returns the trials of a point, one per seed.

        Args:
            number: Of the point.
            first: The number of its first trial.
            point: Its settings.
            config: Of its first seed.
        """
        names = short_keys(self.swept)
        varied = {setting.key: setting.value for setting in point if setting.key in names}
        return [
            Trial(
                number=first + place,
                point=number,
                label=name_trial(varied, names, seed if len(self.seeds) > 1 else None),
                varied=varied,
                seed=seed,
                overrides=(*_task_overrides(point), f"seed={seed}"),
                config=self.freeze(replace(config, seed=seed)),
                parameters=_count_parameters(config),
            )
            for place, seed in enumerate(self.seeds)
        ]

    def blank(self, number: int, first: int, base: dict[str, Any]) -> list[Trial]:
        """Returns the trials of a point that is yet to be drawn; of their configs only what all share is meant."""
        return [
            Trial(
                number=first + place, point=number, label=NOT_DRAWN, varied={}, seed=seed, overrides=(),
                config=base | {"seed": seed},
            )
            for place, seed in enumerate(self.seeds)
        ]  # fmt: skip

    def _in_order(self, settings: Sequence[Setting]) -> Point:
        by_key = {setting.key: setting for setting in settings}
        return tuple(by_key[axis.key] for axis in self.axes if axis.key in by_key)


def _task_overrides(point: Point) -> tuple[str, ...]:
    """Returns the overrides of a point as its run has them: without those of Hydra's own, and without the seed."""
    return tuple(s.text for s in point if s.key != "seed" and not s.key.lstrip("+~").startswith("hydra"))


def _count_parameters(config: RunConfig) -> int | None:
    shape = config.dataset.known_shape
    return None if shape is None else config.model.count_parameters(*shape)
