"""The floor under one epoch of a dense network: its matrix products alone, in float32, by NumPy on the CPU.

No loss, no activations, no optimizer, no data gathering: nothing that trains this network on this processor with dense
float32 products can be much faster.
"""

from __future__ import annotations

import itertools

import numpy as np


class MatrixProducts:
    """The products of forward and backward pass, over random images."""

    def __init__(self, sizes: list[int], images: int, batch_size: int) -> None:
        """Draws images and weights.

        Args:
            sizes: The units of each layer, from the pixels to the classes.
            images: Images per epoch.
            batch_size: Images per step; a short last batch is left out.
        """
        random = np.random.default_rng(0)
        self._pixels = random.random((images, sizes[0]), dtype=np.float32)
        self._weights = [random.standard_normal(pair).astype(np.float32) for pair in itertools.pairwise(sizes)]
        self._batch_size = batch_size

    def run_epoch(self) -> None:
        """Computes the products of one epoch and drops them."""
        size, weights = self._batch_size, self._weights
        for step in range(len(self._pixels) // size):
            activations = [self._pixels[step * size : (step + 1) * size]]
            for weight in weights:
                activations.append(activations[-1] @ weight)
            gradient = activations[-1]
            for layer in reversed(range(len(weights))):
                activations[layer].T @ gradient
                if layer:
                    gradient = gradient @ weights[layer].T
