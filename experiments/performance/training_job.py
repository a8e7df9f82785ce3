"""The description of a training that the benchmark sends to a child process."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

PUBLISHED_UNITS = (300, 200, 100)
"""Units of the hidden layers of the published network."""

PLAIN_FIT = "plain"
"""Training loop of a plain Keras script: float arrays and one call of `fit`."""
PRODUCTS = "products"
"""No training: only the matrix products of an epoch."""


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """A network to train and the number of epochs.

    Attributes:
        loop: `PLAIN_FIT`, `PRODUCTS`, or a value of ``training.engine``.
        images: Number of training images per epoch, before `repeat`. The first images of the data set are used.
        epochs: Number of epochs, including the first, which is a warm-up.
        batch_size: Images per step.
        hidden_units: Units of each hidden layer.
        xla: A value of ``training.xla``; not used by `PLAIN_FIT` and `PRODUCTS`.
        repeat: How many times the images are repeated to get a larger data set.
    """

    loop: str
    images: int
    epochs: int
    batch_size: int = 32
    hidden_units: tuple[int, ...] = PUBLISHED_UNITS
    xla: str = "auto"
    repeat: int = 1

    def to_json(self) -> str:
        """Returns the job as one line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> TrainingJob:
        """Returns the job that a line of JSON describes."""
        fields: dict[str, Any] = json.loads(line)
        return cls(**fields | {"hidden_units": tuple(fields["hidden_units"])})
