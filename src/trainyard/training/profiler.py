"""Profiles the training: traces one epoch with TensorFlow's profiler, and sums the time by operation.

The profiler records each operation on each thread. Without XLA, an operation has its path in the model as its name
(``.../hidden_1_1/MatMul``). With XLA, it has the name of an instruction, and the trace contains the compiled program
with the path of each instruction. The path identifies the layer, and the forward or backward pass.

Only the threads of the CPU are summed. Operations on a GPU are only in the trace.
"""

from __future__ import annotations

import gzip
import json
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.errors import TrainingError

if TYPE_CHECKING:
    import keras

SUMMARY, TRACE = "operations.json", "trace.json.gz"
_HOST, _PROGRAMS = "/host:CPU", "/host:metadata"
_PICOSECONDS = 1e-12


@dataclass(frozen=True, slots=True)
class OperationTime:
    """The time of one type of operation in one part of a training step.

    Attributes:
        part: The layer, or "optimizer", "loss", "batches and metrics".
        phase: "forward", "backward", "update" or "other".
        operation: TensorFlow's name of the operation, ``MatMul``.
        calls: The number of calls.
        seconds: The time on all threads, excluding nested operations.
    """

    part: str
    phase: str
    operation: str
    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class StepProfile:
    """The time of the traced steps.

    Attributes:
        steps: The number of steps.
        seconds: The elapsed time.
        operations: The operations, the slowest first.
    """

    steps: int
    seconds: float
    operations: tuple[OperationTime, ...]

    @property
    def busy_seconds(self) -> float:
        """The total time of all operations, summed over threads."""
        return sum(operation.seconds for operation in self.operations)

    def group_by_part(self) -> dict[str, dict[str, float]]:
        """Returns the seconds of each part by phase, the slowest part first."""
        parts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for operation in self.operations:
            parts[operation.part][operation.phase] += operation.seconds
        return {part: dict(parts[part]) for part in sorted(parts, key=lambda part: -sum(parts[part].values()))}

    def describe(self, rows: int = 12) -> str:
        """Returns, as text, the time per step and a table of the slowest operations, at most `rows` of them."""
        table = [("part", "pass", "operation", "per step", "share")]
        table += [
            (
                operation.part,
                operation.phase,
                operation.operation,
                f"{1e6 * operation.seconds / self.steps:,.0f} us",
                f"{100 * operation.seconds / self.busy_seconds:.1f} %",
            )
            for operation in self.operations[:rows]
        ]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        texts, numbers = widths[:3], widths[3:]
        lines = [
            "  ".join(
                [f"{cell:{width}}" for cell, width in zip(row, texts, strict=False)]
                + [f"{cell:>{width}}" for cell, width in zip(row[3:], numbers, strict=True)]
            )
            for row in table
        ]
        threads = self.busy_seconds / self.seconds
        step = f"{1e6 * self.seconds / self.steps:,.0f} us per step while traced, {threads:.1f} threads busy on average"
        return "\n".join([step, "", *lines])


def build_profiler_callback(folder: Path, traced_epoch: int) -> keras.callbacks.Callback:
    """Builds the callback that traces an epoch and writes the profile.

    Args:
        folder: The folder for the trace. It is created if it does not exist.
        traced_epoch: The epoch to trace, counted from 0. It must not be the first one, which compiles.
    """
    import keras
    import tensorflow as tf

    class Recorder(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is not typed
        def __init__(self) -> None:
            super().__init__()
            self._began: float | None = None

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ANN401, ARG002
            """Starts the trace at the beginning of the traced epoch."""
            if epoch == traced_epoch:
                options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=2, python_tracer_level=0)
                tf.profiler.experimental.start(str(folder), options=options)
                self._began = time.perf_counter()

        def on_test_begin(self, logs: Any = None) -> None:  # noqa: ANN401, ARG002
            """Stops the trace before the validation, which is not profiled."""
            self._stop()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ANN401, ARG002
            """Stops the trace if there was no validation."""
            self._stop()

        def _stop(self) -> None:
            """Stops the trace and writes the profile; does nothing if no trace is active."""
            if self._began is None:
                return
            seconds, self._began = time.perf_counter() - self._began, None
            tf.profiler.experimental.stop()
            layers = [layer.name for layer in self.model.layers]
            write_profile(folder, layers, self.model.optimizer.name, self.params["steps"], seconds)

    return Recorder()


def write_profile(folder: Path, layers: Sequence[str], optimizer: str, steps: int, seconds: float) -> None:
    """Writes the summary of a trace to operations.json, and the trace for https://ui.perfetto.dev to trace.json.gz.

    Args:
        folder: The folder with TensorFlow's trace.
        layers: The names of the model's layers.
        optimizer: The name of the optimizer, as in the paths of operations.
        steps: The number of traced steps.
        seconds: The elapsed time.

    Raises:
        TrainingError: If TensorFlow wrote no trace, or a trace without operations.
    """
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    files = sorted(folder.rglob("*.xplane.pb"))
    if not files:
        raise TrainingError(
            f"{folder}: expected a trace of TensorFlow's profiler, but it wrote none. Stop other profilers"
        )
    space = xplane_pb2.XSpace.FromString(files[-1].read_bytes())
    kinds: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for path, operation, own_seconds in _iterate_operations(space):
        kinds[(*_classify_operation(path, layers, optimizer), operation)].append(own_seconds)
    if not kinds:
        raise TrainingError(
            f"{folder}: the trace of TensorFlow's profiler contains no operation on the CPU. "
            "Increase debug.steps, or train without a GPU"
        )
    operations = [OperationTime(*kind, len(times), sum(times)) for kind, times in kinds.items()]
    operations.sort(key=lambda operation: -operation.seconds)
    (folder / SUMMARY).write_text(json.dumps(asdict(StepProfile(steps, seconds, tuple(operations))), indent=1) + "\n")
    with gzip.open(folder / TRACE, "wt") as file:
        json.dump({"traceEvents": list(_trace_events(space))}, file)


def load_profile(folder: Path) -> StepProfile:
    """Loads the profile that `write_profile` wrote."""
    content = json.loads((folder / SUMMARY).read_text())
    operations = tuple(OperationTime(**operation) for operation in content.pop("operations"))
    return StepProfile(**content, operations=operations)


# ---------------------------------------------------------------------------------------------------------------
# TensorFlow's trace: planes of lines (threads) of events


def _iterate_operations(space: Any) -> Iterator[tuple[str, str, float]]:  # noqa: ANN401 - a protocol buffer
    """Yields the path, type and seconds of each executed operation, excluding nested operations."""
    instructions = _read_instructions(space)
    for plane in space.planes:
        if plane.name != _HOST:
            continue
        stats = {key: stat.name for key, stat in plane.stat_metadata.items()}
        named: dict[int, tuple[str, str] | None] = {}
        for line in plane.lines:
            stack: list[list[Any]] = []  # operations that have not ended: end, path, type, own duration
            for event in sorted(line.events, key=lambda event: (event.offset_ps, -event.duration_ps)):
                if event.metadata_id not in named:
                    metadata = plane.event_metadata[event.metadata_id]
                    of_xla = any(stats.get(stat.metadata_id) == "hlo_op" for stat in event.stats)
                    named[event.metadata_id] = (
                        instructions.get(metadata.name) if of_xla else _parse_tensorflow_op(metadata)
                    )
                path_and_kind = named[event.metadata_id]
                if path_and_kind is None:
                    continue
                while stack and stack[-1][0] <= event.offset_ps:
                    _, path, kind, own_duration = stack.pop()
                    yield path, kind, own_duration * _PICOSECONDS
                if stack:
                    stack[-1][3] -= event.duration_ps
                stack.append([event.offset_ps + event.duration_ps, *path_and_kind, event.duration_ps])
            for _, path, kind, own_duration in stack:
                yield path, kind, own_duration * _PICOSECONDS


def _parse_tensorflow_op(metadata: Any) -> tuple[str, str] | None:  # noqa: ANN401 - a protocol buffer
    """Returns the path and type of an operation without XLA, or None if the event is not an operation."""
    path, _, kind = metadata.name.rpartition(":")
    return (path, kind) if path and kind == metadata.display_name and re.fullmatch("_?[A-Z]\\w*", kind) else None


def _read_instructions(space: Any) -> dict[str, tuple[str, str]]:  # noqa: ANN401 - a protocol buffer
    """Returns the path and type of each instruction of XLA's programs, by the name of the instruction."""
    from tensorflow.compiler.xla.service import hlo_pb2

    instructions: dict[str, tuple[str, str]] = {}
    programs = [plane for plane in space.planes if plane.name == _PROGRAMS]
    for metadata in (metadata for plane in programs for metadata in plane.event_metadata.values()):
        for stat in metadata.stats:
            module = hlo_pb2.HloProto.FromString(stat.bytes_value).hlo_module
            for instruction in (item for computation in module.computations for item in computation.instructions):
                source = instruction.metadata
                instructions[instruction.name] = (source.op_name, source.op_type or instruction.opcode)
    return instructions


def _classify_operation(path: str, layers: Sequence[str], optimizer: str) -> tuple[str, str]:
    """Returns the part of the training step to which an operation belongs, and its phase."""
    segments = [re.sub(r"_\d+$", "", segment) for segment in path.split("/")]
    full_segments = path.split("/")
    backward = any("gradient" in segment for segment in segments)
    phase = "backward" if backward else "forward"
    for name in layers:
        if name in full_segments or name in segments:
            return name, phase
    if optimizer in segments:
        return "optimizer", "update"
    if "compile_loss" in segments:
        return "loss", phase
    return "batches and metrics", "backward" if backward else "other"


def _trace_events(space: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - a protocol buffer
    """Yields the events of the trace in Chrome's trace format, which Perfetto opens. Times are in microseconds."""
    for process, plane in enumerate(space.planes):
        yield {"ph": "M", "name": "process_name", "pid": process, "args": {"name": plane.name}}
        for thread, line in enumerate(plane.lines):
            yield {"ph": "M", "name": "thread_name", "pid": process, "tid": thread, "args": {"name": line.name}}
            for event in line.events:
                metadata = plane.event_metadata[event.metadata_id]
                began = line.timestamp_ns / 1e3 + event.offset_ps / 1e6
                timing = {"pid": process, "tid": thread, "ts": began, "dur": event.duration_ps / 1e6}
                yield {"ph": "X", "name": metadata.display_name or metadata.name, **timing}
