"""Whole sweeps: real processes, really killed, a real store."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
import yaml

from trainyard.config.compose import load_config
from trainyard.sweep.folder import SweepFolder, sweep_folders
from trainyard.sweep.ledger import Ledger
from trainyard.sweep.results import has_finished
from trainyard.tracking import ui_server

COMMAND = [sys.executable, "-c", "from trainyard.cli import main; main()", "sweep"]
SMALL = [
    "dataset.limit=200", "dataset.validation_fraction=0.2", "model.hidden_units=[8]", "name=tiny", "training.xla=off",
]  # fmt: skip


def _start(*arguments: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [*COMMAND, *SMALL, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def _sweep(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    process = _start(*arguments, **environment)
    stdout, stderr = process.communicate(timeout=900)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def _runs(experiment: str = "tiny"):
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{Path('mlflow.db').absolute()}")
    return mlflow.search_runs(experiment_names=[experiment], output_format="list")


def _of_role(runs, role):
    return [run for run in runs if run.data.tags["trainyard.role"] == role]


def _no_process_is_left(folder: Path) -> bool:
    """Tells whether no process works below a folder any more; the store's writers may need a moment to end."""
    for _ in range(150):
        left = [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(folder)]
        if all(process.pid == os.getpid() for process in left):
            return True
        time.sleep(0.2)
    return False


# ---------------------------------------------------------------------------------------------------------------
# One bad trial costs one trial

WAYS = {
    "raise": "RuntimeError: on purpose",
    "exit": "its process exited with code 0 before it was done",
    "leave": "its process exited with code 7 before it was done",
    "kill": "its process was killed by SIGKILL",
    "memory": "MemoryError",
}

DEADLY = """
import os, resource, signal, sys
from trainyard.config.registry import register_metric

def die(way):
    if way == "raise":
        raise RuntimeError("on purpose")
    if way == "exit":
        sys.exit()
    if way == "leave":
        os._exit(7)
    if way == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if way == "memory":
        resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))
        bytearray(2**40)

def make(way):
    @register_metric(way)
    def metric(probabilities, labels):
        die(way)
        return 0.5

for way in ("well", "raise", "exit", "leave", "kill", "memory"):
    make(way)
"""


@pytest.mark.slow
def test_whatever_becomes_of_a_trial_the_others_are_done_and_it_is_named():
    Path("mine.py").write_text(DEADLY)
    environment = {"TRAINYARD_PLUGINS": "mine", "PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}:."}
    ways = ["well", *WAYS]
    swept = f"evaluation.metrics={','.join(f'[{way}]' for way in ways)}"
    done = _sweep("training.epochs=1", swept, "sweep.retries=1", "sweep.name=deadly", **environment)
    assert done.returncode == 1, done.stderr
    last = done.stdout.splitlines()[-len(WAYS) :]
    named = [line for line in last if line.startswith("failed ")]
    assert len(named) == len(WAYS)
    for way, told in WAYS.items():
        assert sum(f", {way}: " in line and told in line for line in named) == 1, (way, named)
    ledger = Ledger(Path("sweeps/deadly/ledger.jsonl"))
    trials = SweepFolder(Path("sweeps/deadly")).read_trials()
    by_way = {
        way: [ledger.account(t.number) for t in trials if t.config["evaluation"]["metrics"] == [way]] for way in ways
    }
    assert {way: {account.state for account in accounts} for way, accounts in by_way.items()} == {
        "well": {"done"}, **{way: {"failed"} for way in WAYS}
    }  # fmt: skip
    assert {account.attempts for way in WAYS for account in by_way[way]} == {2}  # each was tried twice
    assert "RuntimeError: on purpose" in Path("sweeps/deadly/logs/2.log").read_text()

    runs = _runs()
    (parent,) = _of_role(runs, "sweep")
    assert parent.info.status == "FAILED"
    assert parent.data.tags["error"] == "5 of 6 trials failed"
    assert parent.data.metrics["trials/finished"] == 1
    assert parent.data.metrics["trials/failed"] == 5
    children = _of_role(runs, "trial")
    assert len(children) == 1 + 2 * 5
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    found = Counter((run.data.params["evaluation.metrics"].strip('[]"'), run.info.status) for run in children)
    killed = dict.fromkeys([("kill", "KILLED"), ("leave", "KILLED")], 2)
    assert found == {
        ("well", "FINISHED"): 1,
        ("raise", "FAILED"): 2,
        ("exit", "FAILED"): 2,
        ("memory", "FAILED"): 2,
        **killed,
    }
    assert all(run.data.tags["error"] for run in children if run.info.status != "FINISHED")
    of_killed = {run.data.tags["error"] for run in children if "kill" in run.data.params["evaluation.metrics"]}
    assert all(told.startswith(WAYS["kill"]) for told in of_killed)
    assert _no_process_is_left(Path.cwd())


# ---------------------------------------------------------------------------------------------------------------
# A sweep that is ended goes on


@pytest.mark.slow
def test_a_sweep_whose_server_goes_away_trains_on_and_the_next_start_tells_the_store():
    port = ui_server.free_port(5690)
    uri, address = f"sqlite:///{Path('mlflow.db').absolute()}", f"http://127.0.0.1:{port}"
    arguments = ["seed=1,2", "training.epochs=400", "hydra.launcher.n_jobs=1", "sweep.name=away"]
    with ui_server.mlflow_server(uri, port) as running:
        ui_server.wait_until_ready(running)
        process = _start(*arguments, MLFLOW_TRACKING_URI=address)
        while not Path("sweeps/away/epochs.json").exists() and process.poll() is None:  # the first trial is at work
            time.sleep(0.05)
    process.communicate(timeout=600)
    assert process.returncode == 1
    before = Ledger(Path("sweeps/away/ledger.jsonl")).account(1)
    assert (before.state, has_finished(Path(before.folder))) == ("failed", True)

    with ui_server.mlflow_server(uri, port) as running:
        ui_server.wait_until_ready(running)
        done = _sweep(*arguments, MLFLOW_TRACKING_URI=address)
    assert done.returncode == 0, done.stdout + done.stderr
    began = [entry["trial"] for entry in _entries(Path("sweeps/away/ledger.jsonl")) if entry["what"] == "began"]
    assert Counter(began)[1] == 1
    runs = _runs()
    finished = [run for run in _of_role(runs, "trial") if run.info.status == "FINISHED"]
    assert Counter(run.data.tags["trainyard.trial"] for run in finished) == {"1": 1, "2": 1}
    assert "RUNNING" not in {run.info.status for run in runs}
    assert all("accuracy/test" in run.data.metrics for run in finished)


def _entries(ledger: Path):
    return [json.loads(line) for line in ledger.read_text().splitlines()]


@pytest.mark.slow
def test_a_sweep_that_is_ended_at_any_moment_goes_on_and_no_trial_is_done_twice():
    """It is ended three times, at moments drawn from those at which something goes on, and then left alone."""
    generator = random.Random()
    arguments = ["training.epochs=2", "optimizer.learning_rate=0.01,0.003", "seed=1,2,3", "hydra.launcher.n_jobs=3"]
    moments = []
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        process = _start(*arguments)
        wanted, more = generator.randint(1, 2), generator.uniform(0, 3)  # trials that begin in this round, seconds
        moments.append((number.name, wanted, more))
        began = 0
        while began < wanted and (line := process.stdout.readline()):
            began += " began " in line
        time.sleep(more)
        process.send_signal(number)
        process.communicate(timeout=120)
        assert process.returncode in (-number, 128 + number, 0), moments
    done = _sweep(*arguments)
    assert done.returncode == 0, (moments, done.stderr)
    assert _no_process_is_left(Path.cwd()), moments

    (folder,) = sweep_folders()
    ledger = Ledger(folder.ledger)
    assert Counter(entry["trial"] for entry in _entries(folder.ledger) if entry["what"] == "done") == dict.fromkeys(
        range(1, 7), 1
    ), moments
    assert {ledger.account(trial).state for trial in range(1, 7)} == {"done"}
    runs = _runs()
    finished = [run for run in _of_role(runs, "trial") if run.info.status == "FINISHED"]
    assert Counter(run.data.tags["trainyard.trial"] for run in finished) == {str(trial): 1 for trial in range(1, 7)}, (
        moments
    )
    points = {(run.data.params["optimizer.learning_rate"], run.data.params["seed"]) for run in finished}
    assert len(points) == 6
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED", "FAILED"}, moments
    (parent,) = _of_role(runs, "sweep")
    assert parent.info.status == "FINISHED", moments
    assert not parent.data.tags.get("error")
    assert parent.data.metrics["trials/finished"] == 6
    assert all(" sweep dataset.limit=200 " in run.data.tags["command"] for run in runs)

    again = _sweep(*arguments)
    assert again.returncode == 0
    assert " began " not in again.stdout
    assert len(_runs()) == len(runs)


@pytest.mark.slow
def test_the_winner_is_a_recipe_that_trains_the_same_model_again():
    """With threads that the sweep shared out, a resumed sweep and another number of places."""
    arguments = [
        "training.xla=auto", "training.epochs=2", "optimizer.learning_rate=0.1,0.0001", "sweep.seeds=2", "sweep.name=best",
    ]  # fmt: skip
    stopped = _sweep(
        *arguments, "hydra.launcher.time_limit_seconds=0.05", "sweep.on_error=stop", "hydra.launcher.n_jobs=1"
    )
    assert stopped.returncode == 1
    assert "it took longer than 0.05 s" in stopped.stdout
    done = _sweep(*arguments, "hydra.launcher.n_jobs=2")
    assert done.returncode == 0, done.stderr
    assert "lr0.1 " in done.stdout
    recipe = Path("sweeps/best/conf/experiment/winner.yaml")
    train = [*COMMAND[:-1], "train", "--config-dir", "sweeps/best/conf", "experiment=winner"]
    assert f"trainyard train --config-dir sweeps/best/conf experiment={recipe.stem}" in done.stdout
    subprocess.run(train, check=True, capture_output=True, timeout=600)
    runs = _runs()
    (parent,) = _of_role(runs, "sweep")
    (winner,) = [run for run in runs if run.info.run_id == parent.data.tags["best_run_id"]]
    (again,) = _of_role(runs, "run")
    assert winner.data.params["optimizer.learning_rate"] == "0.1"
    for tag in ("weights_digest", "config_hash", "threads"):
        assert again.data.tags[tag] == winner.data.tags[tag], tag
    first, second = (
        load_config(Path(winner.data.tags["trainyard.folder"]) / "config.yaml"),
        yaml.safe_load(recipe.read_text()),
    )
    assert second["training"]["threads"] == first.training.threads
    import mlflow

    files = {file.path for file in mlflow.MlflowClient().list_artifacts(parent.info.run_id, "sweep")}
    assert files >= {
        f"sweep/{name}" for name in ("plan.json", "leaderboard.json", "card.html", "winner.yaml", "learning_curves.png")
    }


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on_and_draws_and_prunes_as_one_that_is_not():
    """One trial at a time, so that the draws and the ends of trials have one order."""
    arguments = [
        "sweep.sampler=tpe", "sweep.points=7", "sweep.pruner=median", "training.epochs=4", "hydra.launcher.n_jobs=1",
        "optimizer.learning_rate=tag(log, interval(1e-6, 1e-1))", "model.hidden_units=choice([8],[16])",
    ]  # fmt: skip
    process = _start(*arguments, "sweep.name=killed")
    for line in process.stdout:
        if "trial 3 " in line and " began " in line:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=120)
    for name in ("killed", "whole"):
        done = _sweep(*arguments, f"sweep.name={name}")
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stdout + done.stderr
    killed, whole = (SweepFolder(Path("sweeps") / name) for name in ("killed", "whole"))
    assert [trial.varied for trial in killed.read_trials()] == [trial.varied for trial in whole.read_trials()]
    states = [[Ledger(folder.ledger).account(number).state for number in range(1, 8)] for folder in (killed, whole)]
    assert states[0] == states[1]
    assert set(states[0]) == {"done", "pruned"}

    of_whole = [run for run in _of_role(_runs(), "trial") if run.data.tags["sweep_id"] == "whole"]
    pruned = [run for run in of_whole if "pruned" in run.data.tags]
    assert len(of_whole) == 7
    assert len(pruned) == states[1].count("pruned")
    assert {run.info.status for run in pruned} == {"KILLED"}
    assert all("accuracy/val" in run.data.metrics and "error" not in run.data.tags for run in pruned)
    parents = {run.data.tags["sweep_id"]: run for run in _of_role(_runs(), "sweep")}
    assert parents["whole"].info.status == "FINISHED"
    assert parents["whole"].data.metrics["trials/pruned"] == len(pruned)
    assert parents["whole"].data.params["sweep.params.optimizer.learning_rate"] == "interval(1e-06, 0.1), log"


@pytest.mark.slow
def test_two_sweeps_of_the_same_second_do_not_touch_each_other_and_the_same_one_is_refused():
    first, second = (
        _start("training.epochs=1", f"seed={seeds}", "hydra.launcher.n_jobs=1") for seeds in ("1,2", "3,4")
    )
    deadline = time.monotonic() + 120
    while len(list(Path().glob("sweeps/*/ledger.jsonl"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)  # else the third may be the first
    third = _sweep("training.epochs=1", "seed=1,2")
    assert third.returncode == 2
    assert f"it runs already, as process {first.pid}" in third.stderr
    for process in (first, second):
        _, stderr = process.communicate(timeout=600)
        assert process.returncode == 0, stderr
    assert [len(folder.read_trials()) for folder in sweep_folders()] == [2, 2]
    runs = _runs()
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len({run.data.tags["mlflow.parentRunId"] for run in _of_role(runs, "trial")}) == 2
    assert {run.data.params["seed"] for run in _of_role(runs, "trial")} == {"1", "2", "3", "4"}


@pytest.mark.slow
def test_an_architecture_that_can_not_be_trained_stops_the_sweep_before_the_first_trial():
    done = _sweep("model=mlp,sequential", "~model.hidden_units", "training.epochs=1")
    assert done.returncode == 2
    done = subprocess.run(
        [*COMMAND, "dataset.limit=200", "dataset.validation_fraction=0.2", "name=tiny", "training.epochs=1", "model=cnn",
         "model.filters=[4],[4,4,4,4]"],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout
    assert "1 of 2 architectures can't be trained on one batch, so no trial was started:" in done.stderr
    assert (
        "trial 2, 4x4x4x4: TrainingError: model.filters: images of 8 x 8 pixels are too small for block 4"
        in done.stderr
    )
    assert not list(Path("sweeps").glob("*/trials"))
