"""The built-in architectures, which build Keras models from their configs.

The input of a model is images as `DataSpec.scale` returns them, in 0..1 or standardised; its output is probabilities.
`build_serving_model` adds the scaling of raw pixels.
"""

from trainyard.models.blocks import build_serving_model
from trainyard.models.cnn import Cnn
from trainyard.models.layers import describe_layers
from trainyard.models.mlp import Mlp
from trainyard.models.sequential import Sequential
