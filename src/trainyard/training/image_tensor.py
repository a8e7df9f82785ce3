"""Copying images to a tensor with as little memory as possible."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainyard.data import iterate_chunks

if TYPE_CHECKING:
    import tensorflow as tf

_ALIGNMENT = 64
"""The alignment in bytes with which TensorFlow uses an array's memory, instead of copying it."""


def copy_to_tensor(images: NDArray[np.uint8], shape: tuple[int, ...]) -> tf.Tensor:
    """Copies images, uint8 (n, *image_shape), to a tensor of another shape on the current device.

    Only one copy is made, part by part. ``tf.constant`` makes two copies in the host's memory at the same time.
    """
    import tensorflow as tf

    memory = np.empty(math.prod(shape) + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    copy = memory[start : start + math.prod(shape)].reshape(images.shape)
    done = 0
    for part in iterate_chunks(images):
        copy[done : done + len(part)] = part
        done += len(part)
    return tf.identity(tf.experimental.dlpack.from_dlpack(copy.reshape(shape).__dlpack__()))
