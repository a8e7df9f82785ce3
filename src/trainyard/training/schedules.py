"""The learning rate schedules that a config can select, ``schedule=cosine``. They count in epochs, Keras in steps."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard.config import ScheduleConfig, register_schedule, setting

if TYPE_CHECKING:
    from trainyard.config import LearningRate


@register_schedule("constant")
@dataclass(kw_only=True, slots=True)
class Constant(ScheduleConfig):
    """Constant learning rate. `training.plateau` can lower it, which is not possible with the other schedules."""

    is_constant = True

    def build(self, learning_rate: float, epochs: int, steps_per_epoch: int) -> LearningRate:  # noqa: ARG002 - the interface
        """Returns the learning rate unchanged."""
        return learning_rate


@register_schedule("exponential")
@dataclass(kw_only=True, slots=True)
class Exponential(ScheduleConfig):
    """Exponential decay: multiplies the learning rate by `decay_rate` every `decay_epochs` epochs."""

    decay_rate: float = setting(0.9, gt=0, le=1)
    """Factor by which the learning rate is multiplied every `decay_epochs` epochs. 1 keeps it constant."""
    decay_epochs: float = setting(1.0, gt=0)
    """Number of epochs in which the learning rate decays by the factor `decay_rate`. Fractions are allowed."""
    staircase: bool = setting(False)
    """If true, the learning rate drops once every `decay_epochs` epochs. If false, it decays a little at each step."""

    def find_ineffective_settings(self, epochs: int, steps_per_epoch: int) -> Iterator[str]:
        """Yields a warning if `decay_epochs` is less than a step, or so long that the learning rate never drops."""
        if self.decay_epochs * steps_per_epoch < 1:
            yield (
                f"schedule.decay_epochs: {self.decay_epochs:g} is less than a step, with {steps_per_epoch} steps per "
                f"epoch. The learning rate is multiplied by {self.decay_rate:g} at each step"
            )
        elif self.staircase and self.decay_rate < 1 and self._count_steps(steps_per_epoch) >= epochs * steps_per_epoch:
            yield (
                f"schedule.decay_epochs: the first drop, after {self.decay_epochs:g} epochs, is not before the end of "
                f"the training (training.epochs={epochs}), so the learning rate is constant. Set a smaller value, or "
                "schedule.staircase=false"
            )

    def build(self, learning_rate: float, epochs: int, steps_per_epoch: int) -> LearningRate:  # noqa: ARG002 - the interface
        """Builds `keras.optimizers.schedules.ExponentialDecay`."""
        import keras

        steps = self._count_steps(steps_per_epoch)
        return keras.optimizers.schedules.ExponentialDecay(learning_rate, steps, self.decay_rate, self.staircase)

    def _count_steps(self, steps_per_epoch: int) -> int:
        """Returns the number of steps in which the learning rate decays by the factor `decay_rate`."""
        return max(1, round(self.decay_epochs * steps_per_epoch))


@register_schedule("cosine")
@dataclass(kw_only=True, slots=True)
class Cosine(ScheduleConfig):
    """Cosine decay over the whole training, without restarts (Loshchilov and Hutter, 2016). Warmup is optional."""

    final_fraction: float = setting(0.0, ge=0, le=1)
    """Learning rate at the end of the training, as a fraction of `optimizer.learning_rate`. The last step still has a
    slightly higher rate. 0 decays to zero."""
    warmup_epochs: float = setting(0.0, ge=0)
    """Number of epochs in which the learning rate first rises linearly from 0. 0 disables warmup."""

    def build(self, learning_rate: float, epochs: int, steps_per_epoch: int) -> LearningRate:
        """Builds `keras.optimizers.schedules.CosineDecay`. It reaches its final value after the last step."""
        import keras

        steps = epochs * steps_per_epoch
        warmup_steps = min(round(self.warmup_epochs * steps_per_epoch), steps - 1)
        decay = keras.optimizers.schedules.CosineDecay
        if not warmup_steps:
            return decay(learning_rate, decay_steps=steps, alpha=self.final_fraction)
        return decay(
            0.0, steps - warmup_steps, self.final_fraction, warmup_target=learning_rate, warmup_steps=warmup_steps
        )

    def find_ineffective_settings(self, epochs: int, steps_per_epoch: int) -> Iterator[str]:  # noqa: ARG002 - the interface
        """Yields a warning if there is no warmup, because it is less than half a step."""
        if self.warmup_epochs and not round(self.warmup_epochs * steps_per_epoch):
            yield (
                f"schedule.warmup_epochs: {self.warmup_epochs:g} is less than half a step, with {steps_per_epoch} "
                "steps per epoch. There is no warmup"
            )

    def training_problems(self, epochs: int) -> Iterator[tuple[str, str]]:
        """Yields a problem if the warmup is not shorter than the training."""
        if self.warmup_epochs >= epochs:
            yield "warmup_epochs", f"expected less than training.epochs={epochs}, got {self.warmup_epochs:g}"


@register_schedule("piecewise")
@dataclass(kw_only=True, slots=True)
class Piecewise(ScheduleConfig):
    """Piecewise constant learning rate, which changes after the given epochs."""

    at_epochs: list[float] = setting([6.0, 8.0], gt=0, nonempty=True)
    """Numbers of finished epochs after which the learning rate changes, in increasing order. Fractions are allowed, and
    are rounded to a step. A warning names learning rates that are never used: because of the rounding, or because
    their change is not before the end of the training (`training.epochs`)."""
    factors: list[float] = setting([0.1, 0.01], gt=0, nonempty=True)
    """Learning rate after each change, as a multiple of `optimizer.learning_rate`: one value per change."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields a problem if the two lists differ in length, or if `at_epochs` is not increasing."""
        if len(self.at_epochs) != len(self.factors):
            changes, received = len(self.at_epochs), len(self.factors)
            yield "factors", f"expected {changes} values, one for each of at_epochs, got {received}: {self.factors}"
        if any(later <= earlier for earlier, later in itertools.pairwise(self.at_epochs)):
            yield "at_epochs", f"expected increasing numbers, got {self.at_epochs}"

    def find_ineffective_settings(self, epochs: int, steps_per_epoch: int) -> Iterator[str]:
        """Yields a warning if a learning rate is never used: the next change is at the same step, or the training ends.

        The warnings of both reasons name different learning rates.
        """
        starts, steps = [0, *self._count_steps(steps_per_epoch)], epochs * steps_per_epoch
        changes = zip([1.0, *self.factors], itertools.pairwise(starts), strict=False)
        if unused := [factor for factor, (start, end) in changes if start == end < steps]:
            yield (
                f"schedule.at_epochs: {self.at_epochs} are the steps {starts[1:]}, with {steps_per_epoch} steps per "
                f"epoch. The learning rates with the factors {unused} are never used. Set epochs "
                "that are at least a step apart"
            )
        late = sum(start >= steps for start in starts[1:])
        if late:
            yield (
                f"schedule.at_epochs: the changes after {self.at_epochs[-late:]} epochs are not before the end of the "
                f"training (training.epochs={epochs}), so the learning rates with the factors {self.factors[-late:]} "
                "are never used. Set smaller values, or train for more epochs"
            )

    def build(self, learning_rate: float, epochs: int, steps_per_epoch: int) -> LearningRate:  # noqa: ARG002 - the interface
        """Builds `keras.optimizers.schedules.PiecewiseConstantDecay`."""
        import keras

        # Keras changes the value after a boundary, so the boundary is the last step with the old value
        boundaries = [step - 1 for step in self._count_steps(steps_per_epoch)]
        values = [learning_rate, *(learning_rate * factor for factor in self.factors)]
        return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)

    def _count_steps(self, steps_per_epoch: int) -> list[int]:
        """Returns the number of steps before each change."""
        return [round(epoch * steps_per_epoch) for epoch in self.at_epochs]
