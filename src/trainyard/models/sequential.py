"""An architecture written out layer by layer in the config."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard.config.fields import setting
from trainyard.config.registry import register_model
from trainyard.config.schema import ModelConfig
from trainyard.errors import TrainingError
from trainyard.models.blocks import probabilities, reason, with_channels
from trainyard.models.layers import layer_problems, read_layer
from trainyard.models.parameter_count import count_parameters

if TYPE_CHECKING:
    import keras

    from trainyard.data.dataset import DataSpec

_SHOWN_LAYERS = 3


@register_model("sequential")
@dataclass(kw_only=True, slots=True)
class Sequential(ModelConfig):
    """Keras layers one after the other, from an image with its channels to the softmax over the classes."""

    layers: list[Any] = setting(
        ["Flatten", {"Dense": {"units": 128, "activation": "relu"}}], holds="layers", nonempty=True
    )
    """Each a name of a Keras layer, or that with its arguments: ``[Flatten, {Dense: {units: 64}}]``; without output."""

    @property
    def label(self) -> str:
        """The first layers with what they are wide, ``'Flatten Dense128'``."""
        names = []
        for name, arguments in map(read_layer, self.layers):
            names.append(f"{name}{arguments.get('units', arguments.get('filters', ''))}")
        more = f" +{len(names) - _SHOWN_LAYERS}" if len(names) > _SHOWN_LAYERS else ""
        return " ".join(names[:_SHOWN_LAYERS]) + more

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields what is wrong with each layer, under its index."""
        for index, entry in enumerate(self.layers):
            yield from ((f"layers[{index}]", problem) for problem in layer_problems(entry))

    def count_parameters(self, image_shape: tuple[int, ...], classes: int) -> int | None:
        """Counts all parameters, where `models.sizes` knows all layers; see `ModelConfig.count_parameters`."""
        return count_parameters(image_shape, classes, map(read_layer, self.layers))

    def build(self, spec: DataSpec) -> keras.Model:
        """Builds the network, with a Dense softmax at the end, flattened before where need be.

        Raises:
            TrainingError: If a layer can't take what the layer before it returns; names its index.
        """
        import keras

        model = keras.Sequential(with_channels(spec), name=self.name)
        for index, entry in enumerate(self.layers):
            name, arguments = read_layer(entry)
            taken = model.output_shape[1:] if model.layers else spec.image_shape  # Keras has none of an input alone
            try:
                model.add(_build_layer(name, arguments, f"{index}_{name.lower()}"))
            except (ValueError, TypeError, IndexError) as error:
                raise TrainingError(
                    f"model.layers[{index}]: {name} can't take what comes before it, of shape {taken}: {reason(error)}"
                ) from error
        if len(model.output_shape) > 2:  # noqa: PLR2004 - a batch of vectors
            model.add(keras.layers.Flatten(name="flatten_output"))
        model.add(probabilities(spec))
        return model


def _build_layer(name: str, arguments: dict[str, Any], called: str) -> keras.Layer:
    import keras

    built = {
        argument: keras.regularizers.L1L2(**value) if argument.endswith("_regularizer") else value
        for argument, value in arguments.items()
    }
    if name.startswith("AveragePooling"):
        built.setdefault("pool_size", 2)  # as MaxPooling has it by itself
    return getattr(keras.layers, name)(**built, name=called)
