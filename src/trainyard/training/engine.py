"""What every engine agrees on: which epochs are run, in which order each visits the images, and when it breaks down."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from trainyard.errors import TrainingError

if TYPE_CHECKING:
    import keras

OnSteps = Callable[[int, int, int], None]
"""Told while an epoch goes on: the epoch, from 1, the steps of it that are done, and the steps it has."""


_LARGE_BATCH = 1024


def validation_batch(batch_size: int) -> int:
    """Returns how many images are validated at a time, more than are trained on: there is no gradient to hold."""
    return max(batch_size, _LARGE_BATCH)


@dataclass(frozen=True, slots=True)
class EpochPlan:
    """The epochs of one training.

    Attributes:
        epochs: How many there are in all.
        batch_size: Images per step; the last of an epoch may be shorter.
        seed: With the number of the epoch it gives the order of the images.
        first: The first epoch to run, counted from 0; above 0 where a training is resumed.
    """

    epochs: int
    batch_size: int
    seed: int
    first: int = 0

    def steps(self, images: int) -> int:
        """Returns the steps of one epoch over so many images, the last short one included."""
        return math.ceil(images / self.batch_size)

    def order(self, epoch: int, images: int) -> NDArray[np.int32]:
        """Returns the order in which an epoch visits the training images.

        It depends on seed and epoch alone, so that an epoch can be had again without those before it.

        Args:
            epoch: Counted from 0.
            images: How many there are.

        Returns:
            A permutation, int32 (images,).
        """
        return np.random.default_rng((self.seed, epoch)).permutation(images).astype(np.int32)


class Engine(Protocol):
    """Something that runs the epochs of a compiled Keras model over one data set."""

    name: str
    compile_seconds: float
    """What tracing and compiling took, as far as it has happened by now."""

    def run(self, plan: EpochPlan, callbacks: list[keras.callbacks.Callback], on_steps: OnSteps) -> None:
        """Trains the model in place.

        Args:
            plan: The epochs.
            callbacks: Keras callbacks, called at epoch ends with Keras's keys (``val_loss``), after the validation.
            on_steps: Told of each part of an epoch.

        Raises:
            TrainingError: If the loss or a weight is no longer finite.
        """


def broken_weights(model: keras.Model) -> list[str]:
    """Returns the paths of the weights that hold a NaN or an infinity."""
    return [weight.path for weight in model.weights if not np.isfinite(weight.numpy()).all()]


def broke_down(epoch: int, what: str) -> TrainingError:
    """Returns the error of a training that has lost its footing.

    Args:
        epoch: Counted from 1.
        what: What was found.
    """
    return TrainingError(
        f"training broke down in epoch {epoch}: {what}. "
        "Try a smaller optimizer.learning_rate, and check the data for NaN"
    )
