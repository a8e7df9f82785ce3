"""Optimizers, learning-rate schedules and losses, with the fields and defaults of Keras.

Before them: the registry. After them: training, which compiles the model with what they build.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard.registry import register_loss, register_optimizer, register_schedule
from trainyard.schema import LossConfig, OptimizerConfig, ScheduleConfig, setting

if TYPE_CHECKING:
    from typing import TypeAlias

    import keras

    LearningRate: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule


@register_optimizer("adam")
@dataclass(kw_only=True, slots=True)
class Adam(OptimizerConfig):
    """Adam (Kingma and Ba, 2014)."""

    beta_1: float = setting(0.9, ge=0, lt=1)
    """Decay of the running mean of gradients, per step."""
    beta_2: float = setting(0.999, ge=0, lt=1)
    """Decay of the running mean of squared gradients, per step."""
    epsilon: float = setting(1e-7, gt=0)
    """Added to the denominator."""
    amsgrad: bool = setting(False)
    """Whether the largest squared mean so far is used (Reddi et al., 2018)."""

    def build(self, learning_rate: LearningRate) -> keras.Optimizer:
        """Builds `keras.optimizers.Adam`."""
        import keras

        return keras.optimizers.Adam(
            learning_rate, beta_1=self.beta_1, beta_2=self.beta_2, epsilon=self.epsilon, amsgrad=self.amsgrad
        )


@register_optimizer("adamw")
@dataclass(kw_only=True, slots=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2017)."""

    weight_decay: float = setting(0.004, ge=0)
    """The share of each weight, times the learning rate, taken off at each step."""

    def build(self, learning_rate: LearningRate) -> keras.Optimizer:
        """Builds `keras.optimizers.AdamW`."""
        import keras

        return keras.optimizers.AdamW(
            learning_rate,
            weight_decay=self.weight_decay,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            amsgrad=self.amsgrad,
        )


@register_optimizer("sgd")
@dataclass(kw_only=True, slots=True)
class Sgd(OptimizerConfig):
    """Stochastic gradient descent, with momentum where it is above 0."""

    learning_rate: float = setting(0.01, gt=0)
    """The step size at the start; the schedule changes it from there."""
    momentum: float = setting(0.0, ge=0, lt=1)
    """The share of the last step that is carried into the next."""
    nesterov: bool = setting(False)
    """Whether the gradient is taken where momentum leads to."""

    def build(self, learning_rate: LearningRate) -> keras.Optimizer:
        """Builds `keras.optimizers.SGD`."""
        import keras

        return keras.optimizers.SGD(learning_rate, momentum=self.momentum, nesterov=self.nesterov)


@register_optimizer("rmsprop")
@dataclass(kw_only=True, slots=True)
class RmsProp(OptimizerConfig):
    """RMSprop (Tieleman and Hinton, 2012)."""

    rho: float = setting(0.9, ge=0, lt=1)
    """Decay of the running mean of squared gradients, per step."""
    momentum: float = setting(0.0, ge=0, lt=1)
    """The share of the last step that is carried into the next."""
    epsilon: float = setting(1e-7, gt=0)
    """Added to the denominator."""
    centered: bool = setting(False)
    """Whether gradients are divided by their estimated variance rather than by their squared mean."""

    def build(self, learning_rate: LearningRate) -> keras.Optimizer:
        """Builds `keras.optimizers.RMSprop`."""
        import keras

        return keras.optimizers.RMSprop(
            learning_rate, rho=self.rho, momentum=self.momentum, epsilon=self.epsilon, centered=self.centered
        )


@register_schedule("constant")
@dataclass(kw_only=True, slots=True)
class Constant(ScheduleConfig):
    """The learning rate stays what it is."""

    def build(self, learning_rate: float, steps: int) -> LearningRate:  # noqa: ARG002 - the contract of schedules
        """Returns the learning rate itself."""
        return learning_rate


@register_schedule("cosine")
@dataclass(kw_only=True, slots=True)
class Cosine(ScheduleConfig):
    """Half a cosine, from the learning rate down to a fraction of it (Loshchilov and Hutter, 2016)."""

    final_fraction: float = setting(0.0, ge=0, le=1)
    """What is left of the learning rate at the last step."""

    def build(self, learning_rate: float, steps: int) -> LearningRate:
        """Builds `keras.optimizers.schedules.CosineDecay` over all steps of the training."""
        import keras

        return keras.optimizers.schedules.CosineDecay(learning_rate, decay_steps=steps, alpha=self.final_fraction)


@register_loss("cross_entropy")
@dataclass(kw_only=True, slots=True)
class CrossEntropy(LossConfig):
    """Cross-entropy between integer labels and probabilities (Keras's sparse categorical cross-entropy)."""

    def build(self) -> keras.losses.Loss:
        """Builds `keras.losses.SparseCategoricalCrossentropy`."""
        import keras

        return keras.losses.SparseCategoricalCrossentropy()
