"""The multilayer perceptron, which the published baseline is one of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard.config.fields import setting
from trainyard.config.registry import register_model
from trainyard.config.schema import ModelConfig
from trainyard.models.blocks import ACTIVATIONS, INITIALIZERS, l2_penalty, probabilities
from trainyard.models.parameter_count import count_parameters, sized_hidden

if TYPE_CHECKING:
    import keras

    from trainyard.data.dataset import DataSpec


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

    def count_parameters(self, image_shape: tuple[int, ...], classes: int) -> int | None:
        """Counts all parameters; see `ModelConfig.count_parameters`."""
        hidden = [layer for units in self.hidden_units for layer in sized_hidden("Dense", self.batch_norm, units=units)]
        return count_parameters(image_shape, classes, [("Flatten", {}), *hidden])

    def build(self, spec: DataSpec) -> keras.Model:
        """Builds the network; see `ModelConfig.build`."""
        import keras

        layers = [keras.layers.Input(spec.image_shape), keras.layers.Flatten(name="flatten")]
        for number, (units, activation) in enumerate(zip(self.hidden_units, self.activations, strict=True), start=1):
            dense = {"kernel_initializer": self.initializer, "kernel_regularizer": l2_penalty(self.l2)}
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
        layers.append(probabilities(spec))
        return keras.Sequential(layers, name=self.name)
