"""Decides whether XLA compiles the training, and gives the reason.

On a CPU, XLA is the fastest option for dense and recurrent networks, but many times slower than TensorFlow for most
convolutions and for random numbers, and compiling takes seconds. Which one is faster depends on the operations, their
sizes and the number of steps, so `auto` compares two estimates, see `xla_costs`. It never measures the time, because
XLA changes the last bits of results: the same config must lead to the same choice in every process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard.config import RunConfig
from trainyard.training.xla_costs import count_work, load_cost_table

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class XlaChoice:
    """Whether XLA is used, and the reason. Printed as ``'on: REASON'`` or ``'off: REASON'``."""

    on: bool
    reason: str

    def __str__(self) -> str:
        return f"{'on' if self.on else 'off'}: {self.reason}"


def choose_xla(
    model: keras.Model, config: RunConfig, image_shape: tuple[int, ...], images: int, recorded: str | None = None
) -> XlaChoice:
    """Decides whether XLA compiles the training of a built and compiled model on this machine.

    `images` is the number of training images. `recorded` is the choice of the run that is resumed, ``'on'`` or
    ``'off'``, which is used again; None if no run is resumed.
    """
    import tensorflow as tf

    training = config.training
    if training.xla != "auto":
        return XlaChoice(training.xla == "on", "set by training.xla")
    if recorded:
        return XlaChoice(recorded == "on", "as in the resumed run")
    if training.determinism == "strict":
        return XlaChoice(on=False, reason="training.determinism is strict, and XLA rounds differently from TensorFlow")
    if config.augmentation.changes_images:
        return XlaChoice(on=False, reason="XLA has no operation for the image transformations of augmentation")
    device = "gpu" if tf.config.list_logical_devices("GPU") else "cpu"
    table = load_cost_table(device)
    if table is None:
        return XlaChoice(on=True, reason="the model trains on a GPU")
    work = count_work(model, training.batch_size, image_shape)
    steps = training.epochs * (images // training.batch_size)  # XLA does not train on a smaller last batch
    ratio = table.with_xla.estimate_seconds(work, steps) / table.without_xla.estimate_seconds(work, steps)
    reason = (
        f"{steps:,} steps on a {device.upper()} are estimated to take {ratio:.2g} times as long with XLA as without"
    )
    return XlaChoice(ratio < 1, reason)
