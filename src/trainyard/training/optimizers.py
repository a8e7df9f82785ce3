"""The optimizers that a config can select, ``optimizer=adam``. Classes, fields and most defaults are those of Keras.

The default learning rates of adagrad, adadelta and ftrl are higher than in Keras, whose defaults barely train a model
in a few epochs. Two optimizers of Keras are not included. Adafactor: on MNIST its weights become NaN, in plain Keras
too. ScheduleFreeAdamW: it reads its momentum after the update instead of before, and never evaluates or saves the
averaged weights, so it is not the published algorithm (Defazio et al., 2024).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard.config import OptimizerConfig, register_optimizer, setting
from trainyard.errors import ConfigError
from trainyard.system import average_weights_at_updates

if TYPE_CHECKING:
    import keras

    from trainyard.config import LearningRate


@dataclass(kw_only=True, slots=True)
class KerasOptimizer(OptimizerConfig):
    """An optimizer of Keras. Each field is passed to the argument of the Keras class that has the same name."""

    clipnorm: float | None = setting(None, gt=0)
    """Maximum norm of the gradient of each weight. Larger gradients are scaled down. `null` disables clipping."""
    clipvalue: float | None = setting(None, gt=0)
    """Maximum absolute value of each gradient element. Larger values are clipped. `null` disables clipping."""
    global_clipnorm: float | None = setting(None, gt=0)
    """Maximum norm of all gradients together. Larger gradients are scaled down. `null` disables clipping."""
    weight_decay: float | None = setting(None, ge=0)
    """Weight decay: each step subtracts this fraction of each weight, times the learning rate. `null` disables it."""
    use_ema: bool = setting(False)
    """Whether to replace the final weights with their exponential moving average. `loss/val` is computed without it."""
    ema_momentum: float = setting(0.99, ge=0, lt=1)
    """Momentum of the moving average: the fraction of the average that is kept at each weight update. Has no effect
    unless `use_ema` is true."""
    gradient_accumulation_steps: int | None = setting(None, ge=2)
    """Number of batches whose gradients are averaged for one weight update. `null` updates after each batch. A value
    above the number of batches of the training is an error, because the weights would never change."""

    @property
    def keras_class(self) -> type[keras.Optimizer] | None:
        """The class in `keras.optimizers` with the name of this class or of its closest base class; None if missing."""
        import keras

        classes: dict[str, type[keras.Optimizer]] = vars(keras.optimizers)
        return next((classes[cls.__name__] for cls in type(self).__mro__ if cls.__name__ in classes), None)

    def build(self, learning_rate: LearningRate) -> keras.Optimizer:
        """Builds the Keras optimizer. Raises ConfigError if `keras_class` is not a class."""
        keras_class = self.keras_class
        if not isinstance(keras_class, type):
            raise ConfigError(
                f"optimizer: {type(self).__name__}.keras_class: expected a class of Keras, got {keras_class!r}. Give "
                "your class or one of its base classes the name of a class in keras.optimizers, or return the Keras "
                "class from a property keras_class"
            )
        names = {spec.name for spec in dataclasses.fields(self)} - {"name", "learning_rate"}
        optimizer = keras_class(learning_rate=learning_rate, **{name: getattr(self, name) for name in names})
        if self.use_ema and self.gradient_accumulation_steps:
            average_weights_at_updates(optimizer)
        return optimizer

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields a problem if more than one kind of gradient clipping is set."""
        kinds = [name for name in ("clipnorm", "clipvalue", "global_clipnorm") if getattr(self, name) is not None]
        if len(kinds) > 1:
            yield kinds[1], f"can't be combined with {kinds[0]}: only one kind of clipping is possible. Set one to null"

    def find_ineffective_settings(self) -> Iterator[str]:
        """Yields a warning if the moving average equals the weights."""
        if self.use_ema and not self.ema_momentum:
            yield (
                "optimizer.ema_momentum: with 0, the moving average equals the weights, so optimizer.use_ema=true has "
                "no effect. Set a value above 0"
            )


@register_optimizer("sgd")
@dataclass(kw_only=True, slots=True)
class SGD(KerasOptimizer):
    """Stochastic gradient descent, optionally with momentum."""

    learning_rate: float = setting(0.01, gt=0)
    """Initial learning rate. The schedule may change it during training."""
    momentum: float = setting(0.0, ge=0, lt=1)
    """Momentum: fraction of the previous update that is added to the next one. 0 disables momentum."""
    nesterov: bool = setting(False)
    """Whether to use Nesterov momentum. Has no effect, which causes a warning, if `momentum` is 0."""

    def find_ineffective_settings(self) -> Iterator[str]:
        """Yields a warning also if there is no momentum that Nesterov's method could change."""
        yield from KerasOptimizer.find_ineffective_settings(self)
        if self.nesterov and not self.momentum:
            yield "optimizer.nesterov: true has no effect with optimizer.momentum=0. Set optimizer.momentum above 0"


@register_optimizer("rmsprop")
@dataclass(kw_only=True, slots=True)
class RMSprop(KerasOptimizer):
    """RMSprop (Tieleman and Hinton, 2012)."""

    rho: float = setting(0.9, ge=0, lt=1)
    """Decay rate per step of the moving average of squared gradients."""
    momentum: float = setting(0.0, ge=0, lt=1)
    """Momentum: fraction of the previous update that is added to the next one. 0 disables momentum."""
    epsilon: float = setting(1e-7, gt=0)
    """Small constant added to the denominator for numerical stability."""
    centered: bool = setting(False)
    """Whether gradients are normalized by their estimated variance instead of their mean square."""


@dataclass(kw_only=True, slots=True)
class _MomentOptimizer(KerasOptimizer):
    """An optimizer with moving averages of the gradient and of its square."""

    beta_1: float = setting(0.9, ge=0, lt=1)
    """Decay rate per step of the moving average of gradients (first moment)."""
    beta_2: float = setting(0.999, ge=0, lt=1)
    """Decay rate per step of the moving average of squared gradients (second moment)."""
    epsilon: float = setting(1e-7, gt=0)
    """Small constant added to the denominator for numerical stability."""


@register_optimizer("adam")
@dataclass(kw_only=True, slots=True)
class Adam(_MomentOptimizer):
    """Adam (Kingma and Ba, 2014)."""

    amsgrad: bool = setting(False)
    """Whether to use AMSGrad, which divides by the maximum of past second moments (Reddi et al., 2018)."""


@register_optimizer("adamw")
@dataclass(kw_only=True, slots=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2017)."""

    weight_decay: float = setting(0.004, ge=0)
    """Weight decay: each step subtracts this fraction of each weight, times the learning rate. 0 disables it."""


@register_optimizer("adamax")
@dataclass(kw_only=True, slots=True)
class Adamax(_MomentOptimizer):
    """Adamax: Adam with the infinity norm of past gradients instead of the second moment (Kingma and Ba, 2014)."""


@register_optimizer("nadam")
@dataclass(kw_only=True, slots=True)
class Nadam(_MomentOptimizer):
    """Adam with Nesterov momentum (Dozat, 2016). The momentum rises to `beta_1` in 100 steps, in the paper in 25,000.

    In Keras, the momentum of step t is ``beta_1 * (1 - 0.5 * 0.96**t)``; in the paper, the exponent is ``t / 250``.
    """


@register_optimizer("lamb")
@dataclass(kw_only=True, slots=True)
class Lamb(_MomentOptimizer):
    """LAMB: Adam with a separate step size for each layer, for large batches (You et al., 2019)."""


@register_optimizer("adagrad")
@dataclass(kw_only=True, slots=True)
class Adagrad(KerasOptimizer):
    """Adagrad: step sizes per weight that shrink with the sum of past squared gradients (Duchi et al., 2011)."""

    learning_rate: float = setting(0.01, gt=0)
    """Initial learning rate. The default is ten times that of Keras, which barely trains a model in a few epochs."""
    initial_accumulator_value: float = setting(0.1, ge=0)
    """Initial value of the sum of squared gradients."""
    epsilon: float = setting(1e-7, gt=0)
    """Small constant added to the denominator for numerical stability."""


@register_optimizer("adadelta")
@dataclass(kw_only=True, slots=True)
class Adadelta(KerasOptimizer):
    """Adadelta: Adagrad with a moving average of squared gradients instead of their sum (Zeiler, 2012)."""

    learning_rate: float = setting(1.0, gt=0)
    """Factor that scales each update. The default is that of the paper; Keras's 0.001 barely trains a model."""
    rho: float = setting(0.95, ge=0, lt=1)
    """Decay rate per step of the moving averages of squared gradients and squared updates."""
    epsilon: float = setting(1e-7, gt=0)
    """Small constant added to numerator and denominator for numerical stability."""


@register_optimizer("ftrl")
@dataclass(kw_only=True, slots=True)
class Ftrl(KerasOptimizer):
    """FTRL: follow the regularized leader (McMahan et al., 2013). Weights without gradients become 0."""

    learning_rate: float = setting(0.05, gt=0)
    """Initial learning rate. The default is higher than that of Keras, which barely trains a deep network."""
    learning_rate_power: float = setting(-0.5, le=0)
    """Exponent that controls how fast step sizes shrink with the sum of squared gradients. 0 keeps them constant."""
    initial_accumulator_value: float = setting(0.1, gt=0)
    """Initial value of the sum of squared gradients."""
    l1_regularization_strength: float = setting(0.0, ge=0)
    """Strength of FTRL's L1 penalty on the weights. It is part of FTRL's formula for the weights, not of the gradient
    or the loss. 0 disables it."""
    l2_regularization_strength: float = setting(0.0, ge=0)
    """Strength of FTRL's L2 penalty on the weights. It is part of FTRL's formula for the weights, not of the gradient
    or the loss. 0 disables it."""


@register_optimizer("lion")
@dataclass(kw_only=True, slots=True)
class Lion(KerasOptimizer):
    """Lion: updates by the sign of the momentum. Needs about a tenth of Adam's learning rate (Chen et al., 2023)."""

    learning_rate: float = setting(0.0001, gt=0)
    """Initial learning rate. The schedule may change it during training."""
    beta_1: float = setting(0.9, gt=0, lt=1)
    """Weight of the momentum when it is combined with the current gradient into an update."""
    beta_2: float = setting(0.99, gt=0, lt=1)
    """Decay rate per step of the momentum."""


@register_optimizer("muon")
@dataclass(kw_only=True, slots=True)
class Muon(KerasOptimizer):
    """Muon, scaled as in Moonlight (Liu et al., 2025), for weight matrices; AdamW for other weights.

    Muon orthogonalizes the momentum (Jordan, 2024). Moonlight multiplies the update by 0.2 times the square root of the
    larger dimension of the matrix, so that it is as large as that of AdamW.
    """

    weight_decay: float | None = setting(0.004, ge=0)
    """Weight decay of matrices: each step subtracts this fraction, times `learning_rate`. `null` disables it."""
    momentum: float = setting(0.95, ge=0, lt=1)
    """Decay rate per step of the momentum."""
    nesterov: bool = setting(True)
    """Whether to use Nesterov momentum."""
    ns_steps: int = setting(5, ge=1)
    """Number of Newton-Schulz iterations that orthogonalize the momentum."""
    adam_lr_ratio: float = setting(1.0, gt=0)
    """Learning rate of AdamW, as a multiple of `learning_rate`."""
    adam_beta_1: float = setting(0.9, ge=0, lt=1)
    """Decay rate per step of AdamW's moving average of gradients (first moment)."""
    adam_beta_2: float = setting(0.999, ge=0, lt=1)
    """Decay rate per step of AdamW's moving average of squared gradients (second moment)."""
    adam_weight_decay: float = setting(0.004, ge=0)
    """Weight decay of AdamW: each step subtracts this fraction, times `learning_rate`. 0 disables it."""
