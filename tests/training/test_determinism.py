"""The guarantees of `training.determinism`: across processes, numbers of threads and engines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from processes import run_program, run_trainyard

from trainyard import ConfigError, compose_config, run_experiment
from trainyard.errors import TrainingError
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
def test_strict_runs_are_bit_identical_with_any_number_of_threads_and_both_engines():
    engines = [("seed=3", "training.determinism=strict", f"training.engine={engine}") for engine in ("compiled", "fit")]
    digests = [
        digest
        for threads, runs in ((1, engines), (2, engines[::-1]), (4, engines[:1]))
        for digest in _digests(*((*run, f"training.threads={threads}") for run in runs))
    ]
    assert len(digests) == 5
    assert len(set(digests)) == 1


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
