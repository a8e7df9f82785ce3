"""The guarantees of `training.determinism`: across processes, numbers of threads and engines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest

from trainyard import ConfigError, compose_config
from trainyard.errors import TrainingError
from trainyard.system import tensorflow_setup

PROGRAM = """
import json, sys
from trainyard import compose_config, run_experiment
from trainyard.system import environment
result = run_experiment(compose_config(["dataset.limit=400", "model.hidden_units=[300,64]", "model.dropout=0.2",
                                        "training.epochs=2", "training.batch_size=64", "tracking=off", *sys.argv[1:]]))
print(json.dumps([environment.hash_weights(result.model), result.training.engine, str(result.training.xla)]))
"""


def _digest(*overrides: str) -> str:
    command = [sys.executable, "-c", PROGRAM, *overrides]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])[0]


def _digests(runs: Iterable[tuple[str, ...]]) -> list[str]:
    """Returns the digest of each run's weights. Two runs are trained in parallel."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda overrides: _digest(*overrides), runs))


@pytest.mark.slow
def test_seeded_runs_are_bit_identical_in_two_processes_with_and_without_xla():
    """The first process compiles, the second loads the program from the XLA cache. The results are bit-identical."""
    runs = [("seed=3", "training.threads=2", f"training.xla={xla}") for xla in ("on", "off")]
    (with_xla, without_xla), (with_xla_again, without_xla_again) = _digests(runs), _digests(runs)
    assert with_xla == with_xla_again != without_xla == without_xla_again
    assert _digest("seed=4", "training.threads=2", "training.xla=on") not in (with_xla, without_xla)


@pytest.mark.slow
def test_strict_runs_are_bit_identical_with_any_number_of_threads_and_both_engines():
    strict = ("seed=3", "training.determinism=strict")
    settings = [(1, "compiled"), (2, "compiled"), (4, "compiled"), (1, "fit"), (2, "fit")]
    digests = _digests(
        (*strict, f"training.threads={threads}", f"training.engine={engine}") for threads, engine in settings
    )
    assert len(set(digests)) == 1


@pytest.mark.slow
def test_off_uses_a_new_seed_each_time():
    digests = _digests([("seed=3", "training.threads=2", "training.determinism=off")] * 2)
    assert digests[0] != digests[1]


@pytest.mark.slow
def test_strict_requires_onednn():
    program = (
        "from trainyard import compose_config, run_experiment\n"
        "run_experiment(compose_config(['training.determinism=strict', 'tracking=off']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"},
    )
    assert "training.determinism: strict requires oneDNN" in done.stderr


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


@pytest.mark.slow
def test_off_logs_the_random_seed(keras, tiny):
    """With other values of determinism, the seed of the config is used."""
    from trainyard import run_experiment
    from trainyard.tracking.connection import connect

    seeds = []
    for determinism in ("off", "seeded"):
        result = run_experiment(tiny(f"training.determinism={determinism}", "training.epochs=1"))
        seeds.append(connect(result.tracking_uri).get_run(result.run_id).data.tags.get("drawn_seed"))
    assert 0 <= int(seeds[0]) < 2**32
    assert seeds[1] is None
