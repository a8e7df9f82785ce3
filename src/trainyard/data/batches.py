"""Building training and evaluation batches from stored images: scaled pixels, targets and sample weights.

Both training engines run this code inside their TensorFlow programs, so that they train on the same numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainyard.data.dataset import Dataset, DataSpec, Split
from trainyard.errors import TrainingError

if TYPE_CHECKING:
    import tensorflow as tf

    from trainyard.config import AugmentationConfig, RunConfig

_INFERENCE_BYTES = 2**24


@dataclass(frozen=True, slots=True)
class BatchMaker:
    """Turns raw images and labels into the batches that a model trains on or is evaluated on.

    Attributes:
        spec: The shape of an image, and how its pixels are scaled.
        one_hot: Whether labels become one-hot vectors.
        class_weights: float32 (classes,), the weight of each class in the training loss; None weights all images by 1.
        augmentation: The augmentation of training images; None disables it.
        seed: The seed of the augmentation.
    """

    spec: DataSpec
    one_hot: bool = False
    class_weights: NDArray[np.float32] | None = None
    augmentation: AugmentationConfig | None = None
    seed: int = 0

    def make(
        self, pixels: tf.Tensor, labels: tf.Tensor, position: tuple[tf.Tensor, tf.Tensor] | None = None
    ) -> tuple[tf.Tensor, ...]:
        """Makes one batch. Only training batches are augmented and weighted.

        Args:
            pixels: uint8 (b, *image_shape), raw pixels.
            labels: uint8 or uint16 (b,).
            position: For a training batch, the epoch and the number of the batch in the epoch, both int32 ().
                None for an evaluation batch.

        Returns:
            The scaled images, float32 (b, *image_shape); the labels, uint8 or int32 (b,), or one-hot, float32 (b,
            classes); and for a training batch with class weights, the weight of each image, float32 (b,).
        """
        import tensorflow as tf

        images = self.scale(pixels)
        labels = tf.cast(labels, tf.int32) if labels.dtype == tf.uint16 else labels  # few operations accept uint16
        targets = tf.one_hot(labels, self.spec.classes) if self.one_hot else labels
        if position is None:
            return images, targets
        if self.augmentation and self.augmentation.changes_images:
            images = self._augment(self.augmentation, images, position)
        if self.class_weights is None:
            return images, targets
        return images, targets, tf.gather(tf.constant(self.class_weights), tf.cast(labels, tf.int32))

    def _augment(
        self, augmentation: AugmentationConfig, images: tf.Tensor, position: tuple[tf.Tensor, tf.Tensor]
    ) -> tf.Tensor:
        """Augments scaled images. Pixels from outside an image get the scaled value of the raw pixel 0."""
        import tensorflow as tf

        epoch, batch = (tf.cast(number, tf.int64) for number in position)
        seed = tf.random.experimental.stateless_fold_in(tf.stack([tf.constant(self.seed, tf.int64), epoch]), batch)
        black = tf.constant(self.spec.build_scale_table()[0])
        return augmentation.apply(images - black, seed) + black

    def scale(self, pixels: tf.Tensor) -> tf.Tensor:
        """Returns scaled pixels, bit for bit equal to `DataSpec.scale`: float32, with the shape of `pixels`."""
        import tensorflow as tf

        table = self.spec.build_scale_table()
        index = tf.cast(pixels, tf.int32)
        if table.ndim == 1:
            return tf.gather(tf.constant(table), index)
        channels = table.shape[1]
        return tf.gather(tf.constant(table.ravel()), index * channels + tf.range(channels))


def compute_inference_batch_size(image_shape: tuple[int, ...]) -> int:
    """Returns the number of images per forward pass without gradients: 1,024, or fewer if images are large.

    As float32, the images of a batch need at most 16 MiB, unless a single image needs more.
    """
    return max(1, min(1024, _INFERENCE_BYTES // (4 * math.prod(image_shape))))


def build_batch_maker(config: RunConfig, dataset: Dataset, seed: int) -> BatchMaker:
    """Builds the `BatchMaker` of a run. `training.balance_classes` computes class weights from the training labels.

    Raises a TrainingError if the number of class weights is not the number of classes, or no weight is above 0.
    """
    training, spec = config.training, dataset.spec
    weights = training.class_weights
    if weights is not None and (len(weights) != spec.classes or not any(weights)):
        raise TrainingError(
            f"training.class_weights: expected {spec.classes} numbers, one per class of {dataset.name}, at least one "
            f"above 0, got {weights}"
        )
    if training.balance_classes:
        weights = compute_balanced_weights(dataset.train, spec.classes)
    return BatchMaker(
        spec=spec,
        one_hot=config.loss.one_hot,
        class_weights=None if weights is None else np.asarray(weights, np.float32),
        augmentation=config.augmentation,
        seed=seed,
    )


def compute_balanced_weights(split: Split, classes: int) -> list[float]:
    """Returns a weight per class: the mean number of images of nonempty classes, divided by that of the class, or 0."""
    counts = np.bincount(split.labels, minlength=classes)
    mean = len(split) / np.count_nonzero(counts)
    return [float(mean / count) if count else 0.0 for count in counts]
