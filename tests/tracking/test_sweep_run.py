"""The run that stands for a sweep: opened, opened again, asked for its trials, and closed whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainyard import TrackingError
from trainyard.system import environment
from trainyard.system.uris import sqlite_uri
from trainyard.tracking import FinishedTrial, ParentRun, find_run, sweep_run, sweep_view_key, ui_server
from trainyard.tracking.connection import connect
from trainyard.tracking.runs import DIED
from trainyard.tracking.writer import StoreWriter

GONE = {**environment.describe_process(), "started": "2001-01-01T00:00:00.000+00:00"}


@pytest.fixture
def uri(tmp_path, new_store):
    new_store(tmp_path / "mlflow.db")
    return sqlite_uri(tmp_path / "mlflow.db")


@pytest.fixture
def at_once(monkeypatch):
    """Has parent runs write from this process, which saves the start of another."""
    monkeypatch.setattr(sweep_run, "WorkerWriter", StoreWriter)


@pytest.fixture
def opened(uri):
    """Opens parent runs, and closes what is left of them."""
    left = []

    def open_parent(earlier=None, *, store=uri, experiment="tiny", tell=None, **tags):
        run = ParentRun(tell or pytest.fail)
        left.append(run)
        tags = {"trainyard.role": "sweep", **environment.describe_process(), **tags}
        params = {"sweep.objective": "accuracy/val"}
        run.open(store, experiment, "Notes.", name="sweep tiny", tags=tags, params=params, earlier_run_id=earlier)
        return run

    yield open_parent
    for run in left:
        run.close()


def _add_child(client, ids, trial, status, *, metrics=None, **tags):
    run_id, experiment_id = ids
    tags = {"mlflow.parentRunId": run_id, "trainyard.role": "trial", "trainyard.trial": trial, **tags}
    child = client.create_run(experiment_id, tags=tags).info.run_id
    for name, value in (metrics or {}).items():
        client.log_metric(child, name, value)
    if status != "RUNNING":
        client.set_terminated(child, status)
    return child


def test_a_sweep_is_logged_from_another_process(opened, uri):
    Path("plan.json").write_text("{}")
    sweep = opened()
    run_id, experiment_id = sweep.confirm()
    client = connect(uri)
    child = _add_child(client, (run_id, experiment_id), "1", "FINISHED", metrics={"accuracy/val": 0.9})
    assert sweep.find_finished() == {"1": FinishedTrial(child, {"accuracy/val": 0.9})}
    sweep.log_metrics({"trials/finished": 1})
    sweep.log_metrics({"trials/finished": 2})
    sweep.set_tags({"best_run_id": child})
    sweep.log_files([Path("plan.json")])
    sweep.share_view("tiny-1", "accuracy/val", ["optimizer.learning_rate"])
    assert sweep.end("FINISHED") is None
    run = client.get_run(run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "sweep tiny")
    assert run.data.params == {"sweep.objective": "accuracy/val"}
    assert run.data.metrics == {"trials/finished": 2}
    assert run.data.tags["best_run_id"] == child
    assert [file.path for file in client.list_artifacts(run_id, "sweep")] == ["sweep/plan.json"]
    assert f"mlflow.sharedViewState.{sweep_view_key('tiny-1')}" in client.get_experiment(experiment_id).tags


def _check_reopening(opened, store):
    """Opens a sweep's run, fails it, and opens it again, from which on it says nothing of the failure."""
    first = opened(store=store, command="one", error="RuntimeError: no")
    run_id, experiment_id = first.confirm()
    assert not first.standing.reopened
    first.end("FAILED")
    client = connect(store)
    assert client.get_run(run_id).info.end_time
    second = opened(run_id, store=store, command="two", pid="7")
    assert second.confirm() == (run_id, experiment_id)
    assert second.standing.reopened
    run = client.get_run(run_id)
    assert (run.info.status, run.info.end_time or None) == ("RUNNING", None)
    assert "error" not in run.data.tags
    assert (run.data.tags["command"], run.data.tags["pid"]) == ("two", "7")
    second.end("FINISHED")
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.end_time >= run.info.start_time


def test_a_run_is_reopened(at_once, opened, uri):
    _check_reopening(opened, uri)


def test_params_that_a_reopened_run_has_stay_and_others_are_added(at_once, opened, uri):
    run_id, _ = opened().confirm()
    again = ParentRun(pytest.fail)
    params = {"sweep.objective": "loss/val", "jobs": 4}
    again.open(uri, "tiny", "", name="other", tags={}, params=params, earlier_run_id=run_id)
    again.confirm()
    run = connect(uri).get_run(run_id)
    assert run.data.params == {"sweep.objective": "accuracy/val", "jobs": "4"}
    assert run.info.run_name == "sweep tiny"


@pytest.mark.parametrize("why", ["absent", "deleted", "elsewhere"])
def test_a_run_that_is_not_there_is_replaced_by_a_new_one(at_once, opened, uri, why):
    earlier, _ = opened(experiment="another" if why == "elsewhere" else "tiny").confirm()
    if why == "deleted":
        connect(uri).delete_run(earlier)
    sweep = opened("0" * 32 if why == "absent" else earlier)
    run_id, _ = sweep.confirm()
    assert not sweep.standing.reopened
    assert run_id != earlier
    assert find_run(uri, run_id).status == "RUNNING"


def test_only_finished_children_of_this_sweep_are_found(at_once, opened, uri):
    sweep, other = opened(), opened()
    ids, client = sweep.confirm(), connect(uri)
    for status in ("RUNNING", "FAILED", "KILLED"):
        _add_child(client, ids, "1", status)
    _add_child(client, other.confirm(), "2", "FINISHED")
    client.delete_run(_add_child(client, ids, "3", "FINISHED"))
    assert sweep.find_finished() == {}
    _add_child(client, ids, "4", "FINISHED")
    time.sleep(0.01)
    latest = _add_child(client, ids, "4", "FINISHED", metrics={"loss/val": 0.5, "loss/test": 0.25})
    assert sweep.find_finished() == {"4": FinishedTrial(latest, {"loss/val": 0.5, "loss/test": 0.25})}


def test_more_children_are_found_than_a_page_holds(at_once, opened, uri, monkeypatch):
    monkeypatch.setattr("trainyard.tracking.runs.PAGE", 2)
    sweep = opened()
    ids, client = sweep.confirm(), connect(uri)
    for trial in range(5):
        _add_child(client, ids, str(trial), "FINISHED")
    assert set(sweep.find_finished()) == {"0", "1", "2", "3", "4"}


def test_orphans_among_the_children_are_closed(at_once, opened, uri):
    sweep, other = opened(), opened()
    ids, client = sweep.confirm(), connect(uri)
    died = _add_child(client, ids, "1", "RUNNING", **GONE)
    slow = _add_child(client, ids, "2", "RUNNING", **GONE)
    spared = [
        _add_child(client, ids, "3", "RUNNING", **environment.describe_process()),
        _add_child(client, ids, "4", "RUNNING", **{**GONE, "host": "elsewhere"}),
        _add_child(client, ids, "5", "RUNNING"),
        _add_child(client, other.confirm(), "1", "RUNNING", **GONE),
    ]
    finished = _add_child(client, ids, "6", "FINISHED", **GONE)
    sweep.close_orphans({"2": "it took longer than 60 s"})
    assert [find_run(uri, run_id).status for run_id in (died, slow)] == ["KILLED", "KILLED"]
    assert find_run(uri, died).tags["error"] == DIED
    assert find_run(uri, slow).tags["error"] == "it took longer than 60 s"
    assert {find_run(uri, run_id).status for run_id in spared} == {"RUNNING"}
    assert find_run(uri, finished).status == "FINISHED"


def test_a_store_that_fails_in_the_middle_is_told_of_once_and_the_run_closed(at_once, opened, uri):
    told = []
    sweep = opened(tell=told.append)
    run_id, _ = sweep.confirm()
    sweep.log_files([Path("absent.json")])
    sweep.log_metrics({"trials/finished": 1})
    sweep.set_tags({"tried": "yes"})
    (line,) = told
    assert "absent.json" in line
    assert line.endswith(". The sweep goes on, and its folder holds everything")
    assert sweep.find_finished() == {}  # a question is asked all the same
    assert "absent.json" in str(sweep.end("FINISHED"))
    run = find_run(uri, run_id)
    assert run.status == "FAILED"
    assert "absent.json" in run.tags["error"]
    assert "tried" not in run.tags


def test_a_store_out_of_reach_is_an_error_when_it_is_waited_for(opened, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    sweep = opened(store="http://127.0.0.1:9")
    for wait in (sweep.confirm, sweep.find_finished):
        with pytest.raises(TrackingError, match="http://127.0.0.1:9 can't be used"):
            wait()


def test_a_sweep_outlives_the_process_that_logs_it(opened, uri):
    told = []
    sweep = opened(tell=told.append)
    run_id, _ = sweep.confirm()
    os.kill(sweep._writer.pid, signal.SIGKILL)
    with pytest.raises(TrackingError, match="the process that logs to MLflow ended by itself, code -9"):
        sweep.find_finished()
    sweep.log_metrics({"trials/finished": 1})
    assert len(told) == 1
    assert sweep.end("KILLED")
    assert find_run(uri, run_id).status == "KILLED"


def test_one_that_was_not_opened_logs_and_finds_nothing():
    sweep = ParentRun(pytest.fail)
    sweep.log_metrics({"trials/finished": 1})
    sweep.share_view("tiny-1", None, [])
    sweep.close_orphans()
    assert sweep.find_finished() == {}
    assert sweep.run_id is None
    assert sweep.end("FINISHED") is None
    sweep.close()
    with pytest.raises(TrackingError, match="was not opened"):
        sweep.confirm()


def test_the_run_of_a_sweep_that_is_killed_says_so(uri):
    """Its process has not imported MLflow."""
    program = (
        "import sys, time\n"
        "from trainyard.tracking import ParentRun\n"
        "sweep = ParentRun(print)\n"
        f"sweep.open({uri!r}, 'tiny', '', name='sweep', tags={{}}, params={{}})\n"
        "run_id, _ = sweep.confirm()\n"
        "sweep.find_finished()\n"
        "print(run_id, sweep._writer.pid, 'mlflow' in sys.modules, flush=True)\n"
        "time.sleep(100)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    run_id, worker, imported = process.stdout.readline().split()
    assert imported == "False"
    assert find_run(uri, run_id).status == "RUNNING"
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{worker}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run = find_run(uri, run_id)
    assert run.status == "KILLED"
    assert run.tags["error"] == DIED


@pytest.mark.slow
@pytest.mark.stores
def test_eight_processes_meet_on_a_fresh_store(opened, tmp_path):
    sweeps = [opened(store=sqlite_uri(tmp_path / "fresh.db")) for _ in range(8)]
    ids = [sweep.confirm() for sweep in sweeps]
    assert len({run_id for run_id, _ in ids}) == 8
    assert len({experiment_id for _, experiment_id in ids}) == 1
    assert [sweep.end("FINISHED") for sweep in sweeps] == [None] * 8


@pytest.mark.slow
def test_a_server_takes_all_of_it(at_once, opened, uri):
    port = ui_server.free_port(5640)
    with ui_server.mlflow_server(uri, port) as running:
        ui_server.wait_until_ready(running)
        store = f"http://{ui_server.HOST}:{port}"
        _check_reopening(opened, store)
        sweep = opened(store=store)
        ids, client = sweep.confirm(), connect(store)
        finished = _add_child(client, ids, "1", "FINISHED", metrics={"loss/val": 0.5})
        died = _add_child(client, ids, "2", "RUNNING", **GONE)
        assert sweep.find_finished() == {"1": FinishedTrial(finished, {"loss/val": 0.5})}
        sweep.close_orphans()
        assert find_run(store, died).status == "KILLED"
        sweep.share_view("tiny-1", "loss/val", ["model"])
        assert f"mlflow.sharedViewState.{sweep_view_key('tiny-1')}" in client.get_experiment(ids[1]).tags
        assert sweep.end("FINISHED") is None
