"""Databases of older and newer versions of MLflow are refused or copied before they are changed."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from trainyard import ConfigError, load_run
from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking import TrackingStore, cache_latest_schema_revision, describe_upgrade


def test_a_database_of_an_older_mlflow_is_not_changed_by_reading(older_store):
    before = older_store.read_bytes()
    with pytest.raises(ConfigError, match="one of an older version. It was not changed.* mlflow db upgrade sqlite:///"):
        load_run("0" * 32)
    assert older_store.read_bytes() == before
    assert {path.name for path in Path().iterdir()} == {"mlflow.db"}


@pytest.mark.slow
def test_a_database_of_an_older_mlflow_is_copied_before_it_is_upgraded(older_store):
    before = _dump(older_store)
    for _ in range(2):
        store = TrackingStore.default()
        store.open_experiment("tiny", "")
    (copy,) = Path().glob("mlflow.db.before-*")
    assert _dump(copy) == before
    assert store.notices == []
    assert store.client.get_experiment_by_name("tiny").name == "tiny"


def test_mlflow_reads_its_schema_revisions_once(tmp_path, new_store, monkeypatch):
    from mlflow.store.db import utils

    new_store(tmp_path / "mlflow.db")
    monkeypatch.setattr(utils, "_get_latest_schema_revision", utils._get_latest_schema_revision)  # restored at the end
    cache_latest_schema_revision()
    monkeypatch.setattr(utils, "ScriptDirectory", None)
    assert TrackingStore(build_sqlite_uri(tmp_path / "mlflow.db")).client.search_experiments()


def _dump(file):
    with contextlib.closing(sqlite3.connect(file)) as connection:
        return list(connection.iterdump())


INTERRUPTED = """
import os, sqlite3
connection = sqlite3.connect("mlflow.db", isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN")
connection.execute("CREATE TABLE filler (text TEXT)")
connection.executemany("INSERT INTO filler VALUES (?)", [("x" * 4000,)] * 200)
os._exit(1)
"""
"""A program that is killed while it writes to the database, and leaves a journal."""


@pytest.mark.parametrize("writes", [False, True])
def test_an_interrupted_write_does_not_prevent_the_use_of_a_store(new_store, writes):
    new_store(Path("mlflow.db")).create_experiment("tiny")
    subprocess.run([sys.executable, "-c", INTERRUPTED], check=False)
    assert Path("mlflow.db-journal").stat().st_size
    store = TrackingStore.default()
    if writes:
        store.open_experiment("other", "")
    assert store.find_experiment_id("tiny") == "1"


def test_a_database_of_a_newer_mlflow_is_refused(new_store):
    new_store(Path("mlflow.db"))
    with contextlib.closing(sqlite3.connect("mlflow.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    with pytest.raises(ConfigError, match="got one of a newer version"):
        load_run("0" * 32)


def test_the_upgrade_of_a_server_database_does_not_show_its_password():
    text = describe_upgrade("postgresql://ada:canary@host/runs")
    assert text == 'make a backup, then run: mlflow db upgrade "$MLFLOW_TRACKING_URI"'


@pytest.mark.parametrize(
    "name", ["a%2Fb", "a%20b", "a%25b", "100%", "a?b", "a#b", "a b;c&token=x", "\u00fcn\u00efcode"]
)
def test_a_store_works_in_a_folder_with_any_name(name):
    folder = Path(name).absolute()
    folder.mkdir()
    store = TrackingStore(build_sqlite_uri(folder / "mlflow.db"))
    assert store.sqlite_file == folder / "mlflow.db"
    experiment_id = store.open_experiment("x", "")
    run_id = store.create_run(experiment_id, "a run", {}).info.run_id
    Path("file.txt").write_text("x")
    store.client.log_artifact(run_id, "file.txt")
    Path("downloaded").mkdir()
    store.download_files(run_id, ["file.txt"], Path("downloaded"))
    assert Path("downloaded/file.txt").read_text() == "x"
    assert len(list(folder.rglob("file.txt"))) == 1
    assert {path.name for path in Path().iterdir()} == {name, "file.txt", "downloaded"}
