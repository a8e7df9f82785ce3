"""What is done to training images at random, inside the program that trains on them.

What happens to an image hangs on the seed, the epoch and the batch alone, so that a training can be repeated, and gone
on with, to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard.config.fields import setting
from trainyard.config.registry import register_augmentation
from trainyard.config.schema import AugmentationConfig

if TYPE_CHECKING:
    import tensorflow as tf

_GREY = 3
"""The axes of a batch of images without channels."""


@register_augmentation("none")
@dataclass(kw_only=True, slots=True)
class NoAugmentation(AugmentationConfig):
    """Training images are used as they are."""


@register_augmentation("affine")
@dataclass(kw_only=True, slots=True)
class Affine(AugmentationConfig):
    """Each training image is shifted, turned, zoomed and mirrored anew each time it is trained on."""

    shift: float = setting(0.0, ge=0, lt=1)
    """The farthest shift along each axis, as a share of the side of an image."""
    rotate: float = setting(0.0, ge=0, le=180)
    """The largest turn, to either side, in degrees."""
    zoom: float = setting(0.0, ge=0, lt=1)
    """The largest change of size: 0.1 for 0.9 to 1.1 times."""
    flip_horizontal: bool = setting(False)
    """Whether half of the images are mirrored left to right."""
    flip_vertical: bool = setting(False)
    """Whether half of the images are mirrored top to bottom."""

    changes_images = True

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields a problem where nothing would be done."""
        if not (self.shift or self.rotate or self.zoom or self.flip_horizontal or self.flip_vertical):
            yield "shift", "nothing would be done to an image. Set shift, rotate, zoom or a flip, or augmentation=none"

    def apply(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Moves each image about its centre; see `AugmentationConfig.apply`. Pixels between pixels are interpolated."""
        import tensorflow as tf

        grey = len(images.shape) == _GREY
        batch = images[..., None] if grey else images
        height, width = float(batch.shape[1]), float(batch.shape[2])
        count = tf.shape(batch)[0]
        draws = tf.random.stateless_uniform((6, count), seed, -1.0, 1.0)
        angle = draws[0] * math.radians(self.rotate)
        scale = 1.0 / (1.0 + draws[1] * self.zoom)
        mirror_x = tf.where(draws[4] < 0, -1.0, 1.0) if self.flip_horizontal else tf.ones_like(angle)
        mirror_y = tf.where(draws[5] < 0, -1.0, 1.0) if self.flip_vertical else tf.ones_like(angle)
        # where a pixel of the result comes from: a turn and a scaling about the centre, then a shift
        x_by_x, x_by_y = mirror_x * scale * tf.cos(angle), -mirror_x * scale * tf.sin(angle)
        y_by_x, y_by_y = mirror_y * scale * tf.sin(angle), mirror_y * scale * tf.cos(angle)
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        shift_x = middle_x - x_by_x * middle_x - x_by_y * middle_y + draws[2] * self.shift * width
        shift_y = middle_y - y_by_x * middle_x - y_by_y * middle_y + draws[3] * self.shift * height
        none = tf.zeros_like(angle)
        moved = tf.raw_ops.ImageProjectiveTransformV3(
            images=batch,
            transforms=tf.stack([x_by_x, x_by_y, shift_x, y_by_x, y_by_y, shift_y, none, none], axis=1),
            output_shape=tf.constant([batch.shape[1], batch.shape[2]]),
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="CONSTANT",
        )
        moved = tf.ensure_shape(moved, batch.shape)
        return moved[..., 0] if grey else moved
