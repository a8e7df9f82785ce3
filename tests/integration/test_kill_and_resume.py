"""Runs that are killed with SIGKILL at random moments, twice, and resumed: the results are bit-identical."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from trainyard.training.checkpoint import CHECKPOINTS_FOLDER, find_checkpoints, load_checkpoint

pytestmark = pytest.mark.slow

EPOCHS = 30
RECIPE = [
    "dataset.validation_fraction=0.1", "model.hidden_units=[256,128]", "model.dropout=0.3", "schedule=cosine",
    f"training.epochs={EPOCHS}", "training.batch_size=8", "training.checkpoint=true", "training.threads=2",
]  # fmt: skip


def _start(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).with_name("trainyard")), "train", *overrides, f"hydra.run.dir={folder}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def _start_and_kill(folder: Path, checkpoints: int, generator: random.Random, *overrides: str) -> None:
    """Starts a run, waits until it has written some checkpoints, and kills it at a random moment after that."""
    process = _start(folder, *overrides)
    initial = {path.name for path in find_checkpoints(folder / CHECKPOINTS_FOLDER)}
    seen: set[str] = set()
    deadline = time.monotonic() + 300
    while len(seen - initial) < checkpoints:
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < deadline
        seen |= {path.name for path in find_checkpoints(folder / CHECKPOINTS_FOLDER)}
        time.sleep(0.002)
    time.sleep(generator.uniform(0, 0.15))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def _state(folder: Path) -> tuple[int, list[dict[str, float]], dict[str, np.ndarray]]:
    checkpoint = load_checkpoint(find_checkpoints(folder / CHECKPOINTS_FOLDER)[0])
    history = [
        {name: metrics[name] for name in metrics if not name.startswith("time/")} for metrics in checkpoint.history
    ]
    return checkpoint.epoch, history, checkpoint.variables


@pytest.mark.parametrize("tracking", ["off", "local"])
def test_a_run_killed_twice_and_resumed_equals_an_uninterrupted_one(tracking):
    """Compares weights, optimizer, seed generators and history. A tracked run is resumed by its id, else by folder."""
    generator = random.Random(time.time_ns())
    recipe = [*RECIPE, f"tracking={tracking}"]
    uninterrupted, first, second, third = (Path(f"outputs/{name}") for name in ("whole", "first", "second", "third"))
    with _start(uninterrupted, *recipe) as uninterrupted_process:  # in parallel to the others
        _start_and_kill(first, generator.randint(1, 8), generator, *recipe)
        assert load_checkpoint(find_checkpoints(first / CHECKPOINTS_FOLDER)[0]).epoch < EPOCHS
        _start_and_kill(second, generator.randint(2, 6), generator, f"resume={_reference(tracking, 'first', first)}")
        output = _finish(_start(third, f"resume={_reference(tracking, 'second', second)}"))
        _finish(uninterrupted_process)

    assert "resuming after epoch" in output
    epoch, history, variables = _state(third)
    expected_epoch, expected_history, expected = _state(uninterrupted)
    assert epoch == expected_epoch == EPOCHS
    assert history == expected_history
    assert variables.keys() == expected.keys()
    assert any("optimizer" in name for name in variables)
    for name, array in variables.items():
        assert array.tobytes() == expected[name].tobytes(), name
    if tracking == "local":
        _check_store()


def _reference(tracking: str, name: str, folder: Path) -> str:
    """Returns the id of a run in the store, or its folder if tracking is off."""
    if tracking == "off":
        return str(folder)
    (run,) = [run for run in _runs() if run.data.tags["trainyard.folder"].endswith(f"/{name}")]
    assert re.fullmatch("[0-9a-f]{32}", run.info.run_id)
    return run.info.run_id


def _runs():
    from trainyard.system.uris import build_sqlite_uri
    from trainyard.tracking.connection import connect

    client = connect(build_sqlite_uri(Path("mlflow.db")))
    experiment_ids = [
        experiment.experiment_id for experiment in client.search_experiments() if experiment.name != "Default"
    ]
    return client.search_runs(experiment_ids)


def _check_store() -> None:
    runs = {Path(run.data.tags["trainyard.folder"]).name: run for run in _runs()}
    statuses = {name: run.info.status for name, run in runs.items()}
    assert statuses == {"whole": "FINISHED", "first": "KILLED", "second": "KILLED", "third": "FINISHED"}
    assert runs["third"].data.tags["resumed_from"] == runs["second"].info.run_id
    assert runs["second"].data.tags["resumed_from"] == runs["first"].info.run_id
    assert runs["third"].data.tags["weights_digest"] == runs["whole"].data.tags["weights_digest"]
