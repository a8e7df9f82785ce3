"""The multilayer perceptron, the architecture of the published MNIST baseline."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard.config import ModelConfig, register_model, setting
from trainyard.models.blocks import (
    ACTIVATIONS,
    INITIALIZERS,
    build_hidden_layer,
    build_output_layer,
    count_hidden_parameters,
)

if TYPE_CHECKING:
    import keras

    from trainyard.data import DataSpec


@register_model("mlp")
@dataclass(kw_only=True, slots=True)
class Mlp(ModelConfig):
    """A multilayer perceptron: flattened pixels, dense hidden layers, and a softmax output."""

    hidden_units: list[int] = setting([300, 200, 100], ge=1, nonempty=True)
    """Number of units of each hidden layer, from first to last; its length is the number of hidden layers."""
    activation: Any = setting("relu", choices=ACTIVATIONS, types=(str, list[str]))
    """Keras activation of the hidden layers: one name for all of them, or a list with one per hidden layer."""
    dropout: float = setting(0.0, ge=0, lt=1)
    """Dropout rate after each hidden layer, as a fraction of the units; 0 disables dropout."""
    batch_norm: bool = setting(False)
    """Whether to add batch normalization between each hidden layer and its activation; these layers have no bias."""
    l2: float = setting(0.0, ge=0)
    """Weight of the L2 penalty on the kernels of the hidden layers, added to the loss; 0 disables it."""
    initializer: str = setting("glorot_uniform", choices=INITIALIZERS)
    """Keras initializer of the kernels of the hidden layers."""

    @property
    def activations(self) -> list[str]:
        """The activation of each hidden layer."""
        return self.activation if isinstance(self.activation, list) else [self.activation] * len(self.hidden_units)

    @property
    def label(self) -> str:
        """A short name with the units and the activations, such as ``'300x200x100 relu'``."""
        names = self.activation if isinstance(self.activation, list) else [self.activation]
        return f"{'x'.join(map(str, self.hidden_units))} {','.join(names)}"

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields a problem if the number of activations is not the number of hidden layers."""
        if len(self.activations) != len(self.hidden_units):
            layers, received = len(self.hidden_units), len(self.activations)
            message = f"expected one name, or one per hidden layer ({layers}), got {received}: {self.activation}"
            yield "activation", message

    def count_parameters(self, image_shape: tuple[int, ...], classes: int) -> int:
        """Counts all parameters; see `ModelConfig.count_parameters`."""
        widths = [math.prod(image_shape), *self.hidden_units]
        hidden = (count_hidden_parameters(*pair, self.batch_norm) for pair in itertools.pairwise(widths))
        return sum(hidden) + count_hidden_parameters(widths[-1], classes, batch_norm=False)

    def build(self, spec: DataSpec) -> keras.Model:
        """Builds the network; see `ModelConfig.build`."""
        import keras

        layers = [keras.layers.Input(spec.image_shape), keras.layers.Flatten(name="flatten")]
        for number, (units, activation) in enumerate(zip(self.hidden_units, self.activations, strict=True), start=1):
            names = (f"hidden_{number}", f"norm_{number}", f"activation_{number}")
            layers += build_hidden_layer(keras.layers.Dense, names, self, activation, units=units)
            if self.dropout:
                layers.append(keras.layers.Dropout(self.dropout, name=f"dropout_{number}"))
        layers.append(build_output_layer(spec))
        return keras.Sequential(layers, name=self.name)
