"""Random augmentation of training images, inside the TensorFlow program that trains on them.

Augmentation depends only on the seed, the epoch and the number of the batch, so that runs repeat and resume bit for
bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard.config import AugmentationConfig, register_augmentation, setting

if TYPE_CHECKING:
    import tensorflow as tf


@register_augmentation("none")
@dataclass(kw_only=True, slots=True)
class NoAugmentation(AugmentationConfig):
    """Disables augmentation: training images are not changed."""


@register_augmentation("affine")
@dataclass(kw_only=True, slots=True)
class Affine(AugmentationConfig):
    """Shifts, rotates, zooms and flips each training image at random, differently in each epoch."""

    shift: float = setting(0.0, ge=0, lt=1)
    """Maximum shift along each axis, as a fraction of the height or width of the image; 0 disables shifts."""
    rotate: float = setting(0.0, ge=0, le=180)
    """Maximum rotation in either direction, in degrees; 0 disables rotation."""
    zoom: float = setting(0.0, ge=0, lt=1)
    """Maximum relative change of size: 0.1 scales images by a factor of 0.9 to 1.1; 0 disables zooming."""
    flip_horizontal: bool = setting(False)
    """Whether to flip images left to right, each with probability 0.5."""
    flip_vertical: bool = setting(False)
    """Whether to flip images top to bottom, each with probability 0.5."""

    changes_images = True

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields a problem if no transformation is enabled."""
        if not (self.shift or self.rotate or self.zoom or self.flip_horizontal or self.flip_vertical):
            yield "shift", "no transformation is enabled. Set shift, rotate, zoom or a flip, or use augmentation=none"

    def apply(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Transforms each image about its centre, with bilinear interpolation; see `AugmentationConfig.apply`."""
        import tensorflow as tf

        grayscale = len(images.shape) == 3  # noqa: PLR2004 - (b, height, width)
        batch = images[..., None] if grayscale else images
        height, width = float(batch.shape[1]), float(batch.shape[2])
        count = tf.shape(batch)[0]
        draws = tf.random.stateless_uniform((6, count), seed, -1.0, 1.0)
        angle = draws[0] * math.radians(self.rotate)
        scale = 1.0 / (1.0 + draws[1] * self.zoom)
        mirror_x = tf.where(draws[4] < 0, -1.0, 1.0) if self.flip_horizontal else tf.ones_like(angle)
        mirror_y = tf.where(draws[5] < 0, -1.0, 1.0) if self.flip_vertical else tf.ones_like(angle)
        # maps each output pixel to its input position: rotation and scaling about the centre, then a shift
        x_by_x, x_by_y = mirror_x * scale * tf.cos(angle), -mirror_x * scale * tf.sin(angle)
        y_by_x, y_by_y = mirror_y * scale * tf.sin(angle), mirror_y * scale * tf.cos(angle)
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        shift_x = middle_x - x_by_x * middle_x - x_by_y * middle_y + draws[2] * self.shift * width
        shift_y = middle_y - y_by_x * middle_x - y_by_y * middle_y + draws[3] * self.shift * height
        zero = tf.zeros_like(angle)
        transformed = tf.raw_ops.ImageProjectiveTransformV3(
            images=batch,
            transforms=tf.stack([x_by_x, x_by_y, shift_x, y_by_x, y_by_y, shift_y, zero, zero], axis=1),
            output_shape=tf.constant([batch.shape[1], batch.shape[2]]),
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="CONSTANT",
        )
        transformed = tf.ensure_shape(transformed, batch.shape)
        return transformed[..., 0] if grayscale else transformed
