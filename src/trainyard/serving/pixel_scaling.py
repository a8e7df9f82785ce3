"""Finds out whether a model that no run describes scales its pixels itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import keras

PIXEL_RANGES = ("0..1", "0..255")
"""The ranges of the pixels that a model can expect: divided by 255, or raw."""
_MAX_SCALE_OF_RAW_PIXELS = 0.1
"""A layer that multiplies by less expects raw pixels: 1/255 or 1/127.5. Otherwise, it maps 0..1 to another range."""


class PixelAssumption(NamedTuple):
    """The range of the pixels that a model expects, one of `PIXEL_RANGES`, and the reason, for messages."""

    pixels: str
    reason: str


def assume_pixel_range(model: keras.Model) -> PixelAssumption:
    """Returns the range of the pixels that a model expects: 0..1, unless a layer at its input scales raw pixels.

    Such a layer is a `Rescaling` with a small factor, or a `Normalization` with a mean above 1. Only layers before the
    first other layer with weights are considered.
    """
    import keras

    for layer in _iterate_layers(model):
        if isinstance(layer, keras.layers.Rescaling):
            is_raw = float(np.abs(layer.scale).max()) < _MAX_SCALE_OF_RAW_PIXELS
        elif isinstance(layer, keras.layers.Normalization):
            is_raw = float(np.abs(layer.mean).max()) > 1
        elif layer.weights:
            break
        else:
            continue
        if is_raw:
            return PixelAssumption("0..255", f"the layer {layer.name} scales them")
        return PixelAssumption("0..1", f"the layer {layer.name} expects this range")
    return PixelAssumption("0..1", "no layer scales them")


def _iterate_layers(model: keras.Model) -> Iterator[keras.Layer]:
    """Yields the layers of a model and of models in it, from the input to the output."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _iterate_layers(layer)
        else:
            yield layer
