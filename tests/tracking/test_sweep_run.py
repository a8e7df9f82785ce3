"""The parent run of a sweep: opening, reopening, finding its trials, and closing in all cases."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from processes import run_program

from trainyard import TrackingError
from trainyard.system import environment
from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking import RunRequest, Tracker, TrackingStore, build_sweep_view_key, tracker, ui_server
from trainyard.tracking.connection import connect
from trainyard.tracking.mlflow_internals import clear_end_time
from trainyard.tracking.tracking_store import PROCESS_DIED
from trainyard.tracking.ui_views import EXPERIMENT_VIEW
from trainyard.tracking.writer import StoreWriter

DEAD_PROCESS = {**environment.collect_process_info(), "started": "2001-01-01T00:00:00.000+00:00"}


@pytest.fixture
def uri(tmp_path, new_store):
    new_store(tmp_path / "mlflow.db")
    return build_sqlite_uri(tmp_path / "mlflow.db")


@pytest.fixture
def in_process(monkeypatch):
    """Makes parent runs write from this process, which saves the start of another one."""
    monkeypatch.setattr(tracker, "ProcessWriter", StoreWriter)


@pytest.fixture
def opened(uri):
    """Returns a function that opens parent runs, with the key of an earlier one or a new key; closes them after the test."""
    runs = []

    def open_parent(earlier=None, *, store=uri, experiment="tiny", notify=None, **tags):
        run = _tracker(store, notify or pytest.fail)
        runs.append(run)
        key = {"trainyard.key": earlier or uuid.uuid4().hex}
        tags = {"trainyard.role": "sweep", **key, **environment.collect_process_info(), **tags}
        request = RunRequest(experiment, "Notes.", "sweep tiny", tags, reopens=True)
        run.start(request, {"sweep.objective": "accuracy/val"})
        return run

    yield open_parent
    for run in runs:
        run.close()


def _tracker(uri, notify):
    return Tracker(uri and TrackingStore(uri), notify, "The sweep continues; its folder contains all results")


def _wait(sweep):
    """Waits until the run is created; returns its id and that of its experiment."""
    sweep.wait_until_created()
    return sweep.run_id, sweep.status.experiment_id


def _add_child(client, ids, trial, status, *, metrics=None, **tags):
    run_id, experiment_id = ids
    tags = {"mlflow.parentRunId": run_id, "trainyard.role": "trial", "trainyard.trial": trial, **tags}
    child = client.create_run(experiment_id, tags=tags).info.run_id
    for name, value in (metrics or {}).items():
        client.log_metric(child, name, value)
    if status != "RUNNING":
        client.set_terminated(child, status)
    return child


def test_a_sweep_is_logged_by_another_process(opened, uri):
    Path("plan.json").write_text("{}")
    sweep = opened()
    run_id, experiment_id = _wait(sweep)
    client = connect(uri)
    child = _add_child(client, (run_id, experiment_id), "1", "FINISHED", metrics={"accuracy/val": 0.9})
    assert sweep.find_finished_trials() == {"1": child}
    sweep.log_metrics({"trials/finished": 1})
    sweep.log_metrics({"trials/finished": 2})
    sweep.set_tags({"best_run_id": child})
    sweep.log_files([Path("plan.json")], "sweep")
    sweep.share_view("tiny-1", "accuracy/val", ["optimizer.learning_rate"])
    assert sweep.end("FINISHED") is None
    run = client.get_run(run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "sweep tiny")
    assert run.data.params == {"sweep.objective": "accuracy/val"}
    assert run.data.metrics == {"trials/finished": 2}
    assert run.data.tags["best_run_id"] == child
    assert [file.path for file in client.list_artifacts(run_id, "sweep")] == ["sweep/plan.json"]
    tags = client.get_experiment(experiment_id).tags
    assert f"mlflow.sharedViewState.{build_sweep_view_key('tiny-1')}" in tags
    columns = json.loads(json.loads(tags[EXPERIMENT_VIEW])["state"])["selectedColumns"]
    assert columns[0] == "params.`optimizer.learning_rate`"


def _check_reopening(opened, store):
    """Opens a sweep's run, closes it as FAILED, and reopens it, which must remove the error."""
    first = opened("0123", store=store, command="one", error="RuntimeError: no")
    run_id, experiment_id = _wait(first)
    first.end("FAILED")
    client = connect(store)
    assert client.get_run(run_id).info.end_time
    second = opened("0123", store=store, command="two", pid="7")
    assert _wait(second) == (run_id, experiment_id)
    run = client.get_run(run_id)
    assert (run.info.status, run.info.end_time or None) == ("RUNNING", None)
    assert "error" not in run.data.tags
    assert (run.data.tags["command"], run.data.tags["pid"]) == ("two", "7")
    second.end("FINISHED")
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.end_time >= run.info.start_time


def test_a_run_is_reopened(in_process, opened, uri):
    _check_reopening(opened, uri)


def test_the_end_time_of_a_run_is_cleared_with_a_private_function_of_this_mlflow(uri):
    client = connect(uri)
    run_id = client.create_run("0").info.run_id
    client.set_terminated(run_id)
    client.update_run(run_id, status="RUNNING")
    assert client.get_run(run_id).info.end_time
    clear_end_time(client, run_id)
    run = client.get_run(run_id)
    assert (run.info.status, run.info.end_time or None) == ("RUNNING", None)


def test_a_reopened_run_keeps_its_params_and_gets_missing_ones(in_process, opened, uri):
    run_id, _ = _wait(opened("0123"))
    again = _tracker(uri, pytest.fail)
    request = RunRequest("tiny", "", "other", {"trainyard.key": "0123"}, reopens=True)
    again.start(request, {"sweep.objective": "loss/val", "jobs": 4})
    _wait(again)
    run = connect(uri).get_run(run_id)
    assert run.data.params == {"sweep.objective": "accuracy/val", "jobs": "4"}
    assert run.info.run_name == "sweep tiny"


@pytest.mark.parametrize("reason", ["missing", "deleted", "other experiment"])
def test_a_run_that_can_not_be_reopened_is_replaced_by_a_new_one(in_process, opened, uri, reason):
    earlier, _ = _wait(opened("0123", experiment="another" if reason == "other experiment" else "tiny"))
    if reason == "deleted":
        connect(uri).delete_run(earlier)
    sweep = opened("4567" if reason == "missing" else "0123")
    run_id, _ = _wait(sweep)
    assert run_id != earlier
    assert TrackingStore(uri).load_run(run_id).status == "RUNNING"


def test_only_finished_trials_of_this_sweep_are_found(in_process, opened, uri):
    sweep, other = opened(), opened()
    ids, client = _wait(sweep), connect(uri)
    for status in ("RUNNING", "FAILED", "KILLED"):
        _add_child(client, ids, "1", status)
    _add_child(client, _wait(other), "2", "FINISHED")
    client.delete_run(_add_child(client, ids, "3", "FINISHED"))
    assert sweep.find_finished_trials() == {}
    _add_child(client, ids, "4", "FINISHED")
    time.sleep(0.01)
    latest = _add_child(client, ids, "4", "FINISHED")
    assert sweep.find_finished_trials() == {"4": latest}


def test_trials_on_all_pages_of_a_search_are_found(in_process, opened, uri, monkeypatch):
    monkeypatch.setattr("trainyard.tracking.connection.PAGE_SIZE", 2)
    sweep = opened()
    ids, client = _wait(sweep), connect(uri)
    for trial in range(5):
        _add_child(client, ids, str(trial), "FINISHED")
    assert set(sweep.find_finished_trials()) == {"0", "1", "2", "3", "4"}


def test_orphaned_trial_runs_are_closed(in_process, opened, uri):
    sweep, other = opened(), opened()
    ids, client = _wait(sweep), connect(uri)
    died = _add_child(client, ids, "1", "RUNNING", **DEAD_PROCESS)
    slow = _add_child(client, ids, "2", "RUNNING", **DEAD_PROCESS)
    not_orphaned = [
        _add_child(client, ids, "3", "RUNNING", **environment.collect_process_info()),
        _add_child(client, ids, "4", "RUNNING", **{**DEAD_PROCESS, "host": "elsewhere"}),
        _add_child(client, ids, "5", "RUNNING"),
        _add_child(client, _wait(other), "1", "RUNNING", **DEAD_PROCESS),
    ]
    finished = _add_child(client, ids, "6", "FINISHED", **DEAD_PROCESS)
    sweep.close_orphans({"2": "it took longer than 60 s"}, only="2")
    assert [TrackingStore(uri).load_run(run_id).status for run_id in (died, slow)] == ["RUNNING", "KILLED"]
    sweep.close_orphans()
    assert [TrackingStore(uri).load_run(run_id).status for run_id in (died, slow)] == ["KILLED", "KILLED"]
    assert TrackingStore(uri).load_run(died).tags["error"] == PROCESS_DIED
    assert TrackingStore(uri).load_run(slow).tags["error"] == "it took longer than 60 s"
    assert {TrackingStore(uri).load_run(run_id).status for run_id in not_orphaned} == {"RUNNING"}
    assert TrackingStore(uri).load_run(finished).status == "FINISHED"


def test_a_store_failure_is_reported_once_and_the_run_is_closed(in_process, opened, uri):
    messages = []
    sweep = opened(notify=messages.append)
    run_id, _ = _wait(sweep)
    sweep.log_files([Path("absent.json")])
    sweep.log_metrics({"trials/finished": 1})
    sweep.set_tags({"tried": "yes"})
    (message,) = messages
    assert "absent.json" in message
    assert message.endswith(". The sweep continues; its folder contains all results")
    assert sweep.find_finished_trials() == {}  # queries are performed even after a failure
    assert "absent.json" in str(sweep.end("FINISHED"))
    run = TrackingStore(uri).load_run(run_id)
    assert run.status == "FAILED"
    assert "absent.json" in run.tags["error"]
    assert "tried" not in run.tags


def test_an_unreachable_store_is_an_error_when_the_sweep_waits_for_it(opened, monkeypatch, capfd):
    """Neither the error nor the output of the writer process contains the password."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    sweep = opened(store="http://ada:canary@127.0.0.1:9")
    for call in (sweep.wait_until_created, sweep.find_finished_trials):
        with pytest.raises(TrackingError, match=r"http://\*\*\*@127.0.0.1:9 can't be used") as caught:
            call()
        assert "canary" not in str(caught.value)
    assert sweep.run_id is None
    sweep.close()
    assert capfd.readouterr() == ("", "")


def test_the_writer_process_of_a_sweep_is_started_again_and_logs_everything_once(opened, uri):
    messages = []
    sweep = opened(notify=messages.append)
    run_id, _ = _wait(sweep)
    for number in range(1, 4):
        os.kill(sweep._writer._process.pid, signal.SIGSTOP if number == 1 else signal.SIGCONT)
        sweep.log_metrics({"trials/finished": float(number)})  # the first is sent to a process that does not perform it
        os.kill(sweep._writer._process.pid, signal.SIGKILL)
        sweep.flush()
    assert not messages
    assert sweep.run_id == run_id
    assert sweep.end("FINISHED") is None
    sweep.close()
    store = TrackingStore(uri)
    assert store.load_run(run_id).status == "FINISHED"
    history = store.client.get_metric_history(run_id, "trials/finished")
    assert [metric.value for metric in history] == [1, 2, 3]


def test_a_sweep_continues_without_its_writer_process_if_it_dies_too_often(opened, uri):
    messages = []
    sweep = opened(notify=messages.append)
    run_id, _ = _wait(sweep)
    for _ in range(4):
        os.kill(sweep._writer._process.pid, signal.SIGKILL)
        sweep.flush()
    for _ in range(2):  # the process stays dead
        with pytest.raises(TrackingError, match="the process that logs to MLflow ended unexpectedly with exit code -9"):
            sweep.find_finished_trials()
    sweep.log_metrics({"trials/finished": 1})
    assert len(messages) == 1
    assert sweep.run_id == run_id
    assert sweep.end("KILLED")
    assert TrackingStore(uri).load_run(run_id).status == "KILLED"


def test_without_a_store_nothing_is_logged_and_found():
    sweep = _tracker(None, pytest.fail)
    sweep.start(RunRequest("tiny", "", "sweep", {}), {})
    assert _wait(sweep) == (None, None)
    sweep.log_metrics({"trials/finished": 1})
    sweep.share_view("tiny-1", None, [])
    sweep.close_orphans()
    assert sweep.find_finished_trials() == {}
    assert sweep.end("FINISHED") is None
    sweep.close()
    assert not list(Path.cwd().iterdir())


def test_the_run_of_a_killed_sweep_is_marked_killed(uri):
    """The process of the sweep has not imported MLflow."""
    program = (
        "import sys, time\n"
        "from trainyard.tracking import RunRequest, Tracker, TrackingStore\n"
        f"sweep = Tracker(TrackingStore({uri!r}), print, '')\n"
        "sweep.start(RunRequest('tiny', '', 'sweep', {}), {})\n"
        "sweep.wait_until_created()\n"
        "sweep.find_finished_trials()\n"
        "print(sweep.run_id, sweep._writer._process.pid, 'mlflow' in sys.modules, flush=True)\n"
        "time.sleep(100)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    run_id, writer_pid, imported = process.stdout.readline().split()
    assert imported == "False"
    assert TrackingStore(uri).load_run(run_id).status == "RUNNING"
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 120
    while Path(f"/proc/{writer_pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run = TrackingStore(uri).load_run(run_id)
    assert run.status == "KILLED"
    assert run.tags["error"] == PROCESS_DIED


OPEN_SWEEP = """
import sys
from trainyard.tracking import RunRequest, Tracker, TrackingStore

sweep = Tracker(TrackingStore(sys.argv[1]), print, "")
sweep.start(RunRequest("tiny", "", "sweep", {}), {}, in_process=True)
sweep.wait_until_created()
print(sweep.run_id, sweep.status.experiment_id)
assert sweep.end("FINISHED") is None
"""


@pytest.mark.slow
@pytest.mark.stores
def test_eight_processes_can_create_the_same_store_at_once(tmp_path):
    store = build_sqlite_uri(tmp_path / "fresh.db")
    with ThreadPoolExecutor(8) as executor:
        done = [*executor.map(lambda _: run_program(OPEN_SWEEP, store), range(8))]
    assert [process.returncode for process in done] == [0] * 8, [process.stderr for process in done]
    run_ids, experiment_ids = zip(*[process.stdout.split() for process in done], strict=True)
    assert len(set(run_ids)) == 8
    assert len(set(experiment_ids)) == 1
    assert {TrackingStore(store).load_run(run_id).status for run_id in run_ids} == {"FINISHED"}


@pytest.mark.slow
def test_all_operations_work_with_a_server(in_process, opened, uri):
    port = ui_server.find_free_port(5640)
    with ui_server.mlflow_server(uri, port) as running:
        ui_server.wait_until_ready(running)
        store = f"http://{ui_server.HOST}:{port}"
        _check_reopening(opened, store)
        sweep = opened(store=store)
        ids, client = _wait(sweep), connect(store)
        finished = _add_child(client, ids, "1", "FINISHED", metrics={"loss/val": 0.5})
        died = _add_child(client, ids, "2", "RUNNING", **DEAD_PROCESS)
        assert sweep.find_finished_trials() == {"1": finished}
        sweep.close_orphans()
        assert TrackingStore(store).load_run(died).status == "KILLED"
        sweep.share_view("tiny-1", "loss/val", ["model"])
        assert f"mlflow.sharedViewState.{build_sweep_view_key('tiny-1')}" in client.get_experiment(ids[1]).tags
        assert sweep.end("FINISHED") is None
