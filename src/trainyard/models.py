"""The built-in architectures: what their fields mean and how they become Keras models.

Before them: the registry. After them: training, which compiles and fits what `build` returns. A model takes images
scaled to 0..1 and returns probabilities; scaling raw pixels is not its business (see `with_raw_pixels`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard.registry import register_model
from trainyard.schema import ModelConfig, setting

if TYPE_CHECKING:
    import keras

    from trainyard.images import DataSpec

ACTIVATIONS = (
    "celu", "elu", "exponential", "gelu", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu", "linear",
    "log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softsign", "swish", "tanh",
)  # fmt: skip
"""Keras's elementwise activations, listed so that a config can be checked without importing Keras."""

INITIALIZERS = (
    "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal", "lecun_uniform", "orthogonal",
    "random_normal", "random_uniform", "truncated_normal",
)  # fmt: skip
"""Keras's initializers that break the symmetry between units."""


@register_model("mlp")
@dataclass(kw_only=True, slots=True)
class Mlp(ModelConfig):
    """A multilayer perceptron: flattened pixels, hidden layers, softmax over the classes."""

    hidden_units: list[int] = setting([300, 200, 100], ge=1, nonempty=True)
    """The width of each hidden layer, first to last."""
    activation: Any = setting("relu", choices=ACTIVATIONS, accepts=(str, list[str]))
    """The activation of all hidden layers, or a list with one per layer."""
    dropout: float = setting(0.0, ge=0, lt=1)
    """The share of units dropped after each hidden layer while training."""
    batch_norm: bool = setting(False)
    """Whether each hidden layer is batch-normalised between its matrix product and its activation."""
    l2: float = setting(0.0, ge=0)
    """The weight of the L2 penalty on hidden kernels, added to the training loss."""
    initializer: str = setting("glorot_uniform", choices=INITIALIZERS)
    """How hidden kernels are drawn."""

    @property
    def activations(self) -> list[str]:
        """One activation per hidden layer."""
        return self.activation if isinstance(self.activation, list) else [self.activation] * len(self.hidden_units)

    @property
    def label(self) -> str:
        """The widths and activations, ``'300x200x100 relu'``."""
        names = self.activation if isinstance(self.activation, list) else [self.activation]
        return f"{'x'.join(map(str, self.hidden_units))} {','.join(names)}"

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields a problem where activations and layers differ in number."""
        if len(self.activations) != len(self.hidden_units):
            layers, given = len(self.hidden_units), len(self.activations)
            message = f"expected one name, or one per hidden layer ({layers}), got {given}: {self.activation}"
            yield "activation", message

    def build(self, spec: DataSpec) -> keras.Model:
        """Builds the network; see `ModelConfig.build`."""
        import keras

        layers = [keras.layers.Input(spec.image_shape), keras.layers.Flatten(name="flatten")]
        for number, (units, activation) in enumerate(zip(self.hidden_units, self.activations, strict=True), start=1):
            penalty = keras.regularizers.L2(self.l2) if self.l2 else None
            dense = {"kernel_initializer": self.initializer, "kernel_regularizer": penalty}
            if self.batch_norm:  # its own offset makes the layer's bias redundant
                layers += [
                    keras.layers.Dense(units, use_bias=False, name=f"hidden_{number}", **dense),
                    keras.layers.BatchNormalization(name=f"norm_{number}"),
                    keras.layers.Activation(activation, name=f"activation_{number}"),
                ]
            else:
                layers.append(keras.layers.Dense(units, activation=activation, name=f"hidden_{number}", **dense))
            if self.dropout:
                layers.append(keras.layers.Dropout(self.dropout, name=f"dropout_{number}"))
        layers.append(keras.layers.Dense(spec.classes, activation="softmax", name="probabilities"))
        return keras.Sequential(layers, name=self.name)


def with_raw_pixels(model: keras.Model, spec: DataSpec) -> keras.Model:
    """Puts the scaling of raw pixels in front of a trained model, so that it can be served.

    Args:
        model: Takes images scaled to 0..1. It is left as it is.
        spec: What the model was trained on.

    Returns:
        A model with a copy of the weights, and without an optimizer, that takes raw pixels, 0 to ``spec.pixel_max``.
    """
    import keras

    trained = keras.models.clone_model(model)
    trained.set_weights(model.get_weights())
    pixels = keras.layers.Input(spec.image_shape, name="pixels")
    scaled = keras.layers.Rescaling(1 / spec.pixel_max, name="scale")(pixels)
    return keras.Model(pixels, trained(scaled), name=f"{model.name}_served")
