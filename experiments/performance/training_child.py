"""The child process of the benchmark: trains a network, one epoch per request.

    python -m experiments.performance.training_child FOLDER THREADS LOOP

FOLDER has the images. Each line on stdin is a job (see `TrainingJob`) or ``epoch``; each line on stdout is a response
in JSON. All epochs of a job are one call of `fit` or one run of an engine. Therefore a callback at the begin of each
epoch waits for the request. The epoch's time is measured from there to its end. LOOP is the training loop of all jobs;
for `PRODUCTS`, TensorFlow is not imported.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from experiments.performance.gemm_floor import MatrixProducts
from experiments.performance.images import build_dataset, load_training_images
from experiments.performance.training_job import PLAIN_FIT, PRODUCTS, TrainingJob
from trainyard.data.dataset import Split

if TYPE_CHECKING:
    import keras


class Channel:
    """Reads requests from stdin and writes responses to stdout; redirects what libraries print to stderr."""

    def __init__(self) -> None:
        self._responses: TextIO = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def respond(self, **values: Any) -> None:  # noqa: ANN401 - any JSON value
        """Writes one response line."""
        self._responses.write(json.dumps(values) + "\n")
        self._responses.flush()

    def next_request(self) -> str:
        """Waits for the next request line and returns it; exits the process at the end of stdin."""
        line = sys.stdin.readline()
        if not line:
            raise SystemExit(0)
        return line.strip()


class EpochTimer:
    """Waits for a request at the begin of each epoch, and responds with the epoch's duration at its end."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._started = 0.0

    def start(self, *_: object) -> None:
        """Waits for a request, then starts the clock."""
        self._channel.next_request()
        self._started = time.perf_counter()

    def stop(self, *_: object) -> None:
        """Stops the clock and responds with the duration and the peak memory."""
        seconds = time.perf_counter() - self._started
        self._channel.respond(seconds=seconds, peak_mib=read_peak_memory_mib())

    def build_callback(self) -> keras.callbacks.Callback:
        """Returns a Keras callback that starts and stops the clock."""
        import keras

        return keras.callbacks.LambdaCallback(on_epoch_begin=self.start, on_epoch_end=self.stop)


def main() -> None:
    """Runs the requested jobs until stdin ends."""
    folder, threads, loop = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    channel = Channel()
    if loop != PRODUCTS:
        from trainyard.system.tensorflow_setup import configure_tensorflow, import_tensorflow

        import_tensorflow()
        configure_tensorflow(0, threads)
    channel.respond(peak_mib=read_peak_memory_mib())
    while True:
        job = TrainingJob.from_json(channel.next_request())
        train_split = load_training_images(folder, job.images, job.repeat)
        if job.loop == PRODUCTS:
            _multiply(job, train_split, channel)
        else:
            configure_tensorflow(0, threads)
            (_train_plain_keras if job.loop == PLAIN_FIT else _train_trainyard)(job, train_split, channel)


def _multiply(job: TrainingJob, train_split: Split, channel: Channel) -> None:
    """Computes the matrix products of a job's network."""
    products = MatrixProducts([train_split.images[0].size, *job.hidden_units, 10], len(train_split), job.batch_size)
    timer = EpochTimer(channel)
    channel.respond()
    for _ in range(job.epochs):
        timer.start()
        products.run_epoch()
        timer.stop()


def _train_plain_keras(job: TrainingJob, train_split: Split, channel: Channel) -> None:
    """Trains as ``plain_keras.py`` does: float arrays, and one call of `fit` with Keras's defaults."""
    import keras
    import numpy as np

    x_train, y_train = train_split.images / np.float32(255), train_split.labels
    model = keras.Sequential(
        [
            keras.layers.Input(x_train.shape[1:]),
            keras.layers.Flatten(),
            *(keras.layers.Dense(units, activation="relu") for units in job.hidden_units),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    channel.respond()
    callbacks = [EpochTimer(channel).build_callback()]
    model.fit(x_train, y_train, batch_size=job.batch_size, epochs=job.epochs, verbose=0, callbacks=callbacks)


def _train_trainyard(job: TrainingJob, train_split: Split, channel: Channel) -> None:
    """Trains with the engine that Trainyard selects for the job."""
    from trainyard.config.compose import compose_config
    from trainyard.data.batches import build_batch_maker
    from trainyard.training.engine import EpochPlan
    from trainyard.training.trainer import choose_engine, compile_model

    config = compose_config(
        [
            f"training.batch_size={job.batch_size}",
            f"training.epochs={job.epochs}",
            f"training.engine={job.loop}",
            f"training.xla={job.xla}",
            f"model.hidden_units={list(job.hidden_units)}",
        ]
    )
    dataset = build_dataset(train_split)
    plan = EpochPlan(epochs=job.epochs, batch_size=job.batch_size, seed=0)
    model = config.model.build(dataset.spec)
    compile_model(model, config, plan.count_steps_per_epoch(len(train_split)))
    callbacks = [EpochTimer(channel).build_callback()]
    choice = choose_engine(model, dataset, build_batch_maker(config, dataset, plan.seed), config, callbacks)
    channel.respond(
        compile_seconds=choice.engine.compile_seconds,
        engine=choice.engine.name,
        xla=str(choice.xla),
    )
    choice.engine.run(plan, callbacks, lambda *_: None)


def read_peak_memory_mib() -> float:
    """Returns the peak resident memory of this process in MiB.

    On Linux, ``ru_maxrss`` of a child process includes the memory of its parent at the time of the fork. Therefore
    ``VmHWM`` is read from ``/proc`` where it exists; ``ru_maxrss`` is used on other systems.
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
