"""What `training.determinism` promises, across processes, numbers of threads and engines."""

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
print(json.dumps([environment.digest_weights(result.model), result.training.engine, str(result.training.xla)]))
"""


def _digest(*overrides: str) -> str:
    command = [sys.executable, "-c", PROGRAM, *overrides]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])[0]


def _digests(runs: Iterable[tuple[str, ...]]) -> list[str]:
    """Returns the digest of each run's weights; two run side by side."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda overrides: _digest(*overrides), runs))


@pytest.mark.slow
def test_seeded_gives_the_same_bits_in_two_processes_with_and_without_xla():
    """The first process compiles, the second takes what XLA has kept: the same program, the same bits."""
    both = [("seed=3", "training.threads=2", f"training.xla={xla}") for xla in ("on", "off")]
    (first, without), (again, without_again) = _digests(both), _digests(both)
    assert first == again != without == without_again
    assert _digest("seed=4", "training.threads=2", "training.xla=on") not in (first, without)


@pytest.mark.slow
def test_strict_gives_the_same_bits_at_any_number_of_threads_and_in_both_engines():
    strict = ("seed=3", "training.determinism=strict")
    ways = [(1, "compiled"), (2, "compiled"), (4, "compiled"), (1, "fit"), (2, "fit")]
    digests = _digests(
        (*strict, f"training.threads={threads}", f"training.engine={engine}") for threads, engine in ways
    )
    assert len(set(digests)) == 1


@pytest.mark.slow
def test_off_draws_anew_each_time():
    digests = _digests([("seed=3", "training.threads=2", "training.determinism=off")] * 2)
    assert digests[0] != digests[1]


@pytest.mark.slow
def test_strict_cannot_be_had_without_onednn():
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
    assert "training.determinism: strict computes with oneDNN" in done.stderr


def test_strict_contradicts_xla():
    with pytest.raises(ConfigError, match=r"training\.xla: XLA rounds otherwise than TensorFlow"):
        compose_config(["training.determinism=strict", "training.xla=on"])


def test_on_and_off_may_be_written_as_yaml_reads_them(tmp_path):
    """YAML takes the bare words for truth values."""
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "mine.yaml").write_text("defaults: [default]\nxla: off\ndeterminism: off\n")
    training = compose_config(["training=mine"], config_dir=tmp_path).training
    assert (training.xla, training.determinism) == ("off", "off")
    assert compose_config(["training.xla=on"]).training.xla == "on"


def test_threads_are_fixed_once_tensorflow_runs(keras, tiny):
    tensorflow_setup.configure_tensorflow(0, None)
    keras.ops.zeros(1)
    with pytest.raises(TrainingError, match=r"training\.threads: expected \d+, with which TensorFlow runs already"):
        tensorflow_setup.configure_tensorflow(0, 64)


@pytest.mark.slow
def test_off_logs_what_it_drew(keras, tiny):
    """Only then: otherwise the seed says it."""
    from trainyard import run_experiment
    from trainyard.tracking.connection import connect

    drawn = []
    for determinism in ("off", "seeded"):
        result = run_experiment(tiny(f"training.determinism={determinism}", "training.epochs=1"))
        drawn.append(connect(result.tracking_uri).get_run(result.run_id).data.tags.get("drawn_seed"))
    assert 0 <= int(drawn[0]) < 2**32
    assert drawn[1] is None
