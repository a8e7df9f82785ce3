"""An architecture that is defined layer by layer in the config."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard.config import ModelConfig, register_model, setting
from trainyard.errors import TrainingError
from trainyard.models.blocks import build_image_input, build_output_layer, format_keras_error
from trainyard.models.layers import find_layer_problems, parse_layer

if TYPE_CHECKING:
    import keras

    from trainyard.data import DataSpec

_LABEL_LAYERS = 3
"""The number of layers in a label."""


@register_model("sequential")
@dataclass(kw_only=True, slots=True)
class Sequential(ModelConfig):
    """A stack of Keras layers, applied in the given order to images with channels, and a softmax output."""

    layers: list[Any] = setting(
        ["Flatten", {"Dense": {"units": 128, "activation": "relu"}}], elements="layers", nonempty=True
    )
    """Keras layers, each a name or a name with arguments: ``[Flatten, {Dense: {units: 64}}]``. The output is added."""

    @property
    def label(self) -> str:
        """The first three layers with their units or filters, such as ``'Flatten Dense128'``.

        If there are more, also the number of further layers, such as ``'Conv2D32 MaxPooling2D Flatten +2'``.
        """
        layers = map(parse_layer, self.layers)
        names = [f"{name}{arguments.get('units', arguments.get('filters', ''))}" for name, arguments in layers]
        suffix = f" +{len(names) - _LABEL_LAYERS}" if len(names) > _LABEL_LAYERS else ""
        return " ".join(names[:_LABEL_LAYERS]) + suffix

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields the problems of each layer, with its index as the field."""
        for index, entry in enumerate(self.layers):
            yield from ((f"layers[{index}]", problem) for problem in find_layer_problems(entry))

    def precision_problems(self, precision: str) -> Iterator[tuple[str, str]]:
        """Yields a problem for each layer with a penalty of its outputs, which requires float32."""
        if precision == "float32":
            return
        for index, entry in enumerate(self.layers):
            name, arguments = parse_layer(entry)
            if "activity_regularizer" in arguments:
                message = f"{name}.activity_regularizer is not possible with training.precision={precision}"
                yield f"layers[{index}]", f"{message}. Remove it, or set training.precision=float32"

    def build(self, spec: DataSpec) -> keras.Model:
        """Builds the network; see `ModelConfig.build`. The output of the last layer is flattened if necessary.

        Raises a TrainingError with the index of the layer if a layer does not accept the output of the layer before it.
        """
        import keras

        model = keras.Sequential(build_image_input(spec), name=self.name)
        for index, entry in enumerate(self.layers):
            name, arguments = parse_layer(entry)
            if name.startswith("AveragePooling"):
                arguments = {"pool_size": 2, **arguments}  # the default of MaxPooling
            penalties = {
                key: keras.regularizers.L1L2(**arguments[key]) for key in arguments if key.endswith("_regularizer")
            }
            input_shape = model.output_shape[1:] if model.layers else spec.image_shape  # a lone input has no output
            try:
                layer = getattr(keras.layers, name)
                model.add(layer(**{**arguments, **penalties}, name=f"{index}_{name.lower()}"))
            except (ValueError, TypeError, IndexError) as error:
                raise TrainingError(
                    f"model.layers[{index}]: {name} does not accept its input, of shape {input_shape}: "
                    f"{format_keras_error(error)}. Change the layer or the layers before it"
                ) from error
        if len(model.output_shape) > 2:  # noqa: PLR2004 - a batch of vectors
            model.add(keras.layers.Flatten(name="flatten_output"))
        model.add(build_output_layer(spec))
        return model
