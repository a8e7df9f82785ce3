"""Interrupted runs are found, and resumed only with an equal config and equal data."""

from __future__ import annotations

import copy
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from trainyard import ConfigError, DatasetError, run_experiment
from trainyard.cli.hydra_arguments import parse_arguments
from trainyard.cli.train import add_recorded_overrides, compose_job
from trainyard.config.compose import compose_config
from trainyard.config.serialization import find_config_differences
from trainyard.runs.lookup import find_run
from trainyard.runs.resume import load_resume_point
from trainyard.system import environment
from trainyard.system.progress import Progress
from trainyard.system.uris import build_sqlite_uri, get_sqlite_path
from trainyard.tracking import TrackingStore
from trainyard.tracking.connection import connect
from trainyard.training.checkpoint import CHECKPOINTS_FOLDER, find_checkpoints


class StopIn(Progress):
    def __init__(self, epoch):
        self.stop_epoch = epoch

    def step(self, epoch, epochs, step, steps):
        if epoch == self.stop_epoch:
            raise KeyboardInterrupt


OVERRIDES = ["dataset.limit=300", "model.hidden_units=[16]", "model.dropout=0.2", "training.epochs=4", "name=tiny",
             "training.checkpoint=true", "training.batch_size=100", "training.xla=off"]  # fmt: skip
UNTRACKED = [*OVERRIDES, "tracking=off"]


def _interrupt():
    """Interrupts a run in the third of four epochs, and returns its folder and its config."""
    config = compose_config(UNTRACKED)
    folder = Path("interrupted").absolute()
    with pytest.raises(KeyboardInterrupt):
        run_experiment(config, folder=folder, progress=StopIn(3), overrides=UNTRACKED)
    return folder, config


@pytest.fixture
def interrupted(keras, once):
    """Returns the folder of a run that was interrupted in the third of four epochs, and a copy of its config."""
    folder, config = once(_interrupt)
    return folder, copy.deepcopy(config)


@pytest.fixture
def own_copy(interrupted):
    """Returns a copy of the folder of the interrupted run, which a test may change, and a config that resumes it."""
    folder, config = interrupted
    copied = Path(shutil.copytree(folder, "copy"))
    config.resume = str(copied)
    return copied, config


@pytest.fixture
def resumed(keras, once, interrupted):
    """A run that was interrupted, resumed as a tracked run, interrupted again at once, and resumed to its end."""

    def resume_twice():
        folder, untracked = interrupted
        config = compose_config([*OVERRIDES, f"resume={folder}"])
        with pytest.raises(KeyboardInterrupt):
            run_experiment(config, folder="second", progress=StopIn(3))
        uri = build_sqlite_uri(Path("mlflow.db"))
        client = connect(uri)
        (experiment,) = [item for item in client.search_experiments() if item.name == "tiny"]
        (killed,) = client.search_runs([experiment.experiment_id])
        config.resume = killed.info.run_id
        return SimpleNamespace(
            uri=uri, client=client, killed_id=killed.info.run_id, second=Path("second").absolute(),
            last=run_experiment(config), uninterrupted=run_experiment(untracked),
        )  # fmt: skip

    return once(resume_twice)


def _compose(resumed, *overrides):
    """Composes a config that uses the store of the resumed run."""
    return compose_config([*OVERRIDES, f"tracking.uri={resumed.uri}", *overrides])


def test_a_resumed_run_equals_an_uninterrupted_one(resumed):
    last, uninterrupted = resumed.last, resumed.uninterrupted
    assert environment.hash_weights(last.model) == environment.hash_weights(uninterrupted.model)
    assert len(last.training.history) == 4
    for metrics, expected in zip(last.training.history, uninterrupted.training.history, strict=True):
        assert {**metrics, "time/epoch_seconds": 0} == {**expected, "time/epoch_seconds": 0}
    assert last.folder != resumed.second
    names = [path.name for path in find_checkpoints(last.folder / CHECKPOINTS_FOLDER)]
    assert names == ["epoch_000004.npz", "epoch_000003.npz"]


def test_the_interrupted_run_stays_killed_and_the_new_run_has_its_id_as_tag(resumed):
    client, run_id = resumed.client, resumed.last.run_id
    run = client.get_run(run_id)
    assert (run.info.status, client.get_run(resumed.killed_id).info.status) == ("FINISHED", "KILLED")
    assert run.data.tags["resumed_from"] == resumed.killed_id
    for name in ("loss/train", "accuracy/train"):
        resumed_values, killed_values = (
            {m.step: m.value for m in client.get_metric_history(r, name)} for r in (run_id, resumed.killed_id)
        )
        assert list(resumed_values) == [1, 2, 3, 4]
        assert {step: resumed_values[step] for step in killed_values} == killed_values
        assert list(killed_values) == [1, 2]
    assert CHECKPOINTS_FOLDER not in [artifact.path for artifact in client.list_artifacts(run_id)]
    assert "config.yaml" in [artifact.path for artifact in client.list_artifacts(run_id)]


def test_a_resumed_run_can_be_interrupted_and_resumed_again(resumed):
    """A resumed run that is interrupted in its first epoch has a copy of the checkpoint it resumed from."""
    assert [path.name for path in find_checkpoints(resumed.second / CHECKPOINTS_FOLDER)] == ["epoch_000002.npz"]
    assert len(resumed.last.training.history) == 4


@pytest.mark.parametrize(("recorded", "preferred"), [("on", "off"), ("off", "on")])
def test_a_resumed_run_uses_the_recorded_choice_of_xla(keras, prefer_xla, recorded, preferred):
    """Another choice would change the last bits of the result, for example if the costs have been measured again."""
    overrides = [*UNTRACKED, "training.xla=auto", "model.dropout=0"]
    prefer_xla(recorded)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(compose_config(overrides), folder="first", progress=StopIn(3))
    prefer_xla(preferred)
    resumed = run_experiment(compose_config([*overrides, "resume=first"]))
    assert str(resumed.training.xla) == f"{recorded}: as in the resumed run"
    uninterrupted = run_experiment(compose_config([*overrides, f"training.xla={recorded}"]))
    assert environment.hash_weights(resumed.model) == environment.hash_weights(uninterrupted.model)


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
def test_a_different_config_is_rejected_with_the_difference(interrupted, change, difference):
    folder, _ = interrupted
    config = compose_config([*UNTRACKED, change, f"resume={folder}"])
    with pytest.raises(ConfigError) as raised:
        run_experiment(config)
    assert str(raised.value).startswith(f"resume: the config differs from that of run {folder}:\n")
    assert difference in str(raised.value)
    assert not list(Path.cwd().iterdir())


def test_threads_paths_and_tracking_can_differ(interrupted):
    folder, config = interrupted
    other = compose_config([*OVERRIDES, "training.threads=1", "name=other", "notes=more", "training.checkpoint=false"])
    assert find_config_differences(config, other) == []
    other.resume = str(folder)
    assert load_resume_point(other, None).checkpoint.epoch == 2


def test_other_images_are_rejected(keras, interrupted, monkeypatch):
    folder, config = interrupted
    config.resume = str(folder)
    from trainyard.data import Digits

    load = Digits.load

    def changed(self, progress):
        dataset = load(self, progress)
        dataset.train.images[:, 0, 0] ^= 1
        return dataset

    monkeypatch.setattr(Digits, "load", changed)
    with pytest.raises(DatasetError, match=f"resume: expected the images of run {folder}"):
        run_experiment(config)


def test_a_damaged_checkpoint_is_skipped_and_reported(keras, own_copy):
    folder, config = own_copy
    last, _ = find_checkpoints(folder / CHECKPOINTS_FOLDER)
    last.write_bytes(last.read_bytes()[:-50])
    details = []

    class Listener(Progress):
        def detail(self, text):
            details.append(text)

    assert len(run_experiment(config, progress=Listener()).training.history) == 4
    assert any("epoch_000002.npz: the file is damaged" in line for line in details)
    assert f"resuming after epoch 1 of run {folder}" in details


def test_a_run_that_cannot_be_resumed_raises_with_the_reason(own_copy):
    folder, config = own_copy
    for reference, message in [
        ("nonsense", "resume: expected an existing folder of a run (tracking is off"),
        (".", "config.yaml: expected a resolved config"),
    ]:
        config.resume = reference
        with pytest.raises(ConfigError) as raised:
            load_resume_point(config, None)
        assert message in str(raised.value)
    shutil.rmtree(folder / CHECKPOINTS_FOLDER)
    config.resume = str(folder)
    with pytest.raises(ConfigError, match=r"has no valid checkpoint in .* if it had training\.checkpoint=true"):
        load_resume_point(config, None)


def test_an_unknown_run_id_raises(resumed):
    with pytest.raises(ConfigError, match=r"resume: sqlite:.* has no run '0?123'\. Copy the id from the MLflow UI"):
        run_experiment(_compose(resumed, "resume=0123"))


def test_a_finished_run_cannot_be_resumed(resumed):
    run_id = resumed.last.run_id
    with pytest.raises(ConfigError, match=f"resume: run {run_id} has already finished; there is nothing to resume"):
        run_experiment(_compose(resumed, f"resume='{run_id}'"))


def test_a_resume_asks_the_store_once_for_the_run(resumed, monkeypatch):
    from mlflow import MlflowClient

    get_run, requested = MlflowClient.get_run, []

    def count(self, run_id):
        requested.append(run_id)
        return get_run(self, run_id)

    monkeypatch.setattr(MlflowClient, "get_run", count)
    config = _compose(resumed, f"resume='{resumed.killed_id}'")
    assert load_resume_point(config, TrackingStore(resumed.uri)).checkpoint.epoch == 2
    assert requested == [resumed.killed_id]


def test_a_run_is_found_by_its_id_its_folder_and_a_file_in_it(resumed):
    store, last = TrackingStore(resumed.uri), resumed.last
    by_id = find_run(last.run_id, store, "resume")
    assert (by_id.store, by_id.folder) == (store, last.folder)
    for reference in (last.folder, last.folder / "config.yaml"):
        run = find_run(str(reference), None, "resume")
        assert (run.store, run.folder, run.identity) == (None, last.folder, last.run_id)
        for name in ("run_id", "key", "name", "experiment", "status", "seed", "test_digest", "config_key"):
            assert getattr(run, name) == getattr(by_id, name), name
        assert run.metrics == by_id.metrics
        assert run.params["model.hidden_units"] == by_id.params["model.hidden_units"] == [16]
        assert run.load_history(["loss/train"]) == by_id.load_history(["loss/train"])
    with pytest.raises(ConfigError, match="resume: expected the id or the folder of a run, got an empty value"):
        find_run("", store, "resume")
    Path("notes").touch()  # a file that is not in the folder of a run
    with pytest.raises(ConfigError, match=r"resume: sqlite:.* has no run 'notes'"):
        find_run("notes", store, "resume")


def test_a_running_run_cannot_be_resumed(resumed):
    shutil.copyfile(get_sqlite_path(resumed.uri), "mlflow.db")
    uri, run_id = build_sqlite_uri(Path("mlflow.db")), resumed.killed_id
    client = connect(uri)
    client.update_run(run_id, status="RUNNING")
    config = compose_config([*OVERRIDES, f"resume='{run_id}'"])
    with pytest.raises(ConfigError, match=rf"run {run_id} is still running, as process {os.getpid()}"):
        run_experiment(config)
    client.set_tag(run_id, "pid", "999999999")
    load_resume_point(config, TrackingStore(uri))
    assert client.get_run(run_id).info.status == "KILLED"


def test_a_process_is_identified_by_id_and_start_time():
    process = environment.collect_process_info()
    assert process["host"] == socket.gethostname()
    assert environment.is_process_alive(process["pid"], process["started"])
    assert not environment.is_process_alive(process["pid"], "2001-01-01T00:00:00.000+00:00")
    assert not environment.is_process_alive("", "")
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    assert not environment.is_process_alive(str(child.pid), process["started"])


def test_resume_repeats_the_recorded_overrides(interrupted):
    folder, _ = interrupted
    assert add_recorded_overrides([f"resume={folder}"]) == [*UNTRACKED, f"resume='{folder}'"]
    arguments = add_recorded_overrides(["training.threads=1", f"resume={folder}", "tracking=local"])
    assert arguments == ["training.threads=1", "tracking=local", *OVERRIDES, f"resume='{folder}'"]
    options = parse_arguments(arguments)
    compose_job(options, options.overrides)
    assert add_recorded_overrides(["model=mlp"]) == ["model=mlp"]
    with pytest.raises(ConfigError, match="resume: resumes a single run, but --multirun has several"):
        add_recorded_overrides(["-m", f"resume={folder}", "seed=1,2"])
