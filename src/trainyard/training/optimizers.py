"""Optimizers, with the names and fields of Keras, and its defaults where they train.

Three learning rates are not Keras's, with which adagrad, adadelta and ftrl hardly move in a few epochs. Adafactor is
left out: on MNIST its weights become NaN, in plain Keras too.

Before them: the registry. After them: training, which compiles the model with what they build.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from trainyard.config.fields import setting
from trainyard.config.registry import register_optimizer
from trainyard.config.schema import OptimizerConfig

if TYPE_CHECKING:
    import keras

    from trainyard.config.schema import LearningRate

_OURS = ("name", "learning_rate")


@dataclass(kw_only=True, slots=True)
class KerasOptimizer(OptimizerConfig):
    """An optimizer of Keras: every field is an argument of its class, by the same name."""

    clipnorm: float | None = setting(None, gt=0)
    """The largest norm of a weight's gradient, which is scaled down to it; null: no limit."""
    clipvalue: float | None = setting(None, gt=0)
    """The largest absolute value of an element of a gradient, which is cut to it; null: no limit."""
    global_clipnorm: float | None = setting(None, gt=0)
    """The largest norm of all gradients together, which are scaled down to it; null: no limit."""
    weight_decay: float | None = setting(None, ge=0)
    """The share of each weight, times the learning rate, taken off at each step; null: none."""
    use_ema: bool = setting(False)
    """Whether the weights that come out are a running mean over the steps; loss/val is of those that are trained."""
    ema_momentum: float = setting(0.99, ge=0, lt=1)
    """The share of that running mean which is kept at each step."""
    gradient_accumulation_steps: int | None = setting(None, ge=2)
    """Batches whose gradients are averaged into one step; null: a step for each batch."""

    keras_class: ClassVar[str] = ""
    """The class in `keras.optimizers`."""

    def build(self, learning_rate: LearningRate) -> keras.Optimizer:
        """Builds the Keras optimizer."""
        import keras

        arguments = {spec.name: getattr(self, spec.name) for spec in dataclasses.fields(self) if spec.name not in _OURS}
        return getattr(keras.optimizers, self.keras_class)(learning_rate=learning_rate, **arguments)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields a problem where gradients would be clipped in two ways."""
        ways = [name for name in ("clipnorm", "clipvalue", "global_clipnorm") if getattr(self, name) is not None]
        if len(ways) > 1:
            yield ways[1], f"gradients are clipped in one way, and {ways[0]} is set too. Set one of them to null"


@register_optimizer("sgd")
@dataclass(kw_only=True, slots=True)
class Sgd(KerasOptimizer):
    """Stochastic gradient descent, with momentum where it is above 0."""

    keras_class: ClassVar[str] = "SGD"
    learning_rate: float = setting(0.01, gt=0)
    """The step size at the start; the schedule changes it from there."""
    momentum: float = setting(0.0, ge=0, lt=1)
    """The share of the last step that is carried into the next."""
    nesterov: bool = setting(False)
    """Whether the gradient is taken where momentum leads to."""


@register_optimizer("rmsprop")
@dataclass(kw_only=True, slots=True)
class RmsProp(KerasOptimizer):
    """RMSprop (Tieleman and Hinton, 2012)."""

    keras_class: ClassVar[str] = "RMSprop"
    rho: float = setting(0.9, ge=0, lt=1)
    """Decay of the running mean of squared gradients, per step."""
    momentum: float = setting(0.0, ge=0, lt=1)
    """The share of the last step that is carried into the next."""
    epsilon: float = setting(1e-7, gt=0)
    """Added to the denominator."""
    centered: bool = setting(False)
    """Whether gradients are divided by their estimated variance rather than by their squared mean."""


@dataclass(kw_only=True, slots=True)
class _Moments(KerasOptimizer):
    """An optimizer with running means of the gradient and of its square."""

    beta_1: float = setting(0.9, ge=0, lt=1)
    """Decay of the running mean of gradients, per step."""
    beta_2: float = setting(0.999, ge=0, lt=1)
    """Decay of the running mean of squared gradients, per step."""
    epsilon: float = setting(1e-7, gt=0)
    """Added to the denominator."""


@register_optimizer("adam")
@dataclass(kw_only=True, slots=True)
class Adam(_Moments):
    """Adam (Kingma and Ba, 2014)."""

    keras_class: ClassVar[str] = "Adam"
    amsgrad: bool = setting(False)
    """Whether the largest squared mean so far is used (Reddi et al., 2018)."""


@register_optimizer("adamw")
@dataclass(kw_only=True, slots=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2017)."""

    keras_class: ClassVar[str] = "AdamW"
    weight_decay: float = setting(0.004, ge=0)
    """The share of each weight, times the learning rate, taken off at each step."""


@register_optimizer("adamax")
@dataclass(kw_only=True, slots=True)
class Adamax(_Moments):
    """Adam with the largest gradient in the place of the squared mean (Kingma and Ba, 2014)."""

    keras_class: ClassVar[str] = "Adamax"


@register_optimizer("nadam")
@dataclass(kw_only=True, slots=True)
class Nadam(_Moments):
    """Adam with Nesterov momentum (Dozat, 2016)."""

    keras_class: ClassVar[str] = "Nadam"


@register_optimizer("lamb")
@dataclass(kw_only=True, slots=True)
class Lamb(_Moments):
    """Adam with a step size per layer, for large batches (You et al., 2019)."""

    keras_class: ClassVar[str] = "Lamb"


@register_optimizer("adagrad")
@dataclass(kw_only=True, slots=True)
class Adagrad(KerasOptimizer):
    """Step sizes that shrink with the gradients seen (Duchi et al., 2011)."""

    keras_class: ClassVar[str] = "Adagrad"
    learning_rate: float = setting(0.01, gt=0)
    """The step size at the start; ten times that of Keras, with which it hardly moves in a few epochs."""
    initial_accumulator_value: float = setting(0.1, ge=0)
    """What the sum of squared gradients starts from."""
    epsilon: float = setting(1e-7, gt=0)
    """Added to the denominator."""


@register_optimizer("adadelta")
@dataclass(kw_only=True, slots=True)
class Adadelta(KerasOptimizer):
    """Adagrad with a window (Zeiler, 2012)."""

    keras_class: ClassVar[str] = "Adadelta"
    learning_rate: float = setting(1.0, gt=0)
    """A factor on the step size; 1 as in the paper. Keras's own 0.001 hardly moves."""
    rho: float = setting(0.95, ge=0, lt=1)
    """Decay of the running means, per step."""
    epsilon: float = setting(1e-7, gt=0)
    """Added to numerator and denominator."""


@register_optimizer("ftrl")
@dataclass(kw_only=True, slots=True)
class Ftrl(KerasOptimizer):
    """Follow the regularised leader (McMahan et al., 2013)."""

    keras_class: ClassVar[str] = "Ftrl"
    learning_rate: float = setting(0.05, gt=0)
    """The step size at the start; above that of Keras, with which a deep network hardly moves."""
    learning_rate_power: float = setting(-0.5, le=0)
    """How the step size shrinks with the gradients seen; 0: not at all."""
    initial_accumulator_value: float = setting(0.1, ge=0)
    """What the sum of squared gradients starts from."""
    l1_regularization_strength: float = setting(0.0, ge=0)
    """The weight of the L1 penalty."""
    l2_regularization_strength: float = setting(0.0, ge=0)
    """The weight of the L2 penalty."""


@register_optimizer("lion")
@dataclass(kw_only=True, slots=True)
class Lion(KerasOptimizer):
    """Steps by the sign of the momentum (Chen et al., 2023); wants a learning rate a tenth of Adam's."""

    keras_class: ClassVar[str] = "Lion"
    learning_rate: float = setting(0.0001, gt=0)
    """The step size at the start; the schedule changes it from there."""
    beta_1: float = setting(0.9, gt=0, lt=1)
    """The share of the momentum in the step."""
    beta_2: float = setting(0.99, gt=0, lt=1)
    """Decay of the momentum, per step."""


@register_optimizer("muon")
@dataclass(kw_only=True, slots=True)
class Muon(KerasOptimizer):
    """Momentum made orthogonal, for matrices; AdamW for the rest (Jordan, 2024)."""

    keras_class: ClassVar[str] = "Muon"
    weight_decay: float | None = setting(0.004, ge=0)
    """The share of each matrix, times the learning rate, taken off at each step; null: none."""
    momentum: float = setting(0.95, ge=0, lt=1)
    """Decay of the momentum, per step."""
    nesterov: bool = setting(True)
    """Whether the gradient is taken where momentum leads to."""
    ns_steps: int = setting(5, ge=1)
    """Newton-Schulz iterations towards an orthogonal matrix."""
    adam_lr_ratio: float = setting(1.0, gt=0)
    """The learning rate of AdamW, as a multiple of that of the matrices."""
    adam_beta_1: float = setting(0.9, ge=0, lt=1)
    """AdamW's decay of the running mean of gradients, per step."""
    adam_beta_2: float = setting(0.999, ge=0, lt=1)
    """AdamW's decay of the running mean of squared gradients, per step."""
    adam_weight_decay: float = setting(0.004, ge=0)
    """AdamW's weight decay."""


@register_optimizer("schedule_free_adamw")
@dataclass(kw_only=True, slots=True)
class ScheduleFreeAdamW(_Moments):
    """AdamW that averages its iterates in the place of a schedule (Defazio et al., 2024)."""

    keras_class: ClassVar[str] = "ScheduleFreeAdamW"
    learning_rate: float = setting(0.0025, gt=0)
    """The step size, once it is warmed up."""
    epsilon: float = setting(1e-8, gt=0)
    """Added to the denominator."""
    warmup_steps: int = setting(0, ge=0)
    """Steps over which the learning rate rises from 0."""
