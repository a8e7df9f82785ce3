"""Summaries of TensorFlow's traces: paths identify layers and phases, and nested time is counted once."""

from __future__ import annotations

import gzip
import json

import pytest

from trainyard import TrainingError
from trainyard.reporting.plots import draw_profile
from trainyard.training.profiler import OperationTime, StepProfile, _classify_operation, load_profile, write_profile

LAYERS = ["hidden_1", "dropout_1", "probabilities"]


@pytest.mark.parametrize(
    ("path", "layer_and_phase"),
    [
        ("while/body/_1/while/mlp_1/hidden_1_1/Relu", ("hidden_1", "forward")),
        ("gradient_tape/while/mlp_1/hidden_1_1/MatMul/MatMul", ("hidden_1", "backward")),
        ("while/mlp_1/dropout_1_1/Mul", ("dropout_1", "forward")),
        ("StatefulPartitionedCall/mlp/probabilities/Softmax", ("probabilities", "forward")),
        ("while/adam/AssignSubVariableOp_5", ("optimizer", "update")),
        ("while/compile_loss/sparse_categorical_crossentropy/Mean", ("loss", "forward")),
        ("while/GatherV2_1", ("batches and metrics", "other")),
    ],
)
def test_a_path_identifies_layer_and_phase(path, layer_and_phase):
    assert _classify_operation(path, LAYERS, "adam") == layer_and_phase


def trace(tensorflow_events, xla_events=()):
    """Returns a trace as TensorFlow writes it. Events are (name, type, offset, duration) in microseconds, on one thread."""
    from tensorflow.compiler.xla.service import hlo_pb2
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    host = space.planes.add(name="/host:CPU")
    host.stat_metadata[1].name = "hlo_op"
    line = host.lines.add(name="worker")
    program = hlo_pb2.HloProto()
    computation = program.hlo_module.computations.add()
    for number, (name, kind, offset, duration) in enumerate([*tensorflow_events, *xla_events], start=1):
        of_xla = number > len(tensorflow_events)
        host.event_metadata[number].name = f"instruction.{number}" if of_xla else f"{name}:{kind}"
        host.event_metadata[number].display_name = "" if of_xla else kind
        event = line.events.add(metadata_id=number, offset_ps=offset * 10**6, duration_ps=duration * 10**6)
        if of_xla:
            event.stats.add(metadata_id=1, str_value="x")
            instruction = computation.instructions.add(name=f"instruction.{number}", opcode="fusion")
            instruction.metadata.op_name, instruction.metadata.op_type = name, kind
    programs = space.planes.add(name="/host:metadata")
    programs.event_metadata[1].stats.add(metadata_id=1, bytes_value=program.SerializeToString())
    return space.SerializeToString()


def test_nested_operations_are_counted_once(keras, tmp_path):
    events = [
        ("EagerLocalExecute", " span", 0, 1000),
        ("while/mlp_1/hidden_1_1/MatMul", "MatMul", 0, 100),
        ("while/mlp_1/hidden_1_1/Relu", "Relu", 40, 10),
        ("while/adam/Mul", "Mul", 200, 30),
    ]
    of_xla = [("gradient_tape/while/mlp_1/hidden_1_1/MatMul", "MatMul", 300, 50), ("", "", 400, 5)]
    (tmp_path / "host.xplane.pb").write_bytes(trace(events, of_xla))
    write_profile(tmp_path, LAYERS, "adam", steps=10, seconds=0.001)
    profile = load_profile(tmp_path)
    times = {(item.part, item.phase, item.operation): round(1e6 * item.seconds) for item in profile.operations}
    assert times == {
        ("hidden_1", "forward", "MatMul"): 90,
        ("hidden_1", "forward", "Relu"): 10,
        ("hidden_1", "backward", "MatMul"): 50,
        ("optimizer", "update", "Mul"): 30,
        ("batches and metrics", "other", "fusion"): 5,
    }
    assert [item.operation for item in profile.operations][:2] == ["MatMul", "MatMul"]
    assert list(profile.group_by_part()) == ["hidden_1", "optimizer", "batches and metrics"]
    table = profile.describe(rows=2).splitlines()
    assert table[0] == "100 us per step while traced, 0.2 threads busy on average"
    assert table[3].split() == ["hidden_1", "forward", "MatMul", "9", "us", "48.6", "%"]
    assert len(table) == 5
    with gzip.open(tmp_path / "trace.json.gz", "rt") as file:
        events = json.load(file)["traceEvents"]
    (relu,) = [event for event in events if event["name"] == "Relu"]
    assert (relu["ts"], relu["dur"]) == (40, 10)


def test_a_missing_trace_raises(keras, tmp_path):
    with pytest.raises(TrainingError, match="expected a trace"):
        write_profile(tmp_path, LAYERS, "adam", steps=10, seconds=0.001)


@pytest.mark.pictures
def test_many_parts_with_long_names_are_drawn(tmp_path):
    operations = [
        OperationTime(f"a_layer_with_quite_a_long_name_{part}", phase, "MatMul", 3, 1e-3 / (part + 1))
        for part in range(30)
        for phase in ("forward", "backward")
    ]
    draw_profile(StepProfile(10, 0.01, tuple(operations)), tmp_path / "profile.png")
    assert (tmp_path / "profile.png").stat().st_size > 10_000
