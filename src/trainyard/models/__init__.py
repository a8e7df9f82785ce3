"""The built-in architectures, and how their descriptions become Keras models.

A model takes images as `DataSpec.scale` returns them, in 0..1 or standardised, and returns probabilities; scaling raw
pixels is not its business (see `with_raw_pixels`).
"""

from trainyard.models.blocks import with_raw_pixels
from trainyard.models.cnn import Cnn
from trainyard.models.mlp import Mlp
from trainyard.models.sequential import Sequential

__all__ = ["Cnn", "Mlp", "Sequential", "with_raw_pixels"]
