"""The child process of a benchmark: trains what it is told to, one epoch each time that it is told to.

    python -m experiments.performance.training_child FOLDER THREADS LOOP

FOLDER has the images. Each line on stdin is a job (see `Job`), or ``epoch``; each line on stdout is an answer in
JSON. Because the epochs of a job are one call of `fit` or one run of an engine, it is the callback at an epoch's begin
that waits for the word. The clock runs from there to the epoch's end. LOOP tells whether TensorFlow is needed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from experiments.performance.gemm_floor import MatrixProducts
from experiments.performance.images import as_dataset, read_training_images
from experiments.performance.training_job import CNN, MLP_NORM_DROPOUT, PLAIN_FIT, PRODUCTS, Job
from trainyard.data.dataset import DataSpec, Split

if TYPE_CHECKING:
    import keras


class Channel:
    """Orders in, answers out; what libraries print goes to stderr."""

    def __init__(self) -> None:
        self._answers: TextIO = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def answer(self, **facts: Any) -> None:  # noqa: ANN401 - whatever JSON holds
        """Sends one line."""
        self._answers.write(json.dumps(facts) + "\n")
        self._answers.flush()

    def next_order(self) -> str:
        """Waits for the next line; where no more can come the process ends."""
        line = sys.stdin.readline()
        if not line:
            raise SystemExit(0)
        return line.strip()


class Paces:
    """Waits for the word at the begin of each epoch, and answers with the epoch's seconds at its end."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._began = 0.0

    def begin(self, *_: object) -> None:
        """Waits, then starts the clock."""
        self._channel.next_order()
        self._began = time.perf_counter()

    def end(self, *_: object) -> None:
        """Reads the clock and answers."""
        seconds = time.perf_counter() - self._began
        self._channel.answer(seconds=seconds, peak_mib=peak_memory_mib())

    def callback(self) -> keras.callbacks.Callback:
        """Returns the Keras callback that does so."""
        import keras

        return keras.callbacks.LambdaCallback(on_epoch_begin=self.begin, on_epoch_end=self.end)


def main() -> None:
    """Answers orders until there are no more."""
    folder, threads, loop = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    channel = Channel()
    if loop != PRODUCTS:
        from trainyard.system.tensorflow_setup import configure_tensorflow, import_tensorflow

        import_tensorflow()
        configure_tensorflow(0, threads)
    channel.answer(peak_mib=peak_memory_mib())
    while True:
        job = Job.from_line(channel.next_order())
        train = read_training_images(folder, job.images, job.repeat)
        if job.loop == PRODUCTS:
            _multiply(job, train, channel)
        else:
            configure_tensorflow(0, threads)
            (_fit_plainly if job.loop == PLAIN_FIT else _train)(job, train, channel)


def _multiply(job: Job, train: Split, channel: Channel) -> None:
    """Runs the matrix products of a job's network."""
    products = MatrixProducts([train.images[0].size, *job.hidden_units, 10], len(train), job.batch_size)
    paces = Paces(channel)
    channel.answer()
    for _ in range(job.epochs):
        paces.begin()
        products.run_epoch()
        paces.end()


def _fit_plainly(job: Job, train: Split, channel: Channel) -> None:
    """Trains as ``plain_keras.py`` does: everything that can be left to Keras is left to Keras."""
    import keras
    import numpy as np

    x_train, y_train = train.images / np.float32(255), train.labels
    model = keras.Sequential(
        [
            keras.layers.Input(x_train.shape[1:]),
            keras.layers.Flatten(),
            *(keras.layers.Dense(units, activation="relu") for units in job.hidden_units),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    channel.answer()
    callbacks = [Paces(channel).callback()]
    model.fit(x_train, y_train, batch_size=job.batch_size, epochs=job.epochs, verbose=0, callbacks=callbacks)


def _train(job: Job, train: Split, channel: Channel) -> None:
    """Trains through the engine that Trainyard takes."""
    from trainyard.config.compose import compose_config
    from trainyard.data.batches import build_batch_maker
    from trainyard.training.engine import EpochPlan
    from trainyard.training.trainer import choose_engine, compile_model
    from trainyard.training.xla import choose_xla

    norm = job.network == MLP_NORM_DROPOUT
    config = compose_config(
        [
            f"training.batch_size={job.batch_size}",
            f"training.epochs={job.epochs}",
            f"training.engine={job.loop}",
            f"training.xla={job.xla}",
            f"model.hidden_units={list(job.hidden_units)}",
            *(["model.batch_norm=true", "model.dropout=0.2"] if norm else []),
        ]
    )
    dataset = as_dataset(train)
    plan = EpochPlan(epochs=job.epochs, batch_size=job.batch_size, seed=0)
    model = _build_cnn(dataset.spec) if job.network == CNN else config.model.build(dataset.spec)
    compile_model(model, config, plan.steps_per_epoch(len(train)))
    callbacks = [Paces(channel).callback()]
    choice = choose_engine(model, dataset, build_batch_maker(config, dataset, plan.seed), config, callbacks)
    channel.answer(
        compile_seconds=choice.engine.compile_seconds,
        engine=choice.engine.name,
        xla=str(choice.xla),
        auto=str(choose_xla(model, "auto", "seeded", dataset.spec.image_shape)),
    )
    choice.engine.run(plan, callbacks, lambda *_: None)


def _build_cnn(spec: DataSpec) -> keras.Model:
    """Builds the small convolutional network of the XLA part."""
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input(spec.image_shape),
            layers.Reshape((*spec.image_shape, 1)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(spec.classes, activation="softmax"),
        ]
    )


def peak_memory_mib() -> float:
    """Returns the most memory that this process has had resident, in MiB.

    Linux counts what the process that started this one held into its ``ru_maxrss``, so there the kernel's own high
    water mark of this process is read; elsewhere ``ru_maxrss`` is all there is.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == "darwin" else peak / 1024


if __name__ == "__main__":
    main()
