"""From images as they are stored to what a model trains on: scaled pixels, targets, weights.

Both engines make their batches here, inside their programs, so that they train on the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.errors import TrainingError

if TYPE_CHECKING:
    import tensorflow as tf

    from trainyard.config.schema import AugmentationConfig, RunConfig


@dataclass(frozen=True, slots=True)
class BatchMaker:
    """Makes batches of a data set for a loss.

    Attributes:
        spec: What an image is, and how its pixels are scaled.
        one_hot: Whether labels become one-hot vectors.
        class_weights: float32 (classes,), how much an image of each class counts in the training loss; None: alike.
        augmentation: What is done to training images.
        seed: From which that is drawn.
    """

    spec: DataSpec
    one_hot: bool = False
    class_weights: NDArray[np.float32] | None = None
    augmentation: AugmentationConfig | None = None
    seed: int = 0

    def make(
        self, pixels: tf.Tensor, labels: tf.Tensor, place: tuple[tf.Tensor, tf.Tensor] | None = None
    ) -> tuple[tf.Tensor, ...]:
        """Makes a batch.

        Args:
            pixels: uint8 (b, *image_shape), raw.
            labels: uint8 (b,).
            place: Of a batch that is trained on, its epoch and its number in it, int32 (); None: it is evaluated.

        Returns:
            float32 (b, *image_shape), scaled; labels, uint8 (b,), or one-hot, float32 (b, classes); and for training,
            where classes are weighted, float32 (b,), the weight of each image.
        """
        import tensorflow as tf

        images = self.scale(pixels)
        targets = tf.one_hot(labels, self.spec.classes) if self.one_hot else labels
        if place is None:
            return images, targets
        if self.augmentation and self.augmentation.changes_images:
            images = self._augment(self.augmentation, images, place)
        if self.class_weights is None:
            return images, targets
        return images, targets, tf.gather(tf.constant(self.class_weights), tf.cast(labels, tf.int32))

    def _augment(
        self, augmentation: AugmentationConfig, images: tf.Tensor, place: tuple[tf.Tensor, tf.Tensor]
    ) -> tf.Tensor:
        """Augments scaled images. What comes in from outside an image is the raw pixel 0, standardised or not."""
        import tensorflow as tf

        epoch, number = (tf.cast(part, tf.int64) for part in place)
        seed = tf.random.experimental.stateless_fold_in(tf.stack([tf.constant(self.seed, tf.int64), epoch]), number)
        dark = tf.constant(self.spec.scale_table()[0])
        return augmentation.apply(images - dark, seed) + dark

    def scale(self, pixels: tf.Tensor) -> tf.Tensor:
        """Returns scaled pixels, to the bit what `DataSpec.scale` returns: float32, of the shape of `pixels`."""
        import tensorflow as tf

        table = self.spec.scale_table()
        index = tf.cast(pixels, tf.int32)
        if table.ndim == 1:
            return tf.gather(tf.constant(table), index)
        channels = table.shape[1]
        return tf.gather(tf.constant(table.ravel()), index * channels + tf.range(channels))


def plan_batches(config: RunConfig, dataset: Dataset, seed: int) -> BatchMaker:
    """Returns the batches that a config asks for.

    Args:
        config: The whole config.
        dataset: The images.
        seed: From which augmentation is drawn.

    Raises:
        TrainingError: If there are not as many class weights as classes, or none is above 0.
    """
    training, spec = config.training, dataset.spec
    weights = training.class_weights
    if weights is not None and (len(weights) != spec.classes or not any(weights)):
        raise TrainingError(
            f"training.class_weights: expected {spec.classes} numbers, one per class of {dataset.name} and one of them "
            f"above 0, got {weights}"
        )
    if training.balance_classes:
        weights = balanced_weights(dataset.train, spec.classes)
    return BatchMaker(
        spec=spec,
        one_hot=config.loss.one_hot,
        class_weights=None if weights is None else np.asarray(weights, np.float32),
        augmentation=config.augmentation,
        seed=seed,
    )


def balanced_weights(split: Split, classes: int) -> list[float]:
    """Returns for each class the mean number of images in a class by the number in this one; 0 where it has none."""
    counts = np.bincount(split.labels, minlength=classes)
    mean = len(split) / np.count_nonzero(counts)
    return [float(mean / count) if count else 0.0 for count in counts]
