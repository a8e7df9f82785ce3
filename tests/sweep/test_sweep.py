"""Complete sweeps with real processes, some of which are killed, and a real tracking store."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shlex
import signal
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import yaml
from processes import command_line, run_trainyard

from trainyard.cli.sweep.status import _list_next_steps
from trainyard.config.serialization import load_config
from trainyard.sweep.folder import SweepFolder, find_sweep, list_sweeps
from trainyard.sweep.ledger import Ledger
from trainyard.sweep.results import has_finished
from trainyard.sweep.status import load_sweep_status
from trainyard.tracking import ui_server

SMALL = [
    "dataset.limit=200", "dataset.validation_fraction=0.2", "model.hidden_units=[8]", "name=tiny", "training.xla=off",
]  # fmt: skip


def _start(*arguments: str, **environment: str) -> subprocess.Popen:
    """Starts a sweep in a new interpreter: it can be killed, and its processes are those of a user's sweep."""
    command = command_line("sweep", *SMALL, *arguments)
    environment = {**os.environ, **environment}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def _finish(process: subprocess.Popen) -> subprocess.CompletedProcess:
    stdout, stderr = process.communicate(timeout=900)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def _sweep(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return run_trainyard("sweep", *SMALL, *arguments, environment=environment, timeout=900)


def test_the_commands_that_the_status_suggests_work():
    recipe = Path("recipes", "experiment", "mine.yaml")
    recipe.parent.mkdir(parents=True)
    recipe.write_text("# @package _global_\ntraining:\n  epochs: 1\n")
    place = ["tracking.uri=sqlite:///other/runs.db", "hydra.sweep.dir=results/best one"]
    done = _sweep("--config-dir", "recipes", "experiment=mine", "training.batch_size=32,64", "sweep.name=mine", *place)
    assert done.returncode == 0, done.stderr
    path = Path("results", "best one")
    ledger = path / "ledger.jsonl"
    kept = [line for line in ledger.read_text().splitlines(keepends=True) if '"what": "done", ' not in line]
    ledger.write_text("".join(kept[:-1]))

    def suggest():
        folder = find_sweep(str(path), "--status")
        return {
            title: shlex.split(command)[1:]
            for title, command in _list_next_steps(load_sweep_status(folder), folder).items()
        }

    resume = suggest()
    assert resume.keys() == {"resume"}
    resumed = run_trainyard(*resume["resume"], timeout=900)
    assert resumed.returncode == 0, resumed.stderr
    show = suggest()
    assert show.keys() == {"compare", "see it"}
    for command in show.values():
        assert f"trainyard {shlex.join(command)}" in resumed.stdout
    compared = run_trainyard(*show["compare"])
    assert compared.returncode == 0, compared.stderr
    assert Path("mine.html").exists()
    with subprocess.Popen(command_line(*show["see it"]), stdout=subprocess.PIPE, text=True) as ui:
        link = next(line for line in ui.stdout if "http" in line)
        ui.send_signal(signal.SIGINT)
    assert "sweep-mine" in link


WAITING = """
import time
from pathlib import Path
from trainyard.config.registry import register_metric

@register_metric("waiting")
def metric(probabilities, labels):
    while not Path(__file__).with_name("continue").exists():
        time.sleep(0.05)
    return 0.5
"""
"""A plugin whose metric is computed after the training, when the file `continue` exists."""


@contextlib.contextmanager
def _waiting_sweeps(*commands: tuple[str, ...], **environment: str):
    """Runs sweeps, in parallel, whose trials wait for the file `continue`; yields the future result of each."""
    Path("waiting.py").write_text(WAITING)
    environment |= _plugin("waiting")
    with ThreadPoolExecutor() as threads:
        try:
            yield [
                threads.submit(_sweep, *arguments, "evaluation.metrics=[waiting]", **environment)
                for arguments in commands
            ]
        finally:
            Path("continue").touch()


def _plugin(name: str) -> dict[str, str]:
    return {"TRAINYARD_PLUGINS": name, "PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}:{Path.cwd()}"}


def _runs(experiment: str = "tiny"):
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{Path('mlflow.db').absolute()}")
    return mlflow.search_runs(experiment_names=[experiment], output_format="list")


def _of_role(runs, role):
    return [run for run in runs if run.data.tags["trainyard.role"] == role]


def _no_process_is_left(folder: Path) -> bool:
    """Returns whether no process has this working directory. Waits up to 30 s for the writers of the store to end."""
    for _ in range(150):
        left = [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(folder)]
        if all(process.pid == os.getpid() for process in left):
            return True
        time.sleep(0.2)
    return False


# ---------------------------------------------------------------------------------------------------------------
# A failing trial does not affect the others

FAILURES = {
    "raise": "RuntimeError: on purpose",
    "exit": "its process exited with code 0 before it was done",
    "leave": "its process exited with code 7 before it was done",
    "kill": "its process was killed by SIGKILL",
    "memory": "MemoryError",
}

DEADLY = """
import os, resource, signal, sys
from trainyard.config.registry import register_metric
from trainyard.runs import artifacts

def raise_error(*_):
    raise RuntimeError("on purpose")

def fail(mode):
    if mode == "raise":
        artifacts.write_evaluation = raise_error  # an error in a metric would not fail the run
    if mode == "exit":
        sys.exit()
    if mode == "leave":
        os._exit(7)
    if mode == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "memory":
        resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))
        bytearray(2**40)

def make(mode):
    @register_metric(mode)
    def metric(probabilities, labels):
        fail(mode)
        return 0.5

for mode in ("well", "raise", "exit", "leave", "kill", "memory"):
    make(mode)
"""


@pytest.mark.slow
def test_a_failing_trial_is_reported_and_does_not_affect_the_others():
    Path("mine.py").write_text(DEADLY)
    modes = ["well", *FAILURES]
    swept = f"evaluation.metrics={','.join(f'[{mode}]' for mode in modes)}"
    done = _finish(_start("training.epochs=1", swept, "sweep.retries=1", "sweep.name=deadly", **_plugin("mine")))
    assert done.returncode == 1, done.stderr
    named = [line for line in done.stdout.splitlines() if line.startswith("failed ")]
    assert len(named) == len(FAILURES)
    for mode, message in FAILURES.items():
        assert sum(f", {mode}: " in line and message in line for line in named) == 1, (mode, named)
    ledger = Ledger(Path("sweeps/deadly/ledger.jsonl"))
    trials = SweepFolder(Path("sweeps/deadly")).read_trials()
    by_mode = {
        mode: [ledger.get_trial_record(t.number) for t in trials if t.config["evaluation"]["metrics"] == [mode]]
        for mode in modes
    }
    assert {mode: {account.state for account in accounts} for mode, accounts in by_mode.items()} == {
        "well": {"done"}, **{mode: {"failed"} for mode in FAILURES}
    }  # fmt: skip
    assert {account.attempts for mode in FAILURES for account in by_mode[mode]} == {2}  # each was retried once
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
    statuses = Counter((run.data.params["evaluation.metrics"].strip('[]"'), run.info.status) for run in children)
    killed = dict.fromkeys([("kill", "KILLED"), ("leave", "KILLED")], 2)
    assert statuses == {
        ("well", "FINISHED"): 1,
        ("raise", "FAILED"): 2,
        ("exit", "FAILED"): 2,
        ("memory", "FAILED"): 2,
        **killed,
    }
    assert all(run.data.tags["error"] for run in children if run.info.status != "FINISHED")
    errors = {run.data.tags["error"] for run in children if "kill" in run.data.params["evaluation.metrics"]}
    assert all(error.startswith(FAILURES["kill"]) for error in errors)
    assert _no_process_is_left(Path.cwd())


# ---------------------------------------------------------------------------------------------------------------
# Resuming an interrupted sweep


@pytest.mark.slow
def test_a_sweep_finishes_a_trial_without_its_server_and_uploads_the_run_when_resumed():
    port = ui_server.find_free_port(5690)
    uri, address = f"sqlite:///{Path('mlflow.db').absolute()}", f"http://127.0.0.1:{port}"
    arguments = ("seed=1,2", "training.epochs=2", "hydra.launcher.n_jobs=1", "sweep.name=away")
    with contextlib.ExitStack() as server:
        ui_server.wait_until_ready(server.enter_context(ui_server.mlflow_server(uri, port)))
        with _waiting_sweeps(arguments, MLFLOW_TRACKING_URI=address) as (sweep,):
            while not _has_epochs("away") and not sweep.done():
                time.sleep(0.05)
            server.close()
            assert not sweep.done(), sweep.result()
    assert sweep.result().returncode == 1
    before = Ledger(Path("sweeps/away/ledger.jsonl")).get_trial_record(1)
    assert (before.state, has_finished(Path(before.folder))) == ("failed", True)

    with ui_server.mlflow_server(uri, port) as running:
        ui_server.wait_until_ready(running)
        done = _sweep(*arguments, "evaluation.metrics=[waiting]", MLFLOW_TRACKING_URI=address, **_plugin("waiting"))
    assert done.returncode == 0, done.stdout + done.stderr
    began = [entry["trial"] for entry in _entries(Path("sweeps/away/ledger.jsonl")) if entry["what"] == "began"]
    assert Counter(began)[1] == 1
    runs = _runs()
    finished = [run for run in _of_role(runs, "trial") if run.info.status == "FINISHED"]
    assert Counter(run.data.tags["trainyard.trial"] for run in finished) == {"1": 1, "2": 1}
    assert "RUNNING" not in {run.info.status for run in runs}
    assert all("accuracy/test" in run.data.metrics for run in finished)


@pytest.mark.slow
def test_a_store_that_is_renamed_during_a_sweep_is_reported_and_completed_by_the_next_start():
    arguments = ("seed=1,2", "training.epochs=1", "hydra.launcher.n_jobs=1", "sweep.name=lost")
    with _waiting_sweeps(arguments) as (sweep,):
        while not _has_epochs("lost") and not sweep.done():
            time.sleep(0.05)
        Path("mlflow.db").rename("renamed.db")
    assert sweep.result().returncode == 1
    assert "mlflow.db: expected the tracking store with which the sweep was started" in sweep.result().stderr
    done = _sweep(*arguments, "evaluation.metrics=[waiting]", **_plugin("waiting"))
    assert done.returncode == 0, done.stdout + done.stderr
    runs = _runs()
    (parent,) = _of_role(runs, "sweep")
    trials = _of_role(runs, "trial")
    assert [(run.info.status, run.data.tags["mlflow.parentRunId"]) for run in trials] == [
        ("FINISHED", parent.info.run_id)
    ] * 2
    assert (parent.info.status, "error" in parent.data.tags) == ("FINISHED", False)
    assert sorted(path.name for path in Path("sweeps/lost/trials").iterdir()) == ["1", "2"]


def _has_epochs(name: str) -> bool:
    """Returns whether a trial of a sweep is training."""
    folder = SweepFolder(Path("sweeps") / name)
    return folder.plan.exists() and any(trial.epoch for trial in load_sweep_status(folder).progress.running.values())


def _entries(ledger: Path):
    return [json.loads(line) for line in ledger.read_text().splitlines()]


@pytest.mark.slow
def test_a_sweep_that_is_interrupted_at_random_times_resumes_and_runs_no_trial_twice():
    """The sweep is interrupted twice at random times, then it runs to its end."""
    generator = random.Random()
    arguments = ["training.epochs=2", "optimizer.learning_rate=0.01,0.003", "seed=1,2", "hydra.launcher.n_jobs=2"]
    moments = []
    for number in (signal.SIGKILL, signal.SIGTERM):
        process = _start(*arguments)
        starts, delay_seconds = generator.randint(1, 2), generator.uniform(0, 3)
        moments.append((number.name, starts, delay_seconds))
        started = 0
        while started < starts and (line := process.stdout.readline()):
            started += " started " in line
        time.sleep(delay_seconds)
        process.send_signal(number)
        process.communicate(timeout=120)
        assert process.returncode in (-number if number == signal.SIGKILL else 128 + number, 0), moments
    done = _finish(_start(*arguments))
    assert done.returncode == 0, (moments, done.stderr)
    assert _no_process_is_left(Path.cwd()), moments

    (folder,) = list_sweeps()
    ledger = folder.ledger
    assert Counter(
        entry["trial"] for entry in _entries(folder.ledger_file) if entry["what"] == "done"
    ) == dict.fromkeys(range(1, 5), 1), moments
    assert {ledger.get_trial_record(trial).state for trial in range(1, 5)} == {"done"}
    runs = _runs()
    finished = [run for run in _of_role(runs, "trial") if run.info.status == "FINISHED"]
    assert Counter(run.data.tags["trainyard.trial"] for run in finished) == {str(trial): 1 for trial in range(1, 5)}, (
        moments
    )
    points = {(run.data.params["optimizer.learning_rate"], run.data.params["seed"]) for run in finished}
    assert len(points) == 4
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED", "FAILED"}, moments
    (parent,) = _of_role(runs, "sweep")
    assert parent.info.status == "FINISHED", moments
    assert not parent.data.tags.get("error")
    assert parent.data.metrics["trials/finished"] == 4
    assert all(" sweep dataset.limit=200 " in run.data.tags["command"] for run in runs)

    again = _sweep(*arguments)
    assert again.returncode == 0
    assert " started " not in again.stdout
    assert len(_runs()) == len(runs)


@pytest.mark.slow
def test_the_recipe_of_the_winner_reproduces_its_weights():
    """The sweep sets the number of threads, and is resumed with another number of slots."""
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
    assert f"trainyard train --config-dir sweeps/best/conf experiment={recipe.stem}" in done.stdout
    trained = run_trainyard("train", "--config-dir", "sweeps/best/conf", "experiment=winner")
    assert trained.returncode == 0, trained.stderr
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

    client = mlflow.MlflowClient()
    reported = {
        run.data.tags["trainyard.trial"]
        for run in _of_role(runs, "trial")
        if "report.html" in {file.path for file in client.list_artifacts(run.info.run_id)}
    }
    best_of_second_point = "3"  # the first of its two seeds
    assert reported == {winner.data.tags["trainyard.trial"], best_of_second_point}
    files = {file.path for file in client.list_artifacts(parent.info.run_id, "sweep")}
    assert files >= {
        f"sweep/{name}" for name in ("plan.json", "leaderboard.json", "card.html", "winner.yaml", "learning_curves.png")
    }


@pytest.mark.slow
def test_a_killed_search_resumes_with_the_same_draws_and_prunings_as_an_uninterrupted_one():
    """The trials run one after another, so that the order of draws and results is deterministic."""
    arguments = [
        "sweep.sampler=tpe", "sweep.points=7", "sweep.pruner=median", "training.epochs=4", "hydra.launcher.n_jobs=1",
        "optimizer.learning_rate=tag(log, interval(1e-6, 1e-1))", "model.hidden_units=choice([8],[16])",
    ]  # fmt: skip
    process = _start(*arguments, "sweep.name=killed")
    for line in process.stdout:
        if "trial 3 " in line and " started " in line:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=120)
    for name in ("killed", "whole"):
        done = _sweep(*arguments, f"sweep.name={name}")
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stdout + done.stderr
    killed, whole = (SweepFolder(Path("sweeps") / name) for name in ("killed", "whole"))
    assert [trial.varied for trial in killed.read_trials()] == [trial.varied for trial in whole.read_trials()]
    states = [[folder.ledger.get_trial_record(number).state for number in range(1, 8)] for folder in (killed, whole)]
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
def test_two_sweeps_run_at_the_same_time_and_a_second_process_of_one_sweep_is_rejected():
    first, second = (("training.epochs=1", f"seed={seeds}", f"sweep.name=of{seeds[0]}") for seeds in ("1,2", "3,4"))
    with _waiting_sweeps(first, second) as sweeps:
        while not (_has_epochs("of1") and _has_epochs("of3")) and not any(sweep.done() for sweep in sweeps):
            time.sleep(0.05)
        rejected = _sweep(*first, "evaluation.metrics=[waiting]", **_plugin("waiting"))
        assert not any(sweep.done() for sweep in sweeps)
    for sweep in sweeps:
        assert sweep.result().returncode == 0, sweep.result().stderr
    (session,) = Ledger(Path("sweeps/of1/ledger.jsonl")).sessions
    assert rejected.returncode == 2
    assert f"is already running as process {session.pid}" in rejected.stderr
    assert [len(folder.read_trials()) for folder in list_sweeps()] == [2, 2]
    runs = _runs()
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len({run.data.tags["mlflow.parentRunId"] for run in _of_role(runs, "trial")}) == 2
    assert {run.data.params["seed"] for run in _of_role(runs, "trial")} == {"1", "2", "3", "4"}


@pytest.mark.slow
def test_an_architecture_that_cannot_be_trained_stops_the_sweep_before_the_first_trial():
    done = _sweep("model=mlp,sequential", "~model.hidden_units", "training.epochs=1")
    assert done.returncode == 2
    done = run_trainyard(
        "sweep", "dataset.limit=200", "dataset.validation_fraction=0.2", "name=tiny", "training.epochs=1", "model=cnn",
        "model.filters=[4],[4,4,4,4]",
    )  # fmt: skip
    assert done.returncode == 2, done.stdout
    assert "1 of 2 architectures cannot be trained on one batch, so no trial was started:" in done.stderr
    assert (
        "trial 2, 4x4x4x4: TrainingError: model.filters: images of 8 x 8 pixels are too small for block 4"
        in done.stderr
    )
    assert not list(Path("sweeps").glob("*/trials"))
