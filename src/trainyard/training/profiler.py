"""Traces one epoch of a training with TensorFlow's profiler. TensorBoard and Perfetto open the trace."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from trainyard.errors import TrainingError

if TYPE_CHECKING:
    import keras

PROFILE_FOLDER = "profile"
"""The subfolder of a run's folder for the trace."""

_TENSORBOARD = "http://localhost:6006"


def build_profiler_callback(folder: Path, traced_epoch: int) -> keras.callbacks.Callback:
    """Builds the callback that traces an epoch, counted from 0, without its validation. The first epoch compiles."""
    import keras
    from tensorflow.profiler import experimental as profiler

    active = False

    def start(epoch: int, _logs: object) -> None:
        nonlocal active
        if epoch == traced_epoch:
            options = profiler.ProfilerOptions(host_tracer_level=2, python_tracer_level=0)
            profiler.start(str(folder), options=options)
            active = True

    def stop(*_: object) -> None:
        nonlocal active
        if active:
            active = False
            profiler.stop()

    # the epoch ends without a test if there is no validation
    return keras.callbacks.LambdaCallback(on_epoch_begin=start, on_test_begin=stop, on_epoch_end=stop)


def describe_trace(folder: Path) -> str:
    """Returns the commands that open a trace with TensorBoard and Perfetto. Raises a TrainingError if there is none."""
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
