"""An interrupted run is found, and gone on with only where it is the same training."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from trainyard import ConfigError, DatasetError, run_experiment
from trainyard.cli.hydra_arguments import parse_arguments
from trainyard.cli.train import check_arguments, repeat_interrupted
from trainyard.config.compose import compose_config, config_differences
from trainyard.runs.resume import load_earlier
from trainyard.system import environment
from trainyard.system.progress import Progress
from trainyard.training.checkpoint import CHECKPOINTS, checkpoint_files


class StopIn(Progress):
    def __init__(self, epoch):
        self.when = epoch

    def step(self, epoch, epochs, step, steps):
        if epoch == self.when:
            raise KeyboardInterrupt


OVERRIDES = ["dataset.limit=300", "model.hidden_units=[16]", "model.dropout=0.2", "training.epochs=4", "name=tiny",
             "training.checkpoint=true"]  # fmt: skip


@pytest.fixture
def interrupted(keras):
    """The folder of a run that was killed in its third of four epochs, and its config."""
    config = compose_config([*OVERRIDES, "tracking=off"])
    folder = Path("outputs/interrupted")
    with pytest.raises(KeyboardInterrupt):
        run_experiment(config, folder=folder, progress=StopIn(3), overrides=[*OVERRIDES, "tracking=off"])
    return folder, config


def test_a_resumed_run_equals_the_uninterrupted(keras, interrupted):
    folder, config = interrupted
    whole = run_experiment(config)
    config.resume = str(folder)
    resumed = run_experiment(config)
    assert environment.digest_weights(resumed.model) == environment.digest_weights(whole.model)
    assert len(resumed.training.history) == 4
    for mine, other in zip(resumed.training.history, whole.training.history, strict=True):
        assert {**mine, "time/epoch_seconds": 0} == {**other, "time/epoch_seconds": 0}
    assert resumed.folder != folder
    names = [path.name for path in checkpoint_files(resumed.folder / CHECKPOINTS)]
    assert names == ["epoch_000004.npz", "epoch_000003.npz"]


def test_in_the_store_the_interrupted_run_stays_killed_and_the_new_one_names_it(keras):
    from trainyard.system.uris import sqlite_uri
    from trainyard.tracking.connection import connect

    config = compose_config(OVERRIDES)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(config, progress=StopIn(3))
    client = connect(sqlite_uri(Path("mlflow.db")))
    (experiment,) = [found for found in client.search_experiments() if found.name == "tiny"]
    (killed,) = client.search_runs([experiment.experiment_id])
    config.resume = killed.info.run_id
    resumed = run_experiment(config)
    run = client.get_run(resumed.run_id)
    assert (run.info.status, client.get_run(killed.info.run_id).info.status) == ("FINISHED", "KILLED")
    assert run.data.tags["resumed_from"] == killed.info.run_id
    for name in ("loss/train", "accuracy/train"):
        mine, earlier = (
            {m.step: m.value for m in client.get_metric_history(r, name)} for r in (resumed.run_id, config.resume)
        )
        assert list(mine) == [1, 2, 3, 4]
        assert {step: mine[step] for step in earlier} == earlier
        assert list(earlier) == [1, 2]
    assert CHECKPOINTS not in [artifact.path for artifact in client.list_artifacts(resumed.run_id)]
    assert "config.yaml" in [artifact.path for artifact in client.list_artifacts(resumed.run_id)]


def test_a_chain_of_interruptions_can_be_resumed(keras, interrupted):
    """A resumed run that is killed before its first epoch holds the checkpoint that it began with."""
    folder, config = interrupted
    config.resume = str(folder)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(config, folder="outputs/second", progress=StopIn(3))
    config.resume = "outputs/second"
    assert len(run_experiment(config).training.history) == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("optimizer.learning_rate=0.01", "optimizer.learning_rate: 0.01, was 0.001"),
        ("model.hidden_units=[17]", "model.hidden_units: [17], was [16]"),
        ("training.epochs=9", "training.epochs: 9, was 4"),
        ("seed=1", "seed: 1, was 0"),
        ("optimizer=sgd", "optimizer.name: sgd, was adam"),
    ],
)
def test_another_training_is_refused_with_the_difference(interrupted, change, difference):
    folder, _ = interrupted
    config = compose_config([*OVERRIDES, "tracking=off", change, f"resume={folder}"])
    before = sorted(Path("outputs").iterdir())
    with pytest.raises(ConfigError) as raised:
        run_experiment(config)
    assert str(raised.value).startswith(f"resume: the run {folder} trained something else:\n")
    assert difference in str(raised.value)
    assert sorted(Path("outputs").iterdir()) == before


def test_threads_paths_and_tracking_may_differ(interrupted):
    folder, config = interrupted
    other = compose_config([*OVERRIDES, "training.threads=1", "name=other", "notes=more", "training.checkpoint=false"])
    assert config_differences(config, other) == []
    other.resume = str(folder)
    assert load_earlier(other, None).checkpoint.epoch == 2


def test_other_images_are_refused(keras, interrupted, monkeypatch):
    folder, config = interrupted
    config.resume = str(folder)
    from trainyard.data import Digits

    load = Digits.load

    def changed(self, progress):
        dataset = load(self, progress)
        dataset.train.images[:, 0, 0] ^= 1
        return dataset

    monkeypatch.setattr(Digits, "load", changed)
    with pytest.raises(DatasetError, match="resume: the run outputs/interrupted was trained on other images"):
        run_experiment(config)


def test_a_damaged_checkpoint_is_passed_over_aloud(keras, interrupted):
    folder, config = interrupted
    last, _ = checkpoint_files(folder / CHECKPOINTS)
    last.write_bytes(last.read_bytes()[:-50])
    told = []

    class Listener(Progress):
        def detail(self, text):
            told.append(text)

    config.resume = str(folder)
    assert len(run_experiment(config, progress=Listener()).training.history) == 4
    assert any("epoch_000002.npz: the checkpoint is damaged" in line for line in told)
    assert f"going on after epoch 1 of the run {folder}" in told


def test_what_cannot_be_resumed_says_why(interrupted):
    folder, config = interrupted
    for reference, message in [
        ("nonsense", "resume: expected the folder of a run, as nothing is tracked, got 'nonsense'"),
        (".", "config.yaml: expected a resolved config"),
    ]:
        config.resume = reference
        with pytest.raises(ConfigError) as raised:
            load_earlier(config, None)
        assert message in str(raised.value)
    shutil.rmtree(folder / CHECKPOINTS)
    config.resume = str(folder)
    with pytest.raises(ConfigError, match=r"left no checkpoint in .*Only a run with training\.checkpoint=true"):
        load_earlier(config, None)


def test_a_run_that_the_store_does_not_know(keras):
    run_experiment(compose_config(OVERRIDES))
    config = compose_config([*OVERRIDES, "resume=0123"])
    with pytest.raises(ConfigError, match=r"resume: sqlite:.* has no run '0?123'\. Copy the id from the MLflow UI"):
        run_experiment(config)


def test_of_a_finished_run_nothing_is_left(keras):
    result = run_experiment(compose_config([*OVERRIDES, "training.epochs=1"]))
    config = compose_config([*OVERRIDES, "training.epochs=1", f"resume='{result.run_id}'"])
    with pytest.raises(ConfigError, match=f"resume: the run {result.run_id} is FINISHED, and nothing is left of it"):
        run_experiment(config)


def test_a_run_that_still_runs_is_left_alone(keras):
    from trainyard.tracking.connection import connect

    result = run_experiment(compose_config(OVERRIDES))
    client = connect(result.tracking_uri)
    client.update_run(result.run_id, status="RUNNING")
    config = compose_config([*OVERRIDES, f"resume='{result.run_id}'"])
    with pytest.raises(ConfigError, match=rf"the run {result.run_id} still runs, as process {os.getpid()}"):
        run_experiment(config)
    client.set_tag(result.run_id, "pid", "999999999")
    load_earlier(config, result.tracking_uri)
    assert client.get_run(result.run_id).info.status == "KILLED"


def test_a_process_is_known_by_its_start_too():
    own = environment.describe_process()
    assert own["host"] == socket.gethostname()
    assert environment.is_alive(own["pid"], own["started"])
    assert not environment.is_alive(own["pid"], "2001-01-01T00:00:00.000+00:00")
    assert not environment.is_alive("", "")
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    assert not environment.is_alive(str(child.pid), own["started"])


def test_resume_alone_repeats_the_command(interrupted):
    folder, _ = interrupted
    assert repeat_interrupted([f"resume={folder}"]) == [*OVERRIDES, "tracking=off", f"resume='{folder}'"]
    again = repeat_interrupted(["training.threads=1", f"resume={folder}", "tracking=local"])
    assert again == ["training.threads=1", "tracking=local", *OVERRIDES, f"resume='{folder}'"]
    check_arguments(parse_arguments(again))
    assert repeat_interrupted(["model=mlp"]) == ["model=mlp"]
    with pytest.raises(ConfigError, match="resume: goes on with one run, and --multirun has several"):
        repeat_interrupted(["-m", f"resume={folder}", "seed=1,2"])
