"""What a contestant is told to train, as it goes from the benchmark to the child process."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

PUBLISHED_UNITS = (300, 200, 100)
"""The hidden layers of the published network."""

PLAIN_FIT = "plain"
"""The loop of a plain Keras user: float arrays, one call of `fit`."""
PRODUCTS = "products"
"""No training: the matrix products alone."""

MLP, MLP_NORM_DROPOUT, CNN = "mlp", "mlp, batch norm, dropout", "cnn"


@dataclass(frozen=True, slots=True)
class Job:
    """One network, trained for some epochs.

    Attributes:
        loop: `PLAIN_FIT`, `PRODUCTS`, or what ``training.engine`` takes.
        images: Images of an epoch, taken from the front; before they are repeated.
        epochs: Epochs in all.
        batch_size: Images per step.
        network: `MLP`, `MLP_NORM_DROPOUT` or `CNN`.
        hidden_units: Of the first two.
        xla: What ``training.xla`` takes; the first two loops have none.
        repeat: How many times the images are repeated, to make more of them.
    """

    loop: str
    images: int
    epochs: int
    batch_size: int = 32
    network: str = MLP
    hidden_units: tuple[int, ...] = PUBLISHED_UNITS
    xla: str = "auto"
    repeat: int = 1

    def to_line(self) -> str:
        """Returns the job as one line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_line(cls, line: str) -> Job:
        """Returns the job that a line describes."""
        fields: dict[str, Any] = json.loads(line)
        return cls(**fields | {"hidden_units": tuple(fields["hidden_units"])})
