"""Estimates how long a training takes with and without XLA, from its operations and a table of measured costs.

The time is a sum over the operations of the model's forward pass: each costs a fixed time and a time per unit of its
size, which include the backward pass. The table, ``xla_costs.json``, has both for each kind of operation. It was
measured by ``python -m experiments.performance xla``. The estimate depends only on the model, the config and the table,
so it is the same in every process.
"""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

COSTS_FILE = Path(__file__).with_name("xla_costs.json")

Work = Mapping[str, float]
"""What a training step does: the number of operations of each kind, and under ``'KIND size'`` their total size."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Costs:
    """The measured costs of a training on one device, with or without XLA, in seconds per unit of `Work`."""

    compile: Work
    step: Work

    def estimate_seconds(self, work: Work, steps: int) -> float:
        """Returns the estimated time of a training in seconds, including its compilation."""
        return _multiply(self.compile, work) + steps * _multiply(self.step, work)


@dataclass(frozen=True, slots=True)
class CostTable:
    """The costs on one device."""

    with_xla: Costs
    without_xla: Costs


@functools.cache
def load_cost_table(device: str) -> CostTable | None:
    """Loads the costs on a device, ``'cpu'`` or ``'gpu'``. Returns None if they were not measured."""
    devices = json.loads(COSTS_FILE.read_text())
    if device not in devices:
        return None
    return CostTable(**{name: Costs(**costs) for name, costs in devices[device].items()})


def count_work(model: keras.Model, batch_size: int, image_shape: Shape) -> Work:
    """Counts the operations of a built and compiled model in a training step, by kind, and adds up their sizes.

    The variables are those that the optimizer updates, with its own. A step also counts as an operation of the kind
    ``step``, without a size.
    """
    work: Counter[str] = Counter(step=1)
    operations = [*_list_operations(model, batch_size, image_shape)]
    random_shapes = Counter(operation.output for operation in operations if "Random" in operation.type)
    for operation in operations:
        kind, size = _classify(operation, repeated=random_shapes[operation.output] > 1)
        work[kind] += operation.times
        work[f"{kind} size"] += operation.times * size
    for variable in (*model.trainable_variables, *model.optimizer.variables):
        work["variable"] += 1
        work["variable size"] += math.prod(variable.shape)
    return dict(work)


def _multiply(costs: Work, work: Work) -> float:
    """Returns the sum of the costs of all work. Work that the costs do not name costs nothing."""
    return sum(costs[name] * amount for name, amount in work.items() if name in costs)


@dataclass(frozen=True, slots=True)
class _Operation:
    """An operation of the forward pass. A shape that is not known is empty."""

    type: str
    inputs: list[Shape]
    output: Shape
    times: int
    """How often a step runs the operation; more than once in a loop."""


_NO_WORK = {
    "Const", "ExpandDims", "Identity", "NoOp", "Placeholder", "ReadVariableOp", "Reshape", "Shape", "Squeeze",
    "StopGradient",
}  # fmt: skip
"""Operations that compute nothing."""

_KINDS = {
    "MatMul": "matrix product",
    "BatchMatMulV2": "matrix product",
    "Conv2D": "convolution",
    "Conv2DBackpropInput": "transposed convolution",
    "DepthwiseConv2dNative": "depthwise convolution",
    "MaxPool": "max pooling",
    "AvgPool": "average pooling",
    "StatelessRandomUniformV2": "random numbers",
    "StatelessRandomNormalV2": "normal numbers",
    "StatelessTruncatedNormalV2": "normal numbers",
}
"""The kind of each operation that is not of the kind ``other``."""


def _classify(operation: _Operation, *, repeated: bool) -> tuple[str, int]:
    """Returns the kind and the size of an operation.

    The size is the number of multiplications of a matrix product or a convolution, the number of pixels that a pooling
    operation reads, and the number of elements of any other operation. XLA computes a depthwise convolution as a
    convolution in which most weights are zero, so those multiplications count too. `repeated` is whether several
    operations draw random numbers of this shape. XLA compiles a single one into each operation that uses its numbers,
    which draws them many times.
    """
    kind = _KINDS.get(operation.type, "other")
    output = math.prod(operation.output)
    if kind.endswith("numbers"):
        return f"repeated {kind}" if repeated else kind, output
    if kind == "other" or not all(operation.inputs[:2]):  # without known shapes, the size is that of other operations
        return "other", max([output, *map(math.prod, filter(None, operation.inputs))])
    if kind.endswith("convolution"):
        return _classify_convolution(kind, operation)
    values = operation.inputs[0]
    return kind, output * values[-1] if kind == "matrix product" else math.prod(values[:-1])


_MIN_FILTERS = 4
"""A convolution with fewer filters takes as long as one with this number, because both use the same vectors."""


def _classify_convolution(kind: str, operation: _Operation) -> tuple[str, int]:
    """Returns the kind and the size of a convolution: with groups, or one channel, XLA compiles another program."""
    channels, kernel = operation.inputs[0][-1], operation.inputs[1]
    if kind == "transposed convolution":
        return "convolution", math.prod((*operation.inputs[2], *kernel[:3]))
    if kind == "convolution" and channels != kernel[2]:
        kind = "grouped convolution"
    if kind == "depthwise convolution" and channels == 1:
        kind = "convolution"
    inputs = kernel[2] if kind == "grouped convolution" else channels
    *pixels, filters = operation.output
    return kind, math.prod((*pixels, max(filters, _MIN_FILTERS), *kernel[:2], inputs))


def _list_operations(model: keras.Model, batch_size: int, image_shape: Shape) -> Iterator[_Operation]:
    """Yields the operations in a model's forward pass, including those in nested functions."""
    import tensorflow as tf

    forward = tf.function(lambda images: model(images, training=True), autograph=False)
    images = tf.TensorSpec((batch_size, *image_shape), tf.float32)
    graph = forward.get_concrete_function(images).graph.as_graph_def(add_shapes=True)
    functions = {function.signature.name: function for function in graph.library.function}
    yield from _walk(graph.node, {}, functions.__getitem__, 1)


def _walk(
    nodes: Any,  # noqa: ANN401 - TensorFlow is not typed
    shapes: dict[str, list[Shape]],
    get_function: Callable[[str], Any],
    times: int,
) -> Iterator[_Operation]:
    """Yields the operations of a graph, and of the functions it calls.

    `nodes` are ``NodeDef``. `shapes` are those of the arguments of the graph, and `times` is how often a step runs it.
    """
    shapes = shapes | {node.name: _read_shapes(node) for node in nodes}
    loop_length = 1
    for node in nodes:
        inputs = [_find_shape(shapes, name) for name in node.input if not name.startswith("^")]
        if node.op == "TensorListFromTensor":
            loop_length = max(loop_length, inputs[0][0])
        called = [value.func.name for name, value in node.attr.items() if value.HasField("func") and name != "cond"]
        for function in map(get_function, called):
            arguments = zip(function.signature.input_arg, inputs, strict=False)
            repeats = times * (loop_length if node.op in ("While", "StatelessWhile") else 1)
            yield from _walk(function.node_def, {arg.name: [shape] for arg, shape in arguments}, get_function, repeats)
        if not called and node.op not in _NO_WORK:
            yield _Operation(node.op, inputs, (*shapes[node.name], ())[0], times)


def _read_shapes(node: Any) -> list[Shape]:  # noqa: ANN401 - TensorFlow is not typed
    """Returns the shapes of the outputs of a ``NodeDef``."""
    return [
        () if shape.unknown_rank else tuple(max(dimension.size, 1) for dimension in shape.dim)
        for shape in node.attr["_output_shapes"].list.shape
    ]


def _find_shape(shapes: Mapping[str, list[Shape]], name: str) -> Shape:
    """Returns the shape of an input, which is named ``NODE``, ``NODE:INDEX`` or ``NODE:OUTPUT:INDEX``."""
    node, *_, index = f"{name}:0".split(":") if ":" not in name else name.split(":")
    outputs = shapes.get(node, [])
    return outputs[int(index)] if int(index) < len(outputs) else ()
