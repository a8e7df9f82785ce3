"""The guarantees of `training.determinism`: across processes, numbers of threads and engines."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from processes import run_program, run_trainyard

from trainyard import ConfigError, compose_config, run_experiment
from trainyard.config.registry import get_registered_components
from trainyard.errors import TrainingError
from trainyard.models.layers import LAYERS, list_required_arguments
from trainyard.system import tensorflow_setup
from trainyard.system.uris import build_sqlite_uri

PROGRAM = """
import json, sys
from trainyard import compose_config, run_experiment
from trainyard.system import environment
common = ["dataset.limit=400", "model.hidden_units=[300,64]", "model.dropout=0.2", "training.epochs=2",
          "training.batch_size=64", "tracking=off"]
results = [run_experiment(compose_config([*common, *overrides])) for overrides in json.loads(sys.argv[1])]
print(json.dumps([environment.hash_weights(result.model) for result in results]))
"""
"""Trains several configs and prints the digests of their weights."""


def _parse_digests(done: subprocess.CompletedProcess) -> list[str]:
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def _digests(*runs: tuple[str, ...]) -> list[str]:
    """Returns the digest of each run's weights. All runs are trained in one process."""
    return _parse_digests(run_program(PROGRAM, json.dumps(runs)))


def _digests_of_a_new_interpreter(*runs: tuple[str, ...]) -> list[str]:
    """Returns the digests of the runs in a new interpreter, with another order of Python's sets."""
    command = [sys.executable, "-c", PROGRAM, json.dumps(runs)]
    return _parse_digests(subprocess.run(command, capture_output=True, text=True, check=False))


@pytest.mark.slow
def test_seeded_runs_are_bit_identical_in_two_processes_with_and_without_xla():
    """Each process compiles its own program."""
    runs = [("seed=3", "training.threads=2", f"training.xla={xla}") for xla in ("on", "off")]
    other_seed = ("seed=4", "training.threads=2", "training.xla=off")
    with_xla, without_xla, other = _digests(*runs, other_seed)
    without_xla_again, with_xla_again = _digests_of_a_new_interpreter(*runs[::-1])
    assert with_xla == with_xla_again != without_xla == without_xla_again
    assert other not in (with_xla, without_xla)


@pytest.mark.slow
def test_strict_runs_are_bit_identical_with_any_number_of_threads_and_cores_and_both_engines():
    engines = [("seed=3", "training.determinism=strict", f"training.engine={engine}") for engine in ("compiled", "fit")]
    digests = [
        digest
        for threads, runs in ((1, engines), (2, engines[::-1]), (4, engines[:1]))
        for digest in _digests(*((*run, f"training.threads={threads}") for run in runs))
    ]
    one_core = "import os\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n" + PROGRAM
    digests += _parse_digests(run_program(one_core, json.dumps(engines[:1])))
    assert len(digests) == 6
    assert len(set(digests)) == 1


STRICT_PROGRAM = """
import json, sys
from trainyard import compose_config
from trainyard.data import load_dataset
from trainyard.system import Progress, configure_tensorflow, hash_weights, import_tensorflow
from trainyard.training import train
threads, common, variants = json.loads(sys.argv[1])
import_tensorflow(threads)
digests = {}
for name, overrides in variants.items():
    config = compose_config([*common, *overrides])
    configure_tensorflow(config.seed, threads, config.training.determinism, config.training.precision)
    dataset = load_dataset(config.dataset, config.seed)
    model = config.model.build(dataset.spec)
    history = train(model, dataset, config, Progress(), lambda epoch, metrics: None).history
    metrics = [{name: value for name, value in epoch.items() if not name.startswith("time/")} for epoch in history]
    digests[name] = [hash_weights(model), metrics]
print(json.dumps(digests))
"""
"""Trains several configs, and prints the digest of the weights and the history of each."""

STRICT = [
    "dataset.limit=160", "training.batch_size=48", "training.epochs=2", "training.determinism=strict", "seed=5",
]  # fmt: skip
MLP = ["model.hidden_units=[16]"]
ALL_AXES = ["shift=0.1", "rotate=10", "zoom=0.1", "flip_horizontal=true", "flip_vertical=true"]


def _list_layers(*layers):
    return ["model=sequential", f"model.layers=[{','.join(layers)}]"]


def _build_layer_variant(name):
    """Returns the overrides of a network with this layer after a convolution, or as a layer of a sequence."""
    values = {"units": 5, "filters": 4, "kernel_size": 3, "rate": 0.2, "stddev": 0.1, "dims": "[2,1,3]",
              "target_shape": "[16,16]", "activation": "gelu"}  # fmt: skip
    arguments = [f"{argument}:{values[argument]}" for argument in list_required_arguments(name)]
    arguments += {"GroupNormalization": ["groups:2"], "Cropping2D": ["cropping:1"]}.get(name, [])
    on_sequence = name.endswith("1D") or name in {"GRU", "LSTM", "SimpleRNN"}
    first = "{Reshape:{target_shape:[8,8]}}" if on_sequence else "{Conv2D:{filters:4,kernel_size:3,padding:same}}"
    return _list_layers(first, f"{{{name}:{{{','.join(arguments)}}}}}")


STRICT_VARIANTS = {
    "mlp": [],
    "mlp, batch norm, dropout": [*MLP, "model.batch_norm=true", "model.dropout=0.2", "model.l2=0.01"],
    "cnn": ["model=cnn", "model.filters=[4,8]"],
    "cnn, batch norm, dropout": ["model=cnn", "model.filters=[4]", "model.batch_norm=true", "model.dropout=0.2"],
    "conv, batch norm, gelu": _list_layers(
        "{Conv2D:{filters:4,kernel_size:3}}", "BatchNormalization", "ReLU", "Flatten", "{Dense:{units:64,activation:gelu}}"
    ),
    "penalties": _list_layers("{Conv2D:{filters:4,kernel_size:3,kernel_regularizer:{l1:0.01},activity_regularizer:{l2:0.01}}}"),
    "augmentation": [*MLP, "augmentation=affine", *(f"augmentation.{axis}" for axis in ALL_AXES)],
    "augmentation of a cnn": ["model=cnn", "model.filters=[4]", "augmentation=shift_rotate", "schedule=cosine"],
    "focal loss, label smoothing": [*MLP, "loss=focal", "loss.label_smoothing=0.1"],
    "label smoothing": [*MLP, "loss.label_smoothing=0.1"],
    "balanced classes": [*MLP, "training.balance_classes=true"],
    "standardised": [*MLP, "dataset.standardise=true"],
    "whole batches": [*MLP, "training.batch_size=40"],
    "validation, early stopping, plateau": [*MLP, "dataset.validation_fraction=0.2", "training.epochs=4",
                                            "training.early_stopping.patience=1", "training.plateau.patience=1"],
    "warmup, accumulation, average": [*MLP, "schedule=cosine", "schedule.warmup_epochs=1",
                                      "optimizer.gradient_accumulation_steps=3", "optimizer.use_ema=true"],
    **{f"schedule {name}": [*MLP, f"schedule={name}"] for name in get_registered_components("schedule")},
    **{f"optimizer {name}": [*MLP, f"optimizer={name}"] for name in get_registered_components("optimizer")},
    **{clipping: [*MLP, f"optimizer.{clipping}=0.5"] for clipping in ("clipnorm", "clipvalue", "global_clipnorm")},
    **{name: [*MLP, f"training.precision={name}"] for name in ("mixed_bfloat16", "mixed_float16")},
    **{f"layer {name}": _build_layer_variant(name) for name in LAYERS},
}  # fmt: skip


@pytest.fixture(scope="module")
def strict_results():
    """The digests and histories of all variants: with the compiled engine and three threads, and with fit and one."""

    def train_all(engine, threads):
        arguments = json.dumps([threads, [*STRICT, f"training.engine={engine}"], STRICT_VARIANTS])
        return _parse_digests(run_program(STRICT_PROGRAM, arguments, timeout=1200))

    with ThreadPoolExecutor() as pool:
        return [*pool.map(train_all, ("compiled", "fit"), (3, 1))]


@pytest.mark.slow
@pytest.mark.parametrize("variant", STRICT_VARIANTS)
def test_strict_trainings_are_bit_identical_in_both_engines(strict_results, variant):
    compiled, fit = (results[variant] for results in strict_results)
    assert compiled == fit


@pytest.mark.slow
def test_off_draws_and_logs_a_new_seed_each_time():
    """With other values of determinism, the seed of the config is used."""
    from trainyard.tracking.connection import connect

    small = ("dataset.limit=300", "model.hidden_units=[16]", "training.xla=off", "training.epochs=1", "name=tiny")
    for determinism in ("off", "off", "seeded"):
        done = run_trainyard("train", *small, f"training.determinism={determinism}")
        assert done.returncode == 0, done.stderr
    client = connect(build_sqlite_uri(Path("mlflow.db")))
    experiment = client.get_experiment_by_name("tiny").experiment_id
    runs = client.search_runs([experiment], order_by=["attributes.start_time"])
    first, second, seeded = [run.data.tags.get("drawn_seed") for run in runs]
    assert first != second
    assert all(0 <= int(seed) < 2**32 for seed in (first, second))
    assert seeded is None
    assert len({run.data.tags["weights_digest"] for run in runs}) == 3


def test_strict_requires_onednn(keras, monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    with pytest.raises(TrainingError, match=r"training\.determinism: strict requires oneDNN"):
        run_experiment(compose_config(["training.determinism=strict", "tracking=off"]))


def test_strict_rejects_xla():
    with pytest.raises(ConfigError, match=r"training\.xla: on is not possible with training\.determinism=strict"):
        compose_config(["training.determinism=strict", "training.xla=on"])


def test_unquoted_on_and_off_in_yaml_are_accepted(tmp_path):
    """YAML reads the unquoted words as booleans."""
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "mine.yaml").write_text("defaults: [default]\nxla: off\ndeterminism: off\n")
    training = compose_config(["training=mine"], config_dir=tmp_path).training
    assert (training.xla, training.determinism) == ("off", "off")
    assert compose_config(["training.xla=on"]).training.xla == "on"


def test_threads_cannot_change_after_tensorflow_is_initialized(keras, tiny):
    tensorflow_setup.configure_tensorflow(0, None)
    keras.ops.zeros(1)
    with pytest.raises(
        TrainingError, match=r"training\.threads: expected \d+, with which TensorFlow is already initialized"
    ):
        tensorflow_setup.configure_tensorflow(0, 64)
