"""Traces one epoch of a training with TensorFlow's profiler. TensorBoard and Perfetto open the trace."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.errors import TrainingError

if TYPE_CHECKING:
    import keras

PROFILE_FOLDER = "profile"
"""The subfolder of a run's folder for the trace."""

_TENSORBOARD = "http://localhost:6006"


def build_profiler_callback(folder: Path, traced_epoch: int) -> keras.callbacks.Callback:
    """Builds the callback that traces an epoch, without its validation.

    Args:
        folder: The folder for the trace. It is created if it does not exist.
        traced_epoch: The epoch to trace, counted from 0. It must not be the first one, which compiles.
    """
    import keras
    import tensorflow as tf

    class Profiler(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is not typed
        def __init__(self) -> None:
            super().__init__()
            self._active = False

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ANN401, ARG002
            if epoch == traced_epoch:
                options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=2, python_tracer_level=0)
                tf.profiler.experimental.start(str(folder), options=options)
                self._active = True

        def on_test_begin(self, logs: Any = None) -> None:  # noqa: ANN401, ARG002
            if self._active:
                self._active = False
                tf.profiler.experimental.stop()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ANN401, ARG002
            self.on_test_begin()  # if there was no validation

    return Profiler()


def describe_trace(folder: Path) -> str:
    """Returns the commands that open the trace in a folder with TensorBoard and Perfetto.

    Raises:
        TrainingError: If TensorFlow wrote no trace.
    """
    traces = sorted(folder.rglob("*.xplane.pb"))
    if not traces:
        raise TrainingError(
            f"{folder}: expected a trace of TensorFlow's profiler, but it wrote none. Stop other profilers"
        )
    run, host = traces[-1].parent.name, traces[-1].name.removesuffix(".xplane.pb")
    data = f"{_TENSORBOARD}/data/plugin/profile/data?run={run}&tag=trace_viewer&host={host}"
    return (
        f"The trace of the training steps is in {folder}.\n"
        f"TensorBoard: pip install xprof; tensorboard --logdir {shlex.quote(str(folder))}\n"
        f"  then open {_TENSORBOARD}/#profile\n"
        f"Perfetto, while TensorBoard runs: curl -o trace.json.gz {shlex.quote(data)}\n"
        "  then open trace.json.gz in https://ui.perfetto.dev"
    )
