"""The work of a training step is counted as one would by hand, and its costs are added up."""

from __future__ import annotations

import math

import pytest

from trainyard import compose_config
from trainyard.data import DataSpec
from trainyard.training import xla_costs
from trainyard.training.trainer import compile_model
from trainyard.training.xla_costs import Costs, count_work, load_cost_table

BATCH = 32


def _count(*overrides, shape=(8, 8)):
    config = compose_config(["tracking=off", *overrides])
    model = config.model.build(DataSpec(shape, tuple("0123456789"), 255))
    compile_model(model, config, batches_per_epoch=10)
    return count_work(model, BATCH, shape)


def _layers(*layers):
    return ("model=sequential", f"model.layers=[{','.join(layers)}]")


def test_a_dense_network(keras):
    work = _count("model.hidden_units=[16]", "optimizer=adam")
    assert work["step"] == 1
    assert (work["matrix product"], work["matrix product size"]) == (2, BATCH * (64 * 16 + 16 * 10))
    parameters = 64 * 16 + 16 + 16 * 10 + 10
    # four variables of the model, two of Adam for each, and its number of steps and its learning rate
    assert (work["variable"], work["variable size"]) == (4 + 2 * 4 + 2, 3 * parameters + 2)
    assert work["other"] == 4  # two biases, ReLU and softmax
    assert work["other size"] == BATCH * (16 + 16 + 10 + 10)


def test_sgd_has_fewer_variables(keras):
    assert _count("model.hidden_units=[16]", "optimizer=sgd")["variable"] == 4 + 2


CONVOLUTION = "{Conv2D:{filters:6,kernel_size:3%s}}"
CASES = {
    "valid": (_layers(CONVOLUTION % ""), (8, 8, 3), "convolution", BATCH * 6 * 6 * 6 * 3 * 3 * 3),
    "same": (_layers(CONVOLUTION % ",padding:same"), (8, 8, 3), "convolution", BATCH * 8 * 8 * 6 * 3 * 3 * 3),
    "stride": (_layers(CONVOLUTION % ",strides:2"), (8, 8, 3), "convolution", BATCH * 3 * 3 * 6 * 3 * 3 * 3),
    "few filters, which count as four": (
        _layers("{Conv2D:{filters:2,kernel_size:3}}"), (8, 8, 3), "convolution", BATCH * 6 * 6 * 4 * 3 * 3 * 3,
    ),
    "groups": (_layers(CONVOLUTION % ",groups:3"), (8, 8, 3), "grouped convolution", BATCH * 6 * 6 * 6 * 3 * 3 * 1),
    "one dimension": (
        _layers("{Reshape:{target_shape:[8,8]}}", "{Conv1D:{filters:5,kernel_size:3}}"), (8, 8), "convolution",
        BATCH * 6 * 5 * 3 * 8,
    ),
    "transposed": (
        _layers("{Conv2DTranspose:{filters:6,kernel_size:3,strides:2}}"), (8, 8, 3), "convolution",
        BATCH * 8 * 8 * 3 * 3 * 3 * 6,
    ),
    "depthwise": (
        _layers("{DepthwiseConv2D:{kernel_size:3,depth_multiplier:2}}"), (8, 8, 3), "depthwise convolution",
        BATCH * 6 * 6 * (3 * 2) * 3 * 3 * 3,
    ),
    "depthwise, one channel": (
        _layers("{DepthwiseConv2D:{kernel_size:3,depth_multiplier:4}}"), (8, 8), "convolution", BATCH * 6 * 6 * 4 * 9,
    ),
    "max pooling": (_layers("{MaxPooling2D:{pool_size:2}}"), (8, 8, 3), "max pooling", BATCH * 8 * 8),
    "average pooling": (_layers("{AveragePooling2D:{pool_size:4}}"), (8, 8, 3), "average pooling", BATCH * 8 * 8),
    "dropout": (("model.hidden_units=[16]", "model.dropout=0.5"), (8, 8), "random numbers", BATCH * 16),
    "noise": (_layers("{GaussianNoise:{stddev:1.0}}", "Flatten"), (8, 8), "normal numbers", BATCH * 8 * 8),
}  # fmt: skip


@pytest.mark.parametrize(("overrides", "shape", "kind", "size"), CASES.values(), ids=CASES)
def test_the_size_of_an_operation(keras, overrides, shape, kind, size):
    work = _count(*overrides, shape=shape)
    assert (work[kind], work[f"{kind} size"]) == (1, size)


def test_random_numbers_of_the_same_shape_are_counted_separately(keras):
    work = _count("model.hidden_units=[16,16,8]", "model.dropout=0.5")
    assert (work["repeated random numbers"], work["repeated random numbers size"]) == (2, 2 * BATCH * 16)
    assert (work["random numbers"], work["random numbers size"]) == (1, BATCH * 8)


def test_the_operations_of_a_loop_count_once_per_element_of_the_sequence(keras):
    rows = "{Reshape:{target_shape:[8,8]}}"
    work = _count(*_layers(rows, "{SimpleRNN:{units:16}}"))
    # eight rows, and a step outside of the loop, with which Keras determines the shape of the output
    assert work["matrix product"] == (8 + 1) * 2 + 1
    assert work["matrix product size"] == BATCH * ((8 + 1) * (8 * 16 + 16 * 16) + 16 * 10)


def test_operations_with_unknown_shapes_count_as_other_operations(keras):
    import tensorflow as tf

    class Unknown(keras.layers.Layer):
        def call(self, images):
            shape = tf.numpy_function(lambda: [4, 4, 4], [], tf.int64, stateful=False)
            values = tf.reshape(tf.zeros(64), shape)
            return images + tf.reduce_sum(tf.matmul(values, values))

    model = keras.Sequential(
        [keras.layers.Input((8, 8)), Unknown(), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")]
    )
    compile_model(model, compose_config(["tracking=off"]), batches_per_epoch=10)
    work = count_work(model, BATCH, (8, 8))
    assert (work["matrix product"], work["matrix product size"]) == (1, BATCH * 64 * 10)


def test_the_estimate_is_the_cost_of_compiling_and_of_all_steps():
    costs = Costs(compile={"matrix product": 0.5}, step={"step": 0.001, "matrix product size": 1e-9})
    work = {"step": 1, "matrix product": 3, "matrix product size": 2e6, "other": 7}
    assert costs.estimate_seconds(work, 100) == pytest.approx(3 * 0.5 + 100 * (0.001 + 2e6 * 1e-9))


def test_the_table_has_positive_costs_of_every_kind_of_operation():
    table = load_cost_table("cpu")
    for costs in (table.with_xla, table.without_xla):
        values = [*costs.compile.values(), *costs.step.values()]
        assert all(0 < value < math.inf for value in values)
        kinds = {name.removesuffix(" size") for name in costs.step}
        assert {"step", "variable", "other"} <= kinds
        assert kinds >= set(xla_costs._KINDS.values()) - {"transposed convolution"}
