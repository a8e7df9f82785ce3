"""The convolutional network: blocks of convolutions and pooling, then dense layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard.config.fields import setting
from trainyard.config.registry import register_model
from trainyard.config.schema import ModelConfig
from trainyard.errors import TrainingError
from trainyard.models.blocks import ACTIVATIONS, INITIALIZERS, l2_penalty, probabilities, reason, with_channels
from trainyard.models.parameter_count import Sized, count_parameters, sized_hidden

if TYPE_CHECKING:
    import keras

    from trainyard.data.dataset import DataSpec


@register_model("cnn")
@dataclass(kw_only=True, slots=True)
class Cnn(ModelConfig):
    """A convolutional network: blocks of convolutions, each pooled, then dense layers, softmax over the classes."""

    filters: list[int] = setting([32, 64], ge=1, nonempty=True)
    """The filters of each block, first to last."""
    convolutions: int = setting(1, ge=1, le=100)
    """How many convolutions a block has before it is pooled."""
    kernel_size: Any = setting(3, ge=1, accepts=(int, list[int]))
    """The side of all kernels in pixels, or a list with one per block."""
    padding: str = setting("same", choices=("same", "valid"))
    """Whether a convolution keeps the size of an image (same), or only what whole kernels cover (valid)."""
    activation: str = setting("relu", choices=ACTIVATIONS)
    """The activation of all hidden layers."""
    pooling: str = setting("max", choices=("max", "average"))
    """What of a pooled patch is kept."""
    pool_size: int = setting(2, ge=1)
    """The side of the patches that each block is pooled by, in pixels; 1: not pooled."""
    global_pooling: str = setting("none", choices=("none", "max", "average"))
    """Whether each filter of the last block is pooled to one number; else all its pixels go on."""
    dense_units: list[int] = setting([128], ge=1)
    """The width of each dense layer between the blocks and the output; may be empty."""
    batch_norm: bool = setting(False)
    """Whether hidden layers are batch-normalised before their activation."""
    dropout: float = setting(0.0, ge=0, lt=1)
    """The share of units dropped after each block while training."""
    dense_dropout: float = setting(0.0, ge=0, lt=1)
    """The share of units dropped after each dense layer, and before the output, while training."""
    l2: float = setting(0.0, ge=0)
    """The weight of the L2 penalty on hidden kernels, added to the training loss."""
    initializer: str = setting("glorot_uniform", choices=INITIALIZERS)
    """How hidden kernels are drawn."""

    @property
    def kernel_sizes(self) -> list[int]:
        """One kernel size per block."""
        return self.kernel_size if isinstance(self.kernel_size, list) else [self.kernel_size] * len(self.filters)

    @property
    def label(self) -> str:
        """Filters and dense units, ``'cnn 32x64 128'``."""
        dense = "x".join(map(str, self.dense_units))
        return f"cnn {'x'.join(map(str, self.filters))} {dense}".strip()

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields a problem where kernel sizes and blocks differ in number."""
        if len(self.kernel_sizes) != len(self.filters):
            blocks, given = len(self.filters), len(self.kernel_sizes)
            yield "kernel_size", f"expected one number, or one per block ({blocks}), got {given}: {self.kernel_size}"

    def count_parameters(self, image_shape: tuple[int, ...], classes: int) -> int | None:
        """Counts all parameters; None where an image is too small. See `ModelConfig.count_parameters`."""
        layers: list[Sized] = []
        for filters, side in zip(self.filters, self.kernel_sizes, strict=True):
            shape = {"filters": filters, "kernel_size": side, "padding": self.padding}
            layers += sized_hidden("Conv2D", self.batch_norm, **shape) * self.convolutions
            layers.append(("MaxPooling2D", {"pool_size": self.pool_size}))  # averages are of the same shape
        layers.append(("Flatten" if self.global_pooling == "none" else "GlobalMaxPooling2D", {}))
        for units in self.dense_units:
            layers += sized_hidden("Dense", self.batch_norm, units=units)
        return count_parameters(image_shape, classes, layers)

    def build(self, spec: DataSpec) -> keras.Model:
        """Builds the network; see `ModelConfig.build`.

        Raises:
            TrainingError: If an image is too small for so many blocks.
        """
        import keras

        model = keras.Sequential(with_channels(spec), name=self.name)
        for block, (filters, side) in enumerate(zip(self.filters, self.kernel_sizes, strict=True), start=1):
            try:
                for layer in self._block(block, filters, side):
                    model.add(layer)
            except ValueError as error:
                raise TrainingError(
                    f"model.filters: images of {spec.image_shape[0]} x {spec.image_shape[1]} pixels are too small for "
                    f"block {block}: {reason(error)}. Take fewer blocks, a smaller pool_size, or padding=same"
                ) from error
        pools = {"max": keras.layers.GlobalMaxPooling2D, "average": keras.layers.GlobalAveragePooling2D}
        pool = pools.get(self.global_pooling)
        model.add(pool(name="global_pool") if pool else keras.layers.Flatten(name="flatten"))
        for number, units in enumerate(self.dense_units, start=1):
            for layer in self._activated(keras.layers.Dense, f"dense_{number}", units=units):
                model.add(layer)
            if self.dense_dropout:
                model.add(keras.layers.Dropout(self.dense_dropout, name=f"dense_dropout_{number}"))
        model.add(probabilities(spec))
        return model

    def _block(self, block: int, filters: int, side: int) -> Iterator[keras.Layer]:
        import keras

        for number in range(1, self.convolutions + 1):
            name = f"conv_{block}" if self.convolutions == 1 else f"conv_{block}_{number}"
            shape = {"filters": filters, "kernel_size": side, "padding": self.padding}
            yield from self._activated(keras.layers.Conv2D, name, **shape)
        if self.pool_size > 1:
            pools = {"max": keras.layers.MaxPooling2D, "average": keras.layers.AveragePooling2D}
            yield pools[self.pooling](self.pool_size, name=f"pool_{block}")
        if self.dropout:
            yield keras.layers.Dropout(self.dropout, name=f"dropout_{block}")

    def _activated(self, layer: type[keras.Layer], name: str, **shape: Any) -> Iterator[keras.Layer]:  # noqa: ANN401 - each layer has its own
        """Yields a layer with its activation, and batch normalisation between them."""
        import keras

        kernel = {"kernel_initializer": self.initializer, "kernel_regularizer": l2_penalty(self.l2)}
        if not self.batch_norm:
            yield layer(**shape, **kernel, activation=self.activation, name=name)
            return
        yield layer(**shape, **kernel, use_bias=False, name=name)  # the offset of the norm makes a bias redundant
        yield keras.layers.BatchNormalization(name=f"{name}_norm")
        yield keras.layers.Activation(self.activation, name=f"{name}_activation")
