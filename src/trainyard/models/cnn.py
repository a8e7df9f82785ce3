"""The convolutional network: blocks of convolution and pooling layers, then dense layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard.config import ModelConfig, register_model, setting
from trainyard.errors import TrainingError
from trainyard.models.blocks import (
    ACTIVATIONS,
    INITIALIZERS,
    build_hidden_layer,
    build_image_input,
    build_output_layer,
    count_hidden_parameters,
    ensure_channel_axis,
    format_keras_error,
)

if TYPE_CHECKING:
    import keras

    from trainyard.data import DataSpec


@register_model("cnn")
@dataclass(kw_only=True, slots=True)
class Cnn(ModelConfig):
    """A convolutional network: blocks of convolution and pooling layers, dense layers, and a softmax output."""

    filters: list[int] = setting([32, 64], ge=1, nonempty=True)
    """Number of filters of the convolutions in each block, from first to last; its length is the number of blocks."""
    convolutions: int = setting(1, ge=1, le=100)
    """Number of convolution layers in each block, before its pooling layer."""
    kernel_size: Any = setting(3, ge=1, types=(int, list[int]))
    """Height and width of the square kernels, in pixels: one number for all blocks, or a list with one per block."""
    padding: str = setting("same", choices=("same", "valid"))
    """Padding of the convolutions, as in Keras: `same` keeps the image size, `valid` reduces it by kernel_size - 1."""
    activation: str = setting("relu", choices=ACTIVATIONS)
    """Keras activation of all convolutions and dense layers except the output."""
    pooling: str = setting("max", choices=("max", "average"))
    """Pooling at the end of each block: `max` keeps the largest value of each patch, `average` the mean."""
    pool_size: int = setting(2, ge=1)
    """Height and width of the square patches that are pooled, in pixels; 1 disables pooling."""
    global_pooling: str = setting("none", choices=("none", "max", "average"))
    """Pooling of each filter of the last block to one number, by `max` or `average`; `none` flattens all values."""
    dense_units: list[int] = setting([128], ge=1)
    """Number of units of each dense layer between the blocks and the output; an empty list adds no dense layer."""
    batch_norm: bool = setting(False)
    """Whether to add batch normalization between each hidden layer and its activation; these layers have no bias."""
    dropout: float = setting(0.0, ge=0, lt=1)
    """Dropout rate after each block, as a fraction of the units; 0 disables dropout."""
    dense_dropout: float = setting(0.0, ge=0, lt=1)
    """Dropout rate after each dense layer except the output, as a fraction of the units; 0 disables dropout."""
    l2: float = setting(0.0, ge=0)
    """Weight of the L2 penalty on the kernels of all layers except the output, added to the loss; 0 disables it."""
    initializer: str = setting("glorot_uniform", choices=INITIALIZERS)
    """Keras initializer of the kernels of all layers except the output."""

    @property
    def kernel_sizes(self) -> list[int]:
        """The kernel size of each block."""
        return self.kernel_size if isinstance(self.kernel_size, list) else [self.kernel_size] * len(self.filters)

    @property
    def label(self) -> str:
        """A short name with the filters and the dense units, such as ``'cnn 32x64 128'``."""
        dense = "x".join(map(str, self.dense_units))
        return f"cnn {'x'.join(map(str, self.filters))} {dense}".strip()

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields a problem if the number of kernel sizes is not the number of blocks."""
        if len(self.kernel_sizes) != len(self.filters):
            blocks, received = len(self.filters), len(self.kernel_sizes)
            yield "kernel_size", f"expected one number, or one per block ({blocks}), got {received}: {self.kernel_size}"

    def count_parameters(self, image_shape: tuple[int, ...], classes: int) -> int | None:
        """Counts all parameters; None if the images are too small. See `ModelConfig.count_parameters`."""
        height, width, channels = ensure_channel_axis(image_shape)
        total, shrinkage = 0, 0 if self.padding == "same" else 1
        for filters, side in zip(self.filters, self.kernel_sizes, strict=True):
            for _ in range(self.convolutions):
                total += count_hidden_parameters(side * side * channels, filters, self.batch_norm)
                channels = filters
                height, width = height - shrinkage * (side - 1), width - shrinkage * (side - 1)
            height, width = height // self.pool_size, width // self.pool_size
            if min(height, width) < 1:
                return None
        inputs = channels if self.global_pooling != "none" else height * width * channels
        for units in self.dense_units:
            total += count_hidden_parameters(inputs, units, self.batch_norm)
            inputs = units
        return total + count_hidden_parameters(inputs, classes, batch_norm=False)

    def build(self, spec: DataSpec) -> keras.Model:
        """Builds the network; see `ModelConfig.build`. Raises a TrainingError if images are too small for it."""
        import keras

        model = keras.Sequential(build_image_input(spec), name=self.name)
        for block, (filters, side) in enumerate(zip(self.filters, self.kernel_sizes, strict=True), start=1):
            try:
                for layer in self._build_block(block, filters, side):
                    model.add(layer)
            except ValueError as error:
                raise TrainingError(
                    f"model.filters: images of {spec.image_shape[0]} x {spec.image_shape[1]} pixels are too small for "
                    f"block {block}: {format_keras_error(error)}. Use fewer blocks, a smaller pool_size or padding=same"
                ) from error
        pools = {"max": keras.layers.GlobalMaxPooling2D, "average": keras.layers.GlobalAveragePooling2D}
        pool = pools.get(self.global_pooling)
        model.add(pool(name="global_pool") if pool else keras.layers.Flatten(name="flatten"))
        for number, units in enumerate(self.dense_units, start=1):
            for layer in self._build_hidden(keras.layers.Dense, f"dense_{number}", units=units):
                model.add(layer)
            if self.dense_dropout:
                model.add(keras.layers.Dropout(self.dense_dropout, name=f"dense_dropout_{number}"))
        model.add(build_output_layer(spec))
        return model

    def _build_block(self, block: int, filters: int, side: int) -> Iterator[keras.Layer]:
        """Yields the layers of a block: convolutions, pooling and dropout."""
        import keras

        for number in range(1, self.convolutions + 1):
            name = f"conv_{block}" if self.convolutions == 1 else f"conv_{block}_{number}"
            shape = {"filters": filters, "kernel_size": side, "padding": self.padding}
            yield from self._build_hidden(keras.layers.Conv2D, name, **shape)
        if self.pool_size > 1:
            pools = {"max": keras.layers.MaxPooling2D, "average": keras.layers.AveragePooling2D}
            yield pools[self.pooling](self.pool_size, name=f"pool_{block}")
        if self.dropout:
            yield keras.layers.Dropout(self.dropout, name=f"dropout_{block}")

    def _build_hidden(self, layer: type[keras.Layer], name: str, **shape: Any) -> Iterator[keras.Layer]:  # noqa: ANN401 - the layer's arguments
        """Yields a hidden layer with its activation, and batch normalization between the two if it is enabled."""
        names = (name, f"{name}_norm", f"{name}_activation")
        return build_hidden_layer(layer, names, self, self.activation, **shape)
