"""How the learning rate changes while training. Schedules are written in epochs; Keras counts them in steps.

Before them: the registry. After them: training, which gives what they build to the optimizer.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard.config.fields import setting
from trainyard.config.registry import register_schedule
from trainyard.config.schema import ScheduleConfig

if TYPE_CHECKING:
    from trainyard.config.schema import LearningRate


@register_schedule("constant")
@dataclass(kw_only=True, slots=True)
class Constant(ScheduleConfig):
    """The learning rate stays what it is, unless training.plateau lowers it."""

    constant = True

    def build(self, learning_rate: float, epochs: int, steps_per_epoch: int) -> LearningRate:  # noqa: ARG002 - the contract of schedules
        """Returns the learning rate itself."""
        return learning_rate


@register_schedule("exponential")
@dataclass(kw_only=True, slots=True)
class Exponential(ScheduleConfig):
    """The learning rate is multiplied by a factor again and again."""

    decay_rate: float = setting(0.9, gt=0, le=1)
    """What the learning rate is multiplied by, every `decay_epochs`."""
    decay_epochs: float = setting(1.0, gt=0)
    """The epochs from one multiplication to the next."""
    staircase: bool = setting(False)
    """Whether it falls in stairs; else it falls a little at each step."""

    def build(self, learning_rate: float, epochs: int, steps_per_epoch: int) -> LearningRate:  # noqa: ARG002 - the contract of schedules
        """Builds `keras.optimizers.schedules.ExponentialDecay`."""
        import keras

        steps = max(1, round(self.decay_epochs * steps_per_epoch))
        return keras.optimizers.schedules.ExponentialDecay(learning_rate, steps, self.decay_rate, self.staircase)


@register_schedule("cosine")
@dataclass(kw_only=True, slots=True)
class Cosine(ScheduleConfig):
    """Half a cosine, from the learning rate down to a fraction of it (Loshchilov and Hutter, 2016)."""

    final_fraction: float = setting(0.0, ge=0, le=1)
    """What is left of the learning rate at the last step."""
    warmup_epochs: float = setting(0.0, ge=0)
    """The epochs at the start in which the learning rate rises from 0, in a straight line; 0: none."""

    def build(self, learning_rate: float, epochs: int, steps_per_epoch: int) -> LearningRate:
        """Builds `keras.optimizers.schedules.CosineDecay`, which ends with the training."""
        import keras

        steps = epochs * steps_per_epoch
        rising = min(round(self.warmup_epochs * steps_per_epoch), steps - 1)
        decay = keras.optimizers.schedules.CosineDecay
        if not rising:
            return decay(learning_rate, decay_steps=steps, alpha=self.final_fraction)
        return decay(0.0, steps - rising, self.final_fraction, warmup_target=learning_rate, warmup_steps=rising)

    def training_problems(self, epochs: int) -> Iterator[tuple[str, str]]:
        """Yields a problem where the learning rate would still rise when the training ends."""
        if self.warmup_epochs >= epochs:
            yield "warmup_epochs", f"expected less than training.epochs={epochs}, got {self.warmup_epochs:g}"


@register_schedule("piecewise")
@dataclass(kw_only=True, slots=True)
class Piecewise(ScheduleConfig):
    """The learning rate changes at given epochs, and is constant between them."""

    at_epochs: list[float] = setting([6.0, 8.0], gt=0, nonempty=True)
    """After how many epochs it changes, rising."""
    factors: list[float] = setting([0.1, 0.01], gt=0, nonempty=True)
    """What it is from then on, as a multiple of the learning rate; one for each change."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields a problem where changes and factors differ in number, or the changes do not rise."""
        if len(self.at_epochs) != len(self.factors):
            changes, given = len(self.at_epochs), len(self.factors)
            yield "factors", f"expected one for each of at_epochs ({changes}), got {given}: {self.factors}"
        if any(later <= earlier for earlier, later in itertools.pairwise(self.at_epochs)):
            yield "at_epochs", f"expected rising numbers, got {self.at_epochs}"

    def build(self, learning_rate: float, epochs: int, steps_per_epoch: int) -> LearningRate:  # noqa: ARG002 - the contract of schedules
        """Builds `keras.optimizers.schedules.PiecewiseConstantDecay`."""
        import keras

        # Keras changes after a boundary, so the step at which an epoch ends is the last with the old value
        boundaries = [round(epoch * steps_per_epoch) - 1 for epoch in self.at_epochs]
        values = [learning_rate, *(learning_rate * factor for factor in self.factors)]
        return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)
