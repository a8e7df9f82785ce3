"""Runs whose store was away, or who had none: uploaded from their folders, each thing once, with real servers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainyard import ConfigError, TrackingError, run_experiment
from trainyard.cli.sync import sync_command
from trainyard.runs.sync import LiveRunError, sync_run
from trainyard.system.progress import Progress
from trainyard.system.uris import sqlite_uri
from trainyard.tracking import operations, ui_server
from trainyard.tracking.connection import connect
from trainyard.tracking.journal import JOURNAL, KEY_TAG, Journal, note_stored, read_account

SYNC = [sys.executable, "-c", "from trainyard.cli import main; main()", "sync"]


@pytest.fixture
def store(keras):
    """The URI of the store that runs go to from here."""
    return sqlite_uri(Path("mlflow.db"))


def _runs(uri):
    client = connect(uri)
    experiments = [found.experiment_id for found in client.search_experiments()]
    return client.search_runs(experiments, order_by=["attributes.start_time ASC"])


def _files(client, run_id, folder=None):
    for file in client.list_artifacts(run_id, folder):
        if file.is_dir:
            yield from _files(client, run_id, file.path)
        else:
            yield file.path


def _all_of(client, run):
    """Everything that a store knows of a run, but for what differs from run to run by its nature."""
    history = {
        name: [(value.step, value.value) for value in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
        if not name.startswith("time/")
    }
    of_process = {"pid", "started", "trainyard.folder", KEY_TAG, "mlflow.note.content", "command"}
    tags = {key: value for key, value in run.data.tags.items() if key not in of_process}
    params = {key: value for key, value in run.data.params.items() if not key.startswith("tracking.")}
    inputs = [(found.dataset.name, found.dataset.digest, found.tags[0].value) for found in run.inputs.dataset_inputs]
    models = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    for model in models:
        assert dict(model.params) == dict(run.data.params)
    return {
        "status": run.info.status,
        "name": run.info.run_name,
        "params": params,
        "tags": tags,
        "history": history,
        "inputs": sorted(inputs),
        "files": sorted(_files(client, run.info.run_id)),
        "models": [(model.name, model.status.name, {metric.key for metric in model.metrics}) for model in models],
    }


@pytest.mark.slow
def test_a_run_that_was_not_tracked_becomes_the_same_as_one_that_was(store, tiny, capsys):
    config = tiny("training.determinism=seeded")
    run_experiment(config)
    config.tracking = tiny("tracking=off").tracking
    untracked = run_experiment(config).folder
    assert sync_command([untracked], None) == 0
    assert (
        capsys.readouterr().out == f"{untracked}: FINISHED, uploaded to {store} as run {_runs(store)[1].info.run_id}\n"
    )
    client = connect(store)
    tracked, uploaded = (client.get_run(run.info.run_id) for run in _runs(store))
    assert _all_of(client, uploaded) == _all_of(client, tracked)
    assert (
        uploaded.info.start_time
        < uploaded.info.end_time
        < untracked.joinpath("report.html").stat().st_mtime * 1e3 + 5e3
    )


def test_each_thing_is_uploaded_once_however_often_it_is_asked_for(store, tiny, capsys):
    folder = run_experiment(tiny("tracking=off")).folder
    sync_command([folder], None)
    (run,) = _runs(store)
    before = _all_of(connect(store), run)
    capsys.readouterr()
    assert sync_command([Path("outputs"), folder], None) == 0
    assert f"FINISHED, is already in {store} as run {run.info.run_id}" in capsys.readouterr().out
    _forget(folder)
    assert sync_command([folder], None) == 0
    (run,) = _runs(store)
    assert _all_of(connect(store), run) == before


def _forget(folder):
    """Makes it as if a sync was killed before it could note that it was done."""
    lines = [line for line in folder.joinpath(JOURNAL).read_text().splitlines() if '"stored"' not in line]
    folder.joinpath(JOURNAL).write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.slow
def test_a_store_that_lost_a_run_gets_it_again(store, tiny):
    folder = run_experiment(tiny()).folder
    connect(store).delete_run(_runs(store)[0].info.run_id)
    assert _runs(store) == []
    assert sync_command([folder], None) == 0
    assert [run.info.status for run in _runs(store)] == ["FINISHED"]


def test_a_run_may_be_in_two_stores(store, tiny):
    folder = run_experiment(tiny()).folder
    assert sync_command([folder], "sqlite:///other.db") == 0
    (here,), (there,) = _runs(store), _runs(sqlite_uri(Path("other.db")))
    assert here.data.tags[KEY_TAG] == there.data.tags[KEY_TAG]
    assert here.data.metrics == there.data.metrics


def _break_off(folder, seconds):
    """Starts a sync and kills it after a while."""
    with subprocess.Popen([*SYNC, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)
        process.kill()


@pytest.mark.slow
def test_a_sync_that_is_killed_at_any_moment_is_gone_on_with(store, tiny):
    folder = run_experiment(tiny("tracking=off")).folder
    _break_off(folder, 60)  # whole, to know how long one takes
    started = time.monotonic()
    _break_off(folder, 60)
    least = time.monotonic() - started
    Path("mlflow.db").unlink()
    _forget(folder)
    for part in range(6):
        _break_off(folder, least + 0.8 * part)
    assert sync_command([folder], None) == 0
    (run,) = _runs(store)
    of_run = _all_of(connect(store), run)
    assert (of_run["status"], [model[:2] for model in of_run["models"]]) == ("FINISHED", [("model", "READY")])
    assert [step for step, _ in of_run["history"]["loss/train"]] == [1, 2]


@pytest.mark.slow
def test_two_syncs_at_once_make_one_run(store, tiny):
    folder = run_experiment(tiny("tracking=off")).folder
    both = [subprocess.Popen([*SYNC, str(folder)], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.communicate()[1] for process in both}
    assert 0 in [process.returncode for process in both]
    assert all(not text or "another process syncs it now" in text for text in said)
    assert len(_runs(store)) == 1


@pytest.mark.slow
def test_a_store_that_is_locked_at_the_start_is_told_before_anything_is_trained(store, tiny):
    connect(store)  # makes it
    holder = sqlite3.connect("mlflow.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with contextlib.closing(holder), pytest.raises(TrackingError, match="database is locked"):
        run_experiment(tiny())
    (folder,) = Path("outputs/tiny").iterdir()
    assert not (folder / "model_summary.txt").exists()
    assert sync_command([folder], None) == 0
    assert [run.info.status for run in _runs(store)] == ["FAILED"]


# ---------------------------------------------------------------------------------------------------------------
# A real server that goes away in the middle


class GoesAway(Progress):
    """Ends a server at the first epoch, and has another in its place when the run evaluates, if it is to come back."""

    def __init__(self, uri, *, comes_back):
        self.uri, self.comes_back, self.details = uri, comes_back, []
        self.port = ui_server.free_port(5650)
        self.address = f"http://127.0.0.1:{self.port}"
        self.servers = contextlib.ExitStack()
        self.start()

    def start(self):
        self.server = self.servers.enter_context(ui_server.mlflow_server(self.uri, self.port))
        ui_server.wait_until_ready(self.server)

    def epoch(self, epoch, epochs, metrics):
        if epoch == 1:
            self.servers.close()

    def stage(self, name):
        if name == "evaluate" and self.comes_back:
            self.start()

    def detail(self, text):
        self.details.append(text)


@pytest.mark.slow
def test_a_server_that_was_away_for_a_while_is_told_all_of_it_at_the_end(store, tiny):
    progress = GoesAway(store, comes_back=True)
    with progress.servers:
        result = run_experiment(tiny(f"tracking.uri={progress.address}"), progress=progress)
    assert progress.details[-1] == "the tracking store works again, and has the whole run now"
    (run,) = _runs(store)
    assert (run.info.run_id, run.info.status) == (result.run_id, "FINISHED")
    assert "error" not in run.data.tags
    history = connect(store).get_metric_history(run.info.run_id, "accuracy/train")
    assert [value.step for value in history] == [1, 2]
    assert run.data.metrics["accuracy/test"] == result.evaluation.accuracy


class Hangs(GoesAway):
    """Stops a server at the first epoch: it takes what is sent and answers nothing, until the run says that it fails."""

    def epoch(self, epoch, epochs, metrics):
        if epoch == 1:
            os.killpg(self.server.process.pid, signal.SIGSTOP)

    def detail(self, text):
        super().detail(text)
        if "The run goes on" in text:
            os.killpg(self.server.process.pid, signal.SIGCONT)

    def stage(self, name):
        pass


@pytest.mark.slow
def test_a_server_that_hangs_for_a_while_is_told_all_of_it_at_the_end(store, tiny, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    progress = Hangs(store, comes_back=True)
    with progress.servers:
        result = run_experiment(tiny(f"tracking.uri={progress.address}"), progress=progress)
    assert progress.details[-1] == "the tracking store works again, and has the whole run now"
    (run,) = _runs(store)
    assert (run.info.run_id, run.info.status) == (result.run_id, "FINISHED")
    for name in ("accuracy/train", "loss/train"):
        history = connect(store).get_metric_history(run.info.run_id, name)
        assert {value.step for value in history} == {1, 2}


@pytest.mark.slow
def test_a_server_that_stays_away_gets_the_run_later(store, tiny):
    progress = GoesAway(store, comes_back=False)
    with pytest.raises(TrackingError, match=r"Nothing is lost: .* upload it: trainyard sync outputs/tiny/") as caught:
        run_experiment(tiny(f"tracking.uri={progress.address}"), progress=progress)
    folder = Path(str(caught.value).rpartition(" ")[2])
    assert (folder / "model.h5").exists()
    assert _runs(store)[0].info.status != "FINISHED"
    assert sync_command([folder], None) == 1  # still away
    progress.start()
    with progress.servers:
        assert sync_command([folder], None) == 0
        (run,) = _runs(store)
        of_run = _all_of(connect(progress.address), run)
    assert of_run["status"] == "FINISHED"
    assert "error" not in of_run["tags"]
    assert [step for step, _ in of_run["history"]["loss/train"]] == [1, 2]
    assert (
        of_run["history"]["accuracy/test"][0][1]
        == json.loads((folder / "evaluation/metrics.json").read_text())["accuracy/test"]
    )
    assert {"model.h5", "model.keras", "report.html", "config.yaml"} <= set(of_run["files"])
    assert [model[:2] for model in of_run["models"]] == [("model", "READY")]


@pytest.mark.slow
def test_a_store_that_was_locked_for_a_while_is_told_all_of_it_at_the_end(store, tiny):
    class Locking(Progress):
        """Keeps the store locked from the first epoch on, until the run says that the store fails."""

        def epoch(self, epoch, epochs, metrics):
            if epoch == 1:
                self.connection = sqlite3.connect("mlflow.db", isolation_level=None, timeout=30)
                self.connection.execute("BEGIN EXCLUSIVE")

        def detail(self, text):
            if "The run goes on" in text:
                assert "database is locked" in text
                self.connection.close()
                self.connection = None

    progress = Locking()
    run_experiment(tiny(), progress=progress)
    assert progress.connection is None
    (run,) = _runs(store)
    assert (run.info.status, "error" in run.data.tags) == ("FINISHED", False)
    assert [value.step for value in connect(store).get_metric_history(run.info.run_id, "loss/train")] == [1, 2]


# ---------------------------------------------------------------------------------------------------------------
# What a run's folder says


KILLED_RUN = """
import os, signal
from trainyard import compose_config, run_experiment
from trainyard.system.progress import Progress

class Killing(Progress):
    def epoch(self, epoch, epochs, metrics):
        if epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)

config = compose_config(["dataset.limit=300", "model.hidden_units=[16]", "tracking=off", "name=tiny"])
run_experiment(config, progress=Killing())
"""


@pytest.mark.slow
def test_a_run_that_was_killed_without_a_word_is_killed_in_the_store(store):
    assert subprocess.run([sys.executable, "-c", KILLED_RUN], check=False).returncode == -signal.SIGKILL
    assert sync_command([Path("outputs")], None) == 0
    (run,) = _runs(store)
    assert (run.info.status, run.data.metrics["loss/train"] > 0) == ("KILLED", True)
    assert "SIGKILL" in run.data.tags["error"]


def test_what_a_run_failed_with_goes_along(store, tiny):
    class Failing(Progress):
        def epoch(self, epoch, epochs, metrics):
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        run_experiment(tiny("tracking=off"), progress=Failing())
    assert sync_command([Path("outputs")], None) == 0
    (run,) = _runs(store)
    assert (run.info.status, run.data.tags["error"]) == ("FAILED", "RuntimeError: no more")


def test_a_run_that_still_goes_on_is_left_alone(tiny, capsys):
    class Syncing(Progress):
        def epoch(self, epoch, epochs, metrics):
            (folder,) = Path("outputs/tiny").iterdir()
            with pytest.raises(LiveRunError, match=f"still goes on, as process {os.getpid()}"):
                sync_run(folder, None, {})
            assert sync_command([folder], None) == 1
            assert sync_command([Path("outputs")], None) == 0

    run_experiment(tiny("tracking=off"), progress=Syncing())
    assert "still goes on" in capsys.readouterr().out
    assert not Path("mlflow.db").exists()


@pytest.mark.slow
def test_a_run_of_another_host_is_synced_there(tiny):
    folder = run_experiment(tiny("tracking=off")).folder
    lines = folder.joinpath(JOURNAL).read_text().splitlines()
    begin = json.loads(lines[0])
    begin["tags"]["host"] = "elsewhere"
    folder.joinpath(JOURNAL).write_text(json.dumps(begin) + "\n")
    with pytest.raises(LiveRunError, match="on the host elsewhere can't be seen from here"):
        sync_run(folder, "sqlite:///mlflow.db", {})


def test_a_password_is_asked_for_and_not_kept(tiny, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:canary@127.0.0.1:9")
    with pytest.raises(TrackingError):
        run_experiment(tiny())
    (folder,) = Path("outputs/tiny").iterdir()
    assert read_account(folder).uri == "http://***@127.0.0.1:9"
    with pytest.raises(ConfigError, match=r"http://\*\*\*@127\.0\.0\.1:9, wants the password"):
        sync_run(folder, None, {})
    with pytest.raises(TrackingError, match=r"http://\*\*\*@127\.0\.0\.1:9 can't be used"):
        sync_run(folder, None, os.environ)
    assert not any(b"canary" in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_torn_last_line_is_no_harm_and_a_damaged_one_is_told(tiny):
    folder = run_experiment(tiny("tracking=off")).folder
    journal = folder / JOURNAL
    whole = journal.read_text()
    journal.write_text(whole + '{"what": "ta')
    assert read_account(folder).status == "FINISHED"
    note_stored(folder, "sqlite:////x.db", "1")
    assert read_account(folder).stores == {"sqlite:////x.db": "1"}
    journal.write_text(whole.replace('"what": "inputs"', '"what": "inp'))
    with pytest.raises(ConfigError, match=rf"{JOURNAL}: line \d+ is damaged: "):
        read_account(folder)
    journal.write_text("")
    with pytest.raises(ConfigError, match="broken off before it had told anything"):
        read_account(folder)


def test_a_journal_that_cannot_be_written_is_told_and_the_run_goes_on(tiny, capsys):
    class Watching(Progress):
        """Takes the journal away for an epoch."""

        def __init__(self):
            self.details = []

        def epoch(self, epoch, epochs, metrics):
            (folder,) = Path("outputs/tiny").iterdir()
            if epoch == 1:
                (folder / JOURNAL).rename(folder / "aside")
                (folder / JOURNAL).mkdir()
            else:
                (folder / JOURNAL).rmdir()
                (folder / "aside").rename(folder / JOURNAL)

        def detail(self, text):
            self.details.append(text)

    progress = Watching()
    folder = run_experiment(tiny("tracking=off"), progress=progress).folder
    assert len([text for text in progress.details if "trainyard sync will lack what comes now" in text]) == 1
    assert read_account(folder).has_gap
    assert sync_command([folder], None) == 0
    assert "some of it is missing" in capsys.readouterr().out


def test_a_journal_whose_first_line_had_no_room_gets_it_before_all_others(tmp_path):
    told = []
    journal = Journal(tmp_path / "run", told.append)
    journal.begin(None, "tiny", "", "16 relu", {"seed": "0"}, model=True)
    journal.perform(operations.log_params, {"seed": 0})
    (tmp_path / "run").mkdir()
    journal.end("FINISHED")
    assert len(told) == 1
    account = read_account(tmp_path / "run")
    assert (account.key, account.status, account.params, account.has_gap) == (journal.key, "FINISHED", {}, True)


def test_what_a_signal_kept_from_the_store_is_uploaded(store, tiny, monkeypatch):
    log_metrics, broken_off = operations.log_metrics, []

    def interrupted(run, values, step, *rest):
        if step == 1 and not broken_off:
            broken_off.append(step)
            raise KeyboardInterrupt
        log_metrics(run, values, step, *rest)

    connect(store)  # with MLflow imported the run is told by this process
    monkeypatch.setattr(operations, "log_metrics", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(tiny())
    monkeypatch.setattr(operations, "log_metrics", log_metrics)
    (run,) = _runs(store)
    assert (run.info.status, "loss/train" in run.data.metrics) == ("KILLED", False)
    (folder,) = Path("outputs/tiny").iterdir()
    assert read_account(folder).stores == {}
    sync_run(folder, None, os.environ)
    (run,) = _runs(store)
    assert (run.info.status, "loss/train" in run.data.metrics) == ("KILLED", True)


@pytest.mark.parametrize(
    ("path", "to", "message"),
    [
        ("nowhere", None, "nowhere: expected the folder of a run, .* it is no folder"),
        (".", None, ": expected the folder of a run, .* it holds no run"),
        (".", "ftp://x", "--to: expected http"),
    ],
)
def test_wrong_usage_is_told(path, to, message):
    with pytest.raises(ConfigError, match=message):
        sync_command([Path(path)], to)
