"""The choice of XLA depends only on the config, the device and the table of costs, and follows the measured times."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from trainyard import compose_config
from trainyard.data import DataSpec, load_dataset
from trainyard.system import tensorflow_setup
from trainyard.system.progress import Progress
from trainyard.training import xla, xla_costs
from trainyard.training.trainer import compile_model, train
from trainyard.training.xla import choose_xla
from trainyard.training.xla_costs import Costs, CostTable

MNIST = ((28, 28), 60_000)
DIGITS = ((8, 8), 1_500)
POOLING = ["model=sequential", "model.layers=[{MaxPooling2D:{pool_size:2}},Flatten,{Dense:{units:64}}]"]
RECURRENT = ["model=sequential", "model.layers=[{Reshape:{target_shape:[28,28]}},{LSTM:{units:32}}]"]
NOISE = ["model=sequential", "model.layers=[{GaussianNoise:{stddev:0.1}},Flatten,{Dense:{units:64}}]"]


def _choose(overrides, image_shape, images, recorded=None):
    config = compose_config(["tracking=off", *overrides])
    model = config.model.build(DataSpec(image_shape, tuple("0123456789"), 255))
    compile_model(model, config, batches_per_epoch=10)
    return choose_xla(model, config, image_shape, images, recorded)


# Measured on two cores, the faster mode takes less than half of the time of the other one in each of these cases.
CASES = {
    "a dense network": ([], MNIST, True),
    "a small dense network": (["model.hidden_units=[16]", "training.epochs=200"], DIGITS, True),
    "a dense network, too few steps to compile it": (["training.epochs=2"], DIGITS, False),
    "batch normalization": (["model.batch_norm=true"], MNIST, True),
    "dropout": (["model.dropout=0.2"], MNIST, False),
    "dropout of equal layers": (["model.dropout=0.2", "model.hidden_units=[64,64]"], MNIST, True),
    "noise": (NOISE, MNIST, False),
    "pooling and a dense layer": (POOLING, MNIST, True),
    "an LSTM": (RECURRENT, MNIST, True),
    "convolutions": (["model=cnn"], MNIST, False),
    "small convolutions of small images": (
        ["model=cnn", "model.filters=[2]", "model.dense_units=[]", "training.epochs=400"], DIGITS, True,
    ),
    "batches that are larger than the data": (["training.batch_size=2000", "training.epochs=10000"], DIGITS, False),
}  # fmt: skip


@pytest.mark.parametrize(("overrides", "data", "on"), CASES.values(), ids=CASES)
def test_auto_chooses_the_faster_mode(keras, overrides, data, on):
    assert _choose(overrides, *data).on == on


def test_the_operations_of_nested_and_of_custom_layers_count(keras):
    class Hidden(keras.layers.Layer):
        def call(self, images):
            import tensorflow as tf

            return tf.nn.conv2d(images[..., None], tf.ones((3, 3, 1, 32)), 1, "SAME")

    config = compose_config(["tracking=off", "training.epochs=50"])
    for first_layers, on in (([keras.Sequential([Hidden()])], False), ([], True)):
        last_layers = [keras.layers.Flatten(), keras.layers.Dense(10, "softmax")]
        model = keras.Sequential([keras.layers.Input((28, 28)), *first_layers, *last_layers])
        compile_model(model, config, batches_per_epoch=10)
        assert choose_xla(model, config, *MNIST).on == on


def test_the_reason_is_the_ratio_of_the_estimates(keras, prefer_xla):
    prefer_xla("on")
    reason = "1,840 steps on a CPU are estimated to take 0.25 times as long with XLA as without"  # 40 * (1500 // 32)
    assert str(_choose(["training.epochs=40"], *DIGITS)) == f"on: {reason}"
    prefer_xla("off")
    assert str(_choose(["training.epochs=1"], *DIGITS)).startswith("off: 46 steps on a CPU are estimated to take 4 ti")


@pytest.mark.parametrize(
    ("overrides", "recorded", "choice"),
    [
        (["training.xla=on"], None, "on: set by training.xla"),
        (["training.xla=off"], None, "off: set by training.xla"),
        ([], "on", "on: as in the resumed run"),
        ([], "off", "off: as in the resumed run"),
        (["augmentation=shift_rotate"], None, "off: XLA has no operation for the image transformations of augmentati"),
        (["training.determinism=strict"], None, "off: training.determinism is strict, and XLA rounds differently"),
    ],
    ids=str,
)
def test_some_choices_do_not_depend_on_the_costs(keras, prefer_xla, overrides, recorded, choice):
    for preferred in ("on", "off"):
        prefer_xla(preferred)
        assert str(_choose(overrides, *DIGITS, recorded)).startswith(choice)


def test_on_a_gpu_xla_is_used_unless_its_costs_were_measured(keras, monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["GPU:0"])
    assert str(_choose(["model=cnn"], *DIGITS)) == "on: the model trains on a GPU"
    slow, fast = Costs({}, {"step": 3.0}), Costs({}, {"step": 1.0})
    monkeypatch.setattr(xla, "load_cost_table", {"gpu": CostTable(slow, fast)}.get)
    assert "steps on a GPU are estimated to take 3 times" in _choose(["model=cnn"], *DIGITS).reason


PROGRAM = """
import json, sys
from test_xla import CASES, _choose
from trainyard.system import import_tensorflow
import_tensorflow(1)
print(json.dumps([str(_choose(overrides, *data)) for overrides, data, _ in CASES.values()]))
"""


@pytest.mark.slow
def test_the_choice_is_the_same_in_every_process(keras, request):
    """Another process, with another number of threads and another order of Python's sets, gives the same reasons."""
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=request.path.parent)
    assert done.returncode == 0, done.stderr[-3000:]
    expected = [str(_choose(overrides, *data)) for overrides, data, _ in CASES.values()]
    assert json.loads(done.stdout.splitlines()[-1]) == expected


@pytest.mark.parametrize("preferred", ["on", "off"])
def test_the_choice_is_used_and_reported(keras, tiny, prefer_xla, preferred):
    prefer_xla(preferred)
    details = []

    class Listener(Progress):
        def detail(self, text):
            details.append(text)

    config = tiny("training.xla=auto")
    tensorflow_setup.configure_tensorflow(0, None)
    dataset = load_dataset(config.dataset, 0)
    result = train(config.model.build(dataset.spec), dataset, config, Listener(), lambda epoch, metrics: None)
    assert result.xla.on == (preferred == "on")
    assert f"XLA {result.xla}" in details
    assert "are estimated to take" in result.xla.reason


def test_the_costs_of_the_cpu_are_measured_and_the_table_is_part_of_the_package():
    assert xla_costs.COSTS_FILE.parent.name == "training"
    assert xla_costs.load_cost_table("cpu") is not None
    assert xla_costs.load_cost_table("tpu") is None
