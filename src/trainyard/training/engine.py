"""What both training engines share: the plan of the epochs, and the checks of loss and weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainyard.data import compute_inference_batch_size
from trainyard.errors import TrainingError

if TYPE_CHECKING:
    import keras

OnSteps = Callable[[int, int, int], None]
"""Called during an epoch with its number, counted from 1, the number of finished steps, and its number of steps."""


def compute_validation_batch_size(batch_size: int, image_shape: tuple[int, ...]) -> int:
    """Returns the batch size for validation. It is larger than for training, because no gradients are stored."""
    return max(batch_size, compute_inference_batch_size(image_shape))


@dataclass(frozen=True, slots=True)
class EpochPlan:
    """The epochs of one training."""

    epochs: int
    batch_size: int
    """Images per step. The last batch of an epoch may be smaller."""
    seed: int
    """Determines, together with the epoch, the order of the images."""
    initial_epoch: int = 0
    """The first epoch to run, counted from 0. It is above 0 if a training is resumed."""

    def count_steps_per_epoch(self, images: int) -> int:
        """Returns the number of steps of an epoch over this number of images, including the last, smaller batch."""
        return math.ceil(images / self.batch_size)

    def draw_image_order(self, epoch: int, images: int) -> NDArray[np.int32]:
        """Returns the order in which an epoch, counted from 0, visits the training images: int32 (images,).

        It depends only on the seed and the epoch, so an epoch can be repeated without the epochs before it.
        """
        return np.random.default_rng((self.seed, epoch)).permutation(images).astype(np.int32)


def find_nonfinite_weights(model: keras.Model) -> list[str]:
    """Returns the paths of the weights that contain NaN or infinity."""
    return [weight.path for weight in model.weights if not np.isfinite(weight.numpy()).all()]


def build_divergence_error(epoch: int, problem: str) -> TrainingError:
    """Returns the error for a training with a value that is not finite. The epoch is counted from 1."""
    return TrainingError(
        f"training diverged in epoch {epoch}: {problem}. "
        "Try a smaller optimizer.learning_rate, and check the data for NaN"
    )
