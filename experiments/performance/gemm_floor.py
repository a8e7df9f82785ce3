"""A lower bound of the time of an epoch of a dense network: its matrix products, in float32, with NumPy on the CPU.

Loss, activations, optimizer and the selection of batches are left out. Training of the same network on the same CPU
with dense float32 products cannot be much faster.
"""

from __future__ import annotations

import itertools

import numpy as np


class MatrixProducts:
    """The matrix products of the forward and backward pass, computed on random images."""

    def __init__(self, sizes: list[int], images: int, batch_size: int) -> None:
        """Draws random images and weights.

        Args:
            sizes: Width of each layer, from the number of pixels to the number of classes.
            images: Images per epoch.
            batch_size: Images per step; an incomplete last batch is left out.
        """
        random = np.random.default_rng(0)
        self._pixels = random.random((images, sizes[0]), dtype=np.float32)
        self._weights = [random.standard_normal(pair).astype(np.float32) for pair in itertools.pairwise(sizes)]
        self._batch_size = batch_size

    def run_epoch(self) -> None:
        """Computes the products of one epoch and discards the results."""
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
