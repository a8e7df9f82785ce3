"""Counts test images that are identical to training images."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainyard.data.image_rows import iterate_chunks

_SAMPLED_PIXELS = 64
"""The number of values per image that are compared first. Only images that agree in them are compared completely."""


def count_shared_images(images: NDArray[Any], others: NDArray[Any]) -> int:
    """Returns the number of images, (n, ...), that are identical to one of the others, (m, ...)."""
    samples, other_samples = _sample(images), _sample(others)
    shared = set(samples) & set(other_samples)
    if not shared:
        return 0
    digests = {_hash(others[index]) for index, sample in enumerate(other_samples) if sample in shared}
    return sum(_hash(images[index]) in digests for index, sample in enumerate(samples) if sample in shared)


def _sample(images: NDArray[Any]) -> list[bytes]:
    """Returns values of each image that are distributed evenly over it."""
    pixels = math.prod(images.shape[1:])
    columns = np.linspace(0, pixels - 1, min(_SAMPLED_PIXELS, pixels)).astype(int)
    chunks = (chunk.reshape(len(chunk), -1) for chunk in iterate_chunks(images))
    return [row.tobytes() for flat in chunks for row in flat[:, columns]]


def _hash(image: NDArray[Any]) -> bytes:
    """Returns a digest of the values of an image."""
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
