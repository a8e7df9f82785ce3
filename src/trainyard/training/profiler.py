"""Where the time of a training step goes: a trace of one epoch, and what it comes to, operation by operation.

TensorFlow's profiler writes down each operation on each thread. Outside XLA an operation carries its path in the model
(``.../hidden_1_1/MatMul``); what XLA made of it carries the name of an instruction, whose path stands in the program
that is written down beside it. From the path follow the layer and whether it was the forward or the backward pass.

Only the CPU's threads are summed up. What runs on a GPU stands in the trace alone.
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
    """What one kind of operation took in one part of a training step.

    Attributes:
        part: The layer, or "optimizer", "loss", "batches and metrics".
        phase: "forward", "backward", "update" or "other".
        operation: TensorFlow's name for it, ``MatMul``.
        calls: How often it ran.
        seconds: The time on all threads, without what ran inside it.
    """

    part: str
    phase: str
    operation: str
    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class StepProfile:
    """What the steps of an epoch took.

    Attributes:
        steps: How many.
        seconds: The time that passed.
        operations: What ran, the longest first.
    """

    steps: int
    seconds: float
    operations: tuple[OperationTime, ...]

    @property
    def busy_seconds(self) -> float:
        """The time that operations ran, on all threads."""
        return sum(operation.seconds for operation in self.operations)

    def by_part(self) -> dict[str, dict[str, float]]:
        """Returns the seconds of each part by phase, the longest part first."""
        parts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for operation in self.operations:
            parts[operation.part][operation.phase] += operation.seconds
        return {part: dict(parts[part]) for part in sorted(parts, key=lambda part: -sum(parts[part].values()))}

    def describe(self, rows: int = 12) -> str:
        """Returns a table of what took longest, in lines."""
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
        step = f"{1e6 * self.seconds / self.steps:,.0f} us a step while traced, {threads:.1f} threads busy"
        return "\n".join([step, "", *lines])


def build_recorder(folder: Path, traced_epoch: int) -> keras.callbacks.Callback:
    """Builds the callback that traces an epoch and writes what it came to.

    Args:
        folder: Where the trace goes; made if need be.
        traced_epoch: Counted from 0; one that compiles nothing any more.
    """
    import keras
    import tensorflow as tf

    class Recorder(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is not typed
        def __init__(self) -> None:
            super().__init__()
            self._began: float | None = None

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ANN401, ARG002
            if epoch == traced_epoch:
                options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=2, python_tracer_level=0)
                tf.profiler.experimental.start(str(folder), options=options)
                self._began = time.perf_counter()

        def on_test_begin(self, logs: Any = None) -> None:  # noqa: ANN401, ARG002
            self._stop()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ANN401, ARG002
            self._stop()

        def _stop(self) -> None:
            if self._began is None:
                return
            seconds, self._began = time.perf_counter() - self._began, None
            tf.profiler.experimental.stop()
            layers = [layer.name for layer in self.model.layers]
            write_profile(folder, layers, self.model.optimizer.name, self.params["steps"], seconds)

    return Recorder()


def write_profile(folder: Path, layers: Sequence[str], optimizer: str, steps: int, seconds: float) -> None:
    """Writes what a trace came to, as operations.json, and the trace for https://ui.perfetto.dev, as trace.json.gz.

    Args:
        folder: Which TensorFlow wrote its trace to.
        layers: The names of the model's layers.
        optimizer: Its name in the paths of operations.
        steps: That were traced.
        seconds: That passed.

    Raises:
        TrainingError: If TensorFlow left no trace, or one without operations.
    """
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    files = sorted(folder.rglob("*.xplane.pb"))
    if not files:
        raise TrainingError(f"{folder}: TensorFlow's profiler left no trace. Is another one running?")
    space = xplane_pb2.XSpace.FromString(files[-1].read_bytes())
    kinds: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for path, operation, own_seconds in _operations(space):
        kinds[(*_place(path, layers, optimizer), operation)].append(own_seconds)
    if not kinds:
        raise TrainingError(f"{folder}: TensorFlow's profiler saw no operation on the CPU")
    operations = [OperationTime(*kind, len(times), sum(times)) for kind, times in kinds.items()]
    operations.sort(key=lambda operation: -operation.seconds)
    (folder / SUMMARY).write_text(json.dumps(asdict(StepProfile(steps, seconds, tuple(operations))), indent=1) + "\n")
    with gzip.open(folder / TRACE, "wt") as file:
        json.dump({"traceEvents": list(_trace_events(space))}, file)


def read_profile(folder: Path) -> StepProfile:
    """Reads what `write_profile` wrote."""
    content = json.loads((folder / SUMMARY).read_text())
    operations = tuple(OperationTime(**operation) for operation in content.pop("operations"))
    return StepProfile(**content, operations=operations)


# ---------------------------------------------------------------------------------------------------------------
# TensorFlow's trace: planes of lines (threads) of events


def _operations(space: Any) -> Iterator[tuple[str, str, float]]:  # noqa: ANN401 - a protocol buffer
    """Yields each operation that ran: its path, its kind, and its seconds without those inside it."""
    instructions = _instructions(space)
    for plane in space.planes:
        if plane.name != _HOST:
            continue
        stats = {key: stat.name for key, stat in plane.stat_metadata.items()}
        named: dict[int, tuple[str, str] | None] = {}
        for line in plane.lines:
            stack: list[list[Any]] = []  # of operations that are not over: end, path, kind, own duration
            for event in sorted(line.events, key=lambda event: (event.offset_ps, -event.duration_ps)):
                if event.metadata_id not in named:
                    metadata = plane.event_metadata[event.metadata_id]
                    of_xla = any(stats.get(stat.metadata_id) == "hlo_op" for stat in event.stats)
                    named[event.metadata_id] = instructions.get(metadata.name) if of_xla else _tensorflow_op(metadata)
                found = named[event.metadata_id]
                if found is None:
                    continue
                while stack and stack[-1][0] <= event.offset_ps:
                    _, path, kind, own = stack.pop()
                    yield path, kind, own * _PICOSECONDS
                if stack:
                    stack[-1][3] -= event.duration_ps
                stack.append([event.offset_ps + event.duration_ps, *found, event.duration_ps])
            for _, path, kind, own in stack:
                yield path, kind, own * _PICOSECONDS


def _tensorflow_op(metadata: Any) -> tuple[str, str] | None:  # noqa: ANN401 - a protocol buffer
    """Returns path and kind of an operation outside XLA, or None where an event is none."""
    path, _, kind = metadata.name.rpartition(":")
    return (path, kind) if path and kind == metadata.display_name and re.fullmatch("_?[A-Z]\\w*", kind) else None


def _instructions(space: Any) -> dict[str, tuple[str, str]]:  # noqa: ANN401 - a protocol buffer
    """Returns path and kind of each instruction of XLA's programs, by name."""
    from tensorflow.compiler.xla.service import hlo_pb2

    found: dict[str, tuple[str, str]] = {}
    programs = [plane for plane in space.planes if plane.name == _PROGRAMS]
    for metadata in (metadata for plane in programs for metadata in plane.event_metadata.values()):
        for stat in metadata.stats:
            module = hlo_pb2.HloProto.FromString(stat.bytes_value).hlo_module
            for instruction in (one for computation in module.computations for one in computation.instructions):
                origin = instruction.metadata
                found[instruction.name] = (origin.op_name, origin.op_type or instruction.opcode)
    return found


def _place(path: str, layers: Sequence[str], optimizer: str) -> tuple[str, str]:
    """Returns the part of a training step that an operation belongs to, and its phase."""
    segments = [re.sub(r"_\d+$", "", segment) for segment in path.split("/")]
    whole = path.split("/")
    backward = any("gradient" in segment for segment in segments)
    phase = "backward" if backward else "forward"
    for name in layers:
        if name in whole or name in segments:
            return name, phase
    if optimizer in segments:
        return "optimizer", "update"
    if "compile_loss" in segments:
        return "loss", phase
    return "batches and metrics", "backward" if backward else "other"


def _trace_events(space: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - a protocol buffer
    """Yields the trace as the events of Chrome's trace format, which Perfetto opens; times in microseconds."""
    for process, plane in enumerate(space.planes):
        yield {"ph": "M", "name": "process_name", "pid": process, "args": {"name": plane.name}}
        for thread, line in enumerate(plane.lines):
            yield {"ph": "M", "name": "thread_name", "pid": process, "tid": thread, "args": {"name": line.name}}
            for event in line.events:
                metadata = plane.event_metadata[event.metadata_id]
                began = line.timestamp_ns / 1e3 + event.offset_ps / 1e6
                place = {"pid": process, "tid": thread, "ts": began, "dur": event.duration_ps / 1e6}
                yield {"ph": "X", "name": metadata.display_name or metadata.name, **place}
