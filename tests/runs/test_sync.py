"""Runs that are missing or incomplete in a store are uploaded from their folders, once. Uses real servers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pages import suggested_commands
from processes import run_program, run_trainyard

from trainyard import ConfigError, TrackingError, run_experiment
from trainyard.cli.sync import sync as sync_command
from trainyard.runs.sync import LiveRunError, sync_run
from trainyard.system.progress import Progress
from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking import RunRequest, TrackingStore, names, operations, tracker
from trainyard.tracking.connection import connect
from trainyard.tracking.operation_log import OPERATION_LOG_FILE, OperationLog, load_operations, record_stored

MODEL = "16 relu sgd epochs2 batch300 +2 seed0"
"""The name of the logged model: the architecture, then the other settings in the name of the run."""


@pytest.fixture
def store(keras):
    """Returns the URI of the default store of this working directory."""
    return build_sqlite_uri(Path("mlflow.db"))


@pytest.fixture
def untracked(once, quick, keras):
    """Returns the folder of a finished run without tracking. It is a copy, which a test may upload or change."""

    def run_untracked():
        return run_experiment(quick("tracking=off"), folder="run").folder.absolute()

    return Path(shutil.copytree(once(run_untracked), "outputs/tiny/untracked"))


def _runs(uri):
    client = connect(uri)
    experiments = [item.experiment_id for item in client.search_experiments()]
    return client.search_runs(experiments, order_by=["attributes.start_time ASC"])


def _files(client, run_id, folder=None):
    for file in client.list_artifacts(run_id, folder):
        if file.is_dir:
            yield from _files(client, run_id, file.path)
        else:
            yield file.path


def _remove_number(name):
    """Returns the name of a run or model without the number that makes it unique."""
    return re.sub(r" #\d+$", "", name)


def _logged_data(client, run):
    """Returns everything that a store contains of a run, except values that always differ between runs."""
    history = {
        name: [(value.step, value.value) for value in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
        if not name.startswith("time/")
    }
    varying_tags = {
        "pid",
        "started",
        "trainyard.folder",
        names.RUN_KEY,
        "mlflow.note.content",
        "command",
        "mlflow.runName",
    }
    tags = {key: value for key, value in run.data.tags.items() if key not in varying_tags}
    params = {key: value for key, value in run.data.params.items() if not key.startswith("tracking.")}
    inputs = [(item.dataset.name, item.dataset.digest, item.tags[0].value) for item in run.inputs.dataset_inputs]
    models = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    for model in models:
        assert dict(model.params) == dict(run.data.params)
    return {
        "status": run.info.status,
        "name": _remove_number(run.info.run_name),
        "params": params,
        "tags": tags,
        "history": history,
        "inputs": sorted(inputs),
        "files": sorted(_files(client, run.info.run_id)),
        "models": [
            (_remove_number(model.name), model.status.name, {metric.key for metric in model.metrics})
            for model in models
        ],
    }


@pytest.mark.slow
def test_an_uploaded_untracked_run_equals_a_tracked_one(store, quick, untracked, capsys):
    run_experiment(quick())
    assert sync_command([untracked], None) == 0
    client = connect(store)
    uploaded, tracked = (client.get_run(run.info.run_id) for run in _runs(store))
    output = capsys.readouterr().out
    assert output.startswith(f"{untracked}: FINISHED, uploaded to {store} as run {uploaded.info.run_id}\n")
    assert suggested_commands(output) == {"see it": "trainyard ui"}
    assert _logged_data(client, uploaded) == _logged_data(client, tracked)
    assert (
        uploaded.info.start_time
        < uploaded.info.end_time
        < untracked.joinpath("report.html").stat().st_mtime * 1e3 + 5e3
    )


def test_repeated_uploads_log_everything_once(store, untracked, capsys):
    folder = untracked
    sync_command([folder], None)
    (run,) = _runs(store)
    before = _logged_data(connect(store), run)
    capsys.readouterr()
    assert sync_command([Path("outputs"), folder], None) == 0
    assert f"FINISHED, already in {store} as run {run.info.run_id}" in capsys.readouterr().out
    _forget(folder)
    assert sync_command([folder], None) == 0
    (run,) = _runs(store)
    assert _logged_data(connect(store), run) == before


def _forget(folder):
    """Removes the record of the upload from the journal, as if the sync had been killed before writing it."""
    lines = [line for line in folder.joinpath(OPERATION_LOG_FILE).read_text().splitlines() if '"stored"' not in line]
    folder.joinpath(OPERATION_LOG_FILE).write_text("".join(f"{line}\n" for line in lines))


def test_a_deleted_run_is_uploaded_again(store, quick):
    folder = run_experiment(quick("tracking.model=false")).folder
    connect(store).delete_run(_runs(store)[0].info.run_id)
    assert _runs(store) == []
    assert sync_command([folder], None) == 0
    assert [run.info.status for run in _runs(store)] == ["FINISHED"]


def test_a_run_can_be_in_two_stores(store, quick):
    folder = run_experiment(quick("tracking.model=false")).folder
    assert sync_command([folder], "sqlite:///other.db") == 0
    (here,), (there,) = _runs(store), _runs(build_sqlite_uri(Path("other.db")))
    assert here.data.tags[names.RUN_KEY] == there.data.tags[names.RUN_KEY]
    assert here.data.metrics == there.data.metrics


KILLED_SYNC = """
import signal, sys
signal.setitimer(signal.ITIMER_PROF, float(sys.argv.pop(1)))
from trainyard.cli import main
main()
"""
"""A signal that is not handled kills the process after some seconds of processor time."""


@pytest.mark.slow
def test_a_sync_that_is_killed_at_any_moment_can_be_repeated(store, untracked):
    codes, seconds = [], 0.05
    while 0 not in codes:
        done = run_program(KILLED_SYNC, str(seconds), "sync", str(untracked))
        codes.append(done.returncode)
        assert done.returncode in (0, -signal.SIGPROF), done.stderr
        seconds += 0.05
    assert len(codes) > 3
    assert sync_command([untracked], None) == 0
    (run,) = _runs(store)
    logged = _logged_data(connect(store), run)
    assert (logged["status"], [model[:2] for model in logged["models"]]) == ("FINISHED", [(MODEL, "READY")])
    assert [step for step, _ in logged["history"]["loss/train"]] == [1, 2]


@pytest.mark.slow
def test_two_concurrent_syncs_create_one_run(store, untracked):
    with ThreadPoolExecutor() as executor:
        done = [*executor.map(lambda _: run_trainyard("sync", str(untracked)), range(2))]
    assert 0 in [process.returncode for process in done]
    assert all(not process.stderr or "another process is uploading it" in process.stderr for process in done)
    assert len(_runs(store)) == 1


@pytest.mark.slow
def test_a_store_that_is_locked_at_the_start_is_reported_before_the_training(store, quick):
    connect(store)  # creates the database
    holder = sqlite3.connect("mlflow.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with contextlib.closing(holder), pytest.raises(TrackingError, match="is locked: another program"):
        run_experiment(quick())
    (folder,) = Path("outputs/tiny").iterdir()
    assert not (folder / "model_summary.txt").exists()
    assert sync_command([folder], None) == 0
    assert [run.info.status for run in _runs(store)] == ["FAILED"]


# ---------------------------------------------------------------------------------------------------------------
# A server that stops during the run


class StopsServer(Progress):
    """Stops the server after the first epoch. With `restarts`, starts it again when the run evaluates."""

    def __init__(self, server, *, restarts):
        self.server, self.restarts, self.details = server, restarts, []
        server.start()

    def epoch(self, epoch, epochs, metrics):
        if epoch == 1:
            self.server.stop()

    def stage(self, name):
        if name == "evaluate" and self.restarts:
            self.server.start()

    def detail(self, text):
        self.details.append(text)


@pytest.mark.slow
def test_a_server_that_was_down_for_a_while_receives_everything_at_the_end(store, quick, server, monkeypatch):
    monkeypatch.setattr(tracker, "_METRICS_SECONDS", 0.0)  # each epoch is a request
    progress = StopsServer(server(store), restarts=True)
    result = run_experiment(
        quick(f"tracking.uri={progress.server.address}", "tracking.retry_seconds=0"), progress=progress
    )
    assert progress.details[-1] == "the tracking store works again and now contains the complete run"
    (run,) = _runs(store)
    assert (run.info.run_id, run.info.status) == (result.run_id, "FINISHED")
    assert "error" not in run.data.tags
    history = connect(store).get_metric_history(run.info.run_id, "accuracy/train")
    assert [value.step for value in history] == [1, 2]
    assert run.data.metrics["accuracy/test"] == result.evaluation.accuracy


class HangsServer(StopsServer):
    """Suspends the server after the first epoch, until the run reports the failure. It does not answer meanwhile."""

    def __init__(self, server, monkeypatch):
        super().__init__(server, restarts=False)
        self.monkeypatch = monkeypatch

    def epoch(self, epoch, epochs, metrics):
        if epoch == 1:
            self.monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
            os.kill(self.server.pid, signal.SIGSTOP)

    def detail(self, text):
        super().detail(text)
        if "The run continues" in text:
            os.kill(self.server.pid, signal.SIGCONT)
            self.monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")


@pytest.mark.slow
def test_a_server_that_hangs_for_a_while_receives_everything_at_the_end(store, quick, server, monkeypatch):
    progress = HangsServer(server(store), monkeypatch)
    result = run_experiment(
        quick(f"tracking.uri={progress.server.address}", "tracking.retry_seconds=0"), progress=progress
    )
    assert progress.details[-1] == "the tracking store works again and now contains the complete run"
    (run,) = _runs(store)
    assert (run.info.run_id, run.info.status) == (result.run_id, "FINISHED")
    for name in ("accuracy/train", "loss/train"):
        history = connect(store).get_metric_history(run.info.run_id, name)
        assert {value.step for value in history} == {1, 2}


@pytest.mark.slow
def test_a_run_can_be_uploaded_later_if_the_server_stays_down(store, quick, server):
    progress = StopsServer(server(store), restarts=False)
    with pytest.raises(
        TrackingError, match=r"Nothing is lost: .* upload the run: trainyard sync outputs/tiny/"
    ) as caught:
        run_experiment(quick(f"tracking.uri={progress.server.address}", "tracking.retry_seconds=1"), progress=progress)
    folder = Path(str(caught.value).rpartition(" ")[2])
    assert (folder / "model.h5").exists()
    assert _runs(store)[0].info.status != "FINISHED"
    assert sync_command([folder], None) == 1  # the server is still down
    progress.server.start()
    assert sync_command([folder], None) == 0
    (run,) = _runs(store)
    logged = _logged_data(connect(progress.server.address), run)
    assert logged["status"] == "FINISHED"
    assert "error" not in logged["tags"]
    assert [step for step, _ in logged["history"]["loss/train"]] == [1, 2]
    assert (
        logged["history"]["accuracy/test"][0][1]
        == json.loads((folder / "evaluation/metrics.json").read_text())["accuracy/test"]
    )
    assert {"model.h5", "model.keras", "report.html", "config.yaml"} <= set(logged["files"])
    assert [model[:2] for model in logged["models"]] == [(MODEL, "READY")]


@pytest.mark.slow
def test_a_store_that_was_locked_for_a_while_receives_everything_at_the_end(store, quick):
    class Locking(Progress):
        """Locks the store after the first epoch, until the run reports the failure."""

        def epoch(self, epoch, epochs, metrics):
            if epoch == 1:
                self.connection = sqlite3.connect("mlflow.db", isolation_level=None, timeout=30)
                self.connection.execute("BEGIN EXCLUSIVE")

        def detail(self, text):
            if "The run continues" in text:
                assert "is locked: another program" in text
                self.connection.close()
                self.connection = None

    progress = Locking()
    run_experiment(quick("tracking.retry_seconds=0"), progress=progress)
    assert progress.connection is None
    (run,) = _runs(store)
    assert (run.info.status, "error" in run.data.tags) == ("FINISHED", False)
    assert [value.step for value in connect(store).get_metric_history(run.info.run_id, "loss/train")] == [1, 2]


# ---------------------------------------------------------------------------------------------------------------
# Runs that did not finish, and damaged journals


KILLED_RUN = """
import os, signal
from trainyard import compose_config, run_experiment
from trainyard.system.progress import Progress

class Killing(Progress):
    def epoch(self, epoch, epochs, metrics):
        if epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)

config = compose_config(["dataset.limit=300", "model.hidden_units=[16]", "training.xla=off", "tracking=off", "name=tiny"])
run_experiment(config, progress=Killing())
"""


@pytest.mark.slow
def test_a_run_that_received_sigkill_is_uploaded_as_killed(store):
    assert run_program(KILLED_RUN).returncode == -signal.SIGKILL
    assert sync_command([Path("outputs")], None) == 0
    (run,) = _runs(store)
    assert (run.info.status, run.data.metrics["loss/train"] > 0) == ("KILLED", True)
    assert "SIGKILL" in run.data.tags["error"]


def test_the_error_of_a_failed_run_is_uploaded(store, quick):
    class Failing(Progress):
        def epoch(self, epoch, epochs, metrics):
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        run_experiment(quick("tracking=off"), progress=Failing())
    assert sync_command([Path("outputs")], None) == 0
    (run,) = _runs(store)
    assert (run.info.status, run.data.tags["error"]) == ("FAILED", "RuntimeError: no more")


def test_a_running_run_is_not_uploaded(quick, capsys):
    class Syncing(Progress):
        def epoch(self, epoch, epochs, metrics):
            (folder,) = Path("outputs/tiny").iterdir()
            with pytest.raises(LiveRunError, match=f"still running, as process {os.getpid()}"):
                sync_run(folder)
            assert sync_command([folder], None) == 1
            assert sync_command([Path("outputs")], None) == 0

    run_experiment(quick("tracking=off", "training.epochs=1"), progress=Syncing())
    assert "still running" in capsys.readouterr().out
    assert not Path("mlflow.db").exists()


def test_an_open_run_of_another_host_is_not_uploaded(untracked):
    folder = untracked
    lines = folder.joinpath(OPERATION_LOG_FILE).read_text().splitlines()
    first_entry = json.loads(lines[0])
    first_entry["tags"]["host"] = "elsewhere"
    folder.joinpath(OPERATION_LOG_FILE).write_text(json.dumps(first_entry) + "\n")
    with pytest.raises(LiveRunError, match="may still be running on host elsewhere"):
        sync_run(folder, TrackingStore("sqlite:///mlflow.db"))


def test_a_password_is_required_but_not_saved(tiny, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:canary@127.0.0.1:9")
    with pytest.raises(TrackingError):
        run_experiment(tiny())
    (folder,) = Path("outputs/tiny").iterdir()
    assert load_operations(folder).uri == "http://***@127.0.0.1:9"
    with monkeypatch.context() as context:
        context.delenv("MLFLOW_TRACKING_URI")
        with pytest.raises(ConfigError, match=r"http://\*\*\*@127\.0\.0\.1:9, needs a password"):
            sync_run(folder)
    with pytest.raises(TrackingError, match=r"http://\*\*\*@127\.0\.0\.1:9 can't be used"):
        sync_run(folder)
    assert not any(b"canary" in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_an_incomplete_last_line_is_ignored_and_a_damaged_line_raises(untracked):
    folder = untracked
    journal = folder / OPERATION_LOG_FILE
    content = journal.read_text()
    journal.write_text(content + '{"what": "ta')
    assert load_operations(folder).status == "FINISHED"
    record_stored(folder, TrackingStore("sqlite:////x.db"), "1", "tiny #2")
    assert load_operations(folder).stores == {"sqlite:////x.db": "1"}
    journal.write_text(content.replace('"what": "inputs"', '"what": "inp'))
    with pytest.raises(ConfigError, match=rf"{OPERATION_LOG_FILE}: line \d+: expected an entry"):
        load_operations(folder)
    journal.write_text("")
    with pytest.raises(ConfigError, match="the operation log is empty because the run was interrupted"):
        load_operations(folder)


def test_a_journal_that_cannot_be_written_is_reported_and_the_run_continues(quick, capsys):
    class Watching(Progress):
        """Replaces the journal by a folder for one epoch."""

        def __init__(self):
            self.details = []

        def epoch(self, epoch, epochs, metrics):
            (folder,) = Path("outputs/tiny").iterdir()
            if epoch == 1:
                (folder / OPERATION_LOG_FILE).rename(folder / "aside")
                (folder / OPERATION_LOG_FILE).mkdir()
            else:
                (folder / OPERATION_LOG_FILE).rmdir()
                (folder / "aside").rename(folder / OPERATION_LOG_FILE)

        def detail(self, text):
            self.details.append(text)

    progress = Watching()
    folder = run_experiment(quick("tracking=off"), progress=progress).folder
    assert len([text for text in progress.details if "upload what is logged from now on" in text]) == 1
    assert load_operations(folder).has_gap
    assert sync_command([folder], None) == 0
    assert "some data is missing" in capsys.readouterr().out


def test_an_unwritten_first_line_of_a_journal_is_written_before_all_others(tmp_path):
    messages = []
    journal = OperationLog(tmp_path / "run", messages.append)
    journal.record_start(None, RunRequest("tiny", "", "16 relu", {"seed": "0"}, model_label="16 relu"))
    journal.record_operation(operations.log_params, {"seed": 0})
    (tmp_path / "run").mkdir()
    journal.record_end("FINISHED")
    assert len(messages) == 1
    record = load_operations(tmp_path / "run")
    assert (record.key, record.status, record.params, record.has_gap) == (journal.key, "FINISHED", {}, True)


def test_metrics_are_logged_at_the_end_if_a_signal_interrupts_their_request(store, quick, monkeypatch):
    log_history, interrupted_steps = operations.log_history, []

    def interrupted(run, history):
        ((_, step, _),) = history
        if step == 1 and not interrupted_steps:
            interrupted_steps.append(step)
            raise KeyboardInterrupt
        log_history(run, history)

    connect(store)  # if MLflow is imported, this process logs the run itself
    monkeypatch.setattr(tracker, "_METRICS_SECONDS", 0.0)  # each epoch is a request
    monkeypatch.setattr(operations, "log_history", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(quick())
    monkeypatch.setattr(operations, "log_history", log_history)
    (run,) = _runs(store)
    assert (run.info.status, "loss/train" in run.data.metrics) == ("KILLED", True)
    (folder,) = Path("outputs/tiny").iterdir()
    assert load_operations(folder).stores == {}  # another operation may have been interrupted as well
    sync_run(folder)
    (run,) = _runs(store)
    assert (run.info.status, len(connect(store).get_metric_history(run.info.run_id, "loss/train"))) == ("KILLED", 1)


@pytest.mark.parametrize(
    ("path", "to", "message"),
    [
        ("nowhere", None, "nowhere: expected a run folder, .* it is not a folder"),
        (".", None, ": expected a run folder, .* it contains no run"),
        (".", "ftp://x", "--to: expected http"),
    ],
)
def test_invalid_arguments_raise(path, to, message):
    with pytest.raises(ConfigError, match=message):
        sync_command([Path(path)], to)
