"""Tracking stores: where they come from, and what they do before they are connected."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from processes import command_line
from sqlalchemy import Engine, event
from stand_ins import STORE_VARIABLE

from trainyard import ConfigError, TrackingError
from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking import TrackingStore
from trainyard.tracking.stores import LocalStore, NoStore, ServerStore


def test_a_store_is_that_of_the_option_else_of_the_environment_else_of_the_working_directory(monkeypatch):
    here = TrackingStore(build_sqlite_uri(Path("mlflow.db")))
    assert TrackingStore.default() == TrackingStore.from_option(None) == TrackingStore.from_config(LocalStore()) == here
    assert TrackingStore.from_config(NoStore()) is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:canary@host:1")
    for store in (TrackingStore.default(), TrackingStore.from_option(None), TrackingStore.from_config(ServerStore())):
        assert store == TrackingStore("http://ada:canary@host:1")
        assert (store.name, store.sqlite_file, store.is_server) == ("http://***@host:1", None, True)
    assert TrackingStore.from_option("sqlite:///own.db").sqlite_file == Path("own.db").absolute()
    with pytest.raises(ConfigError, match=r"--to: expected http://"):
        TrackingStore.from_option("ftp://host", "--to")


def test_a_missing_sqlite_file_is_an_error_and_only_opening_an_experiment_creates_it():
    store = TrackingStore.default()
    for read in (lambda: store.load_run("0"), lambda: store.search_runs(None, ""), lambda: store.mark_killed("0")):
        with pytest.raises(TrackingError, match=r"mlflow\.db: there are no runs here yet"):
            read()
    assert not list(Path.cwd().iterdir())
    experiment_id = store.open_experiment("tiny", "Notes.")
    assert store.open_experiment("tiny", "") == experiment_id
    run_id = store.client.create_run(experiment_id).info.run_id
    assert [run.run_id for run in store.search_runs("tiny", "")] == [store.load_run(run_id).run_id] == [run_id]


def test_only_the_creation_of_a_store_does_not_wait_for_the_disk_after_each_change(monkeypatch):
    def record(connection):
        level = connection.connection.driver_connection.execute("PRAGMA synchronous").fetchone()[0]
        levels[Path(connection.engine.url.database).name].add(level)

    levels = defaultdict(set)
    monkeypatch.delenv(STORE_VARIABLE)  # which names a store to copy
    event.listen(Engine, "commit", record)
    try:
        store = TrackingStore.default()
        store.open_experiment("tiny", "")
        store.client.create_experiment("other")
    finally:
        event.remove(Engine, "commit", record)
    off, full = 0, 2
    assert levels == {"partial.mlflow.db": {off}, "mlflow.db": {full}}


@pytest.mark.parametrize("name", ["64 relu seed3", '5% a_b "x" \\', "#2"])
def test_names_of_runs_are_unique_in_their_experiment(new_store, name):
    new_store(Path("mlflow.db"))
    store = TrackingStore.default()
    experiment, other = (store.open_experiment(experiment, "") for experiment in ("tiny", "other"))

    def create(experiment_id, name):
        return store.create_run(experiment_id, name, {}).info.run_name

    assert [create(experiment, f"{name} longer"), create(experiment, name)] == [f"{name} longer", name]
    assert [create(experiment, name) for _ in range(2)] == [f"{name} #2", f"{name} #3"]
    assert create(other, name) == name


def test_a_connected_store_is_pickled_without_its_client(new_store):
    new_store(Path("mlflow.db"))
    store = TrackingStore.default()
    assert store.client is store.client
    copied = pickle.loads(pickle.dumps(store))
    assert copied == store
    assert "client" not in vars(copied)


PLUGIN = """
def open_store(store_uri, artifact_uri):
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    return SqlAlchemyStore(store_uri.replace("teamstore://", "sqlite://"), artifact_uri or "./artifacts")
"""


@pytest.mark.slow
def test_runs_are_logged_to_the_store_of_an_mlflow_plugin(new_store):
    """The plugin registers the scheme ``teamstore``, which opens a SQLite file."""
    info = Path("plugin/team_store-1.0.dist-info")
    info.mkdir(parents=True)
    Path("plugin/team_store.py").write_text(PLUGIN)
    info.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: team-store\nVersion: 1.0\n")
    info.joinpath("entry_points.txt").write_text("[mlflow.tracking_store]\nteamstore = team_store:open_store\n")
    file = Path("team.db").absolute()
    client = new_store(file)
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": f"teamstore:///{file}",
        "PYTHONPATH": f"{Path('plugin').absolute()}{os.pathsep}{os.environ['PYTHONPATH']}",
    }
    overrides = ["experiment=quickstart", "name=tiny", "dataset.limit=300", "training.epochs=1", "training.xla=off"]
    done = subprocess.run(
        command_line("train", *overrides), env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    experiment = client.get_experiment_by_name("tiny")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"


def test_a_folder_of_runs_of_other_programs_is_reported_before_the_first_run():
    Path("mlruns/0").mkdir(parents=True)
    Path("mlruns/0/meta.yaml").write_text("name: Default")
    store = TrackingStore.default()
    store.open_experiment("tiny", "")
    (notice,) = store.notices
    assert "mlflow migrate-filestore" in notice
    assert f"MLFLOW_TRACKING_URI={store.uri}" in notice
    again = TrackingStore.default()
    again.open_experiment("tiny", "")
    assert again.notices == []
