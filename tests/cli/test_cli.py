from __future__ import annotations

import io
import re
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pexpect
import pytest
from pages import suggested_commands
from processes import command_line, run_program, run_trainyard

from trainyard.cli import main
from trainyard.system import INTERRUPT_SIGNALS
from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking.connection import connect

SMALL = ["name=tiny", "dataset.limit=300", "model.hidden_units=[16]", "training.epochs=2", "training.xla=off"]
"""Overrides for a small run. Without XLA, a process needs two seconds less."""


def runs():
    client = connect(build_sqlite_uri(Path("mlflow.db")))
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(ids)


@pytest.fixture
def run_main(monkeypatch, capfd):
    """Returns a function that runs a command in this process and returns its exit code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # restores the variable, which the command sets
        monkeypatch.setattr(sys, "argv", ["trainyard", *arguments])
        handlers = {number: signal.getsignal(number) for number in INTERRUPT_SIGNALS}
        with pytest.raises(SystemExit) as exited:
            main()
        for number, handler in handlers.items():  # the command ignores signals when it exits
            signal.signal(number, handler)
        return exited.value.code or 0, *capfd.readouterr()

    return run


def find_library_messages(text):
    """Returns the parts of messages of TensorFlow and other libraries that occur in the output of a run."""
    return [part for part in ("oneDNN", "cuda", "WARNING", "INFO", "absl") if part in text]


def test_train_prints_its_stages_the_results_and_the_command_for_the_ui():
    done = run_trainyard("train", *SMALL, "dataset.validation_fraction=0.2")
    assert (done.returncode, done.stderr) == (0, "")
    (run,) = runs()
    assert run.info.status == "FINISHED"
    text = done.stdout
    assert "digits: 240 training, 60 validation and 300 test images, from scikit-learn" in text
    assert "epoch 2/2  loss/train" in text
    assert "accuracy/val" in text
    assert f"accuracy  {run.data.metrics['accuracy/test']:.4f} on 300 test images" in text
    assert f"run       {run.info.run_name}, {run.info.run_id}" in text
    assert text.endswith("\nNext steps\ncompare   trainyard compare --experiment tiny\nsee it    trainyard ui\n")
    report = Path("outputs/tiny").glob("*/classification_report.txt")
    assert next(report).read_text().rstrip() in text
    assert "\x1b[" not in text  # plain lines without a terminal
    assert not find_library_messages(text)


def test_an_invalid_config_exits_with_2_and_creates_nothing():
    done = run_trainyard("train", "optimizer=adma")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error optimizer: unknown optimizer 'adma'. Did you mean 'adam'? "
        "Available: adadelta, adagrad, adam, adamax, adamw, ftrl, lamb, lion, muon, nadam, rmsprop, sgd, sgd_momentum\n"
    )
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--experimental-rerun", "x.pickle"], "--experimental-rerun: refused, because it unpickles a file"),
        (["train", "--config-path", "x"], "--config-path: "),
        (["train", "--config-dir", "x"], "--config-dir: expected a folder with configs, got 'x'"),
        (["train", "+hydra.callbacks.x._target_=os.getcwd"], "hydra.callbacks: refused"),
        (["train", "--info", "config", "hydra.searchpath=[pkg://json]"], "hydra.searchpath: refused"),
        (["train", "--hydra-help", "+hydra.callbacks.x._target_=os.getcwd"], "hydra.callbacks: refused"),
        (["train", "-m", "seed=1,-1"], "seed: expected an integer at least 0"),
        (["train", "tracking=server"], "tracking.uri: expected the address of a tracking server"),
        (["train", "--nonsense"], "--nonsense: unknown flag. Set groups and fields without dashes"),
        (
            ["train", "--batch-size", "5"],
            "--batch-size: unknown flag. Set groups and fields without dashes: training.batch_size=...",
        ),
        (["train", "--experiment=quickstart"], "Set groups and fields without dashes: experiment=..."),
        (["train", "--config-name", "my.yaml"], "--config-name: there is no config 'my.yaml' in ./conf"),
        (
            ["train", "dataset=npz", "dataset.path=x.npz"],
            "dataset.path: expected an existing file or folder, got x.npz",
        ),
        (
            ["train", "training.start_from=no.keras"],
            "training.start_from: expected an existing model file, got no.keras",
        ),
        (
            ["sweep", "sweep.objective=off", "training.start_from=null,no.h5"],
            "trial 2, training.start_from=no.h5: training.start_from: expected an existing model file, got no.h5",
        ),
        (["sweep", "optimizer.learning_rate=1,"], "expected another value after the comma, got none"),
        (["sweep", "~seed=1,2"], "seed: required, cannot be removed, got '~seed=1'"),
        (["sweep", "hydra.sweeper.params={a: b}"], "hydra.sweeper.params.a: unknown key 'a'. To add it, use +"),
        (
            ["train", "-m", "hydra/sweeper=basic", "hydra.sweeper.params={a: b}"],
            "hydra.sweeper.params: Hydra cannot compose this: 'NoneType' object has no attribute 'get'",
        ),
        (
            ["train", "quickstart"],
            "expected group=name or field=value, without spaces around the =. Did you mean 'experiment=quickstart'?",
        ),
        (["nonsense"], "No such command 'nonsense'"),
        (["seed=1"], "Did you mean 'trainyard train seed=1'?"),
        (["predict", "seven.png", "model.keras"], "MODEL: expected a run id, a run folder or a model file"),
        (["train", "-m", "--cfg", "job", "seed=1,2"], "--cfg: prints one config"),
        (["train", "--resolve"], "--resolve: requires --cfg job"),
        (["sweep", "--cfg", "job", "seed=1,2"], "--cfg: prints one config"),
        (["train", "--plan", "seed=1"], "--plan: requires a sweep. Use: trainyard sweep --plan"),
        (
            ["sweep", "hydra/launcher=basic", "sweep.objective=off", "training.threads=1,2"],
            "training.threads: expected the same for all trials, because they share a process",
        ),
        (["sweep", "hydra/sweeper=basic", "seed=1,2"], "hydra/sweeper: trainyard sweep uses Trainyard's sweeper"),
        (["sweep", "seed=1,2"], "sweep.objective: accuracy/val needs validation images"),
        (["sweep", "--status"], "there are no sweeps here yet. Start one: trainyard sweep sweep=widths"),
        (["sweep", "--status", "none"], "--status: there is no sweep 'none'. There are no sweeps in ./sweeps"),
        (["sweep", "--info", "config", "seed=1,2"], "--info: applies to a single run, not to a sweep"),
        (["sweep", "seed=1,2", "--status"], "--status: expected only the name of a sweep, but also got 'seed=1,2'"),
        (["sweep", "--pln"], "For a list: trainyard sweep --help"),
        (["sweep", "sweep.objective=off", "seed=1,2", "hydra.job.chdir=true"], "hydra.job.chdir: expected false"),
        (
            ["sweep", "sweep.objective=off", "seed=1,2", "hydra.sweep.dir=."],
            "hydra.sweep.dir: expected a separate folder for the sweep",
        ),
        (
            ["sweep", "sweep.objective=off", "seed=1,2", "hydra.launcher.time_limit_seconds=-1"],
            "hydra.launcher.time_limit_seconds: expected a number above 0, or null, got -1",
        ),
        (["sweep", "sweep.objective=off", "seed=1,2", f"sweep.name={'x' * 151}"], "sweep.name: expected at most 150"),
        (["sweep", "hydra/launcher=forks", "seed=1,2"], "hydra/launcher: there is no config 'forks'"),
        (["ui", "--sweep", "none"], "--sweep: there is no sweep 'none'"),
        (["ui", "--uri", "nonsense"], "--uri: expected http://..."),
        (["ui"], "there are no runs here yet"),
        (["ui", "--host", "0.0.0.0"], "No such option"),  # the UI listens on this machine only
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_invalid_commands_exit_with_2_before_anything_is_created(arguments, message, run_main):
    code, _, errors = run_main(*arguments)
    assert code == 2
    assert message in errors
    assert not list(Path.cwd().iterdir())


def test_a_failed_run_exits_with_1_and_names_its_folder_and_report():
    done = run_trainyard("train", *SMALL, "optimizer=sgd", "optimizer.learning_rate=1e30")
    assert done.returncode == 1
    assert "error training diverged in epoch 1" in done.stderr
    assert re.search(r"the run is FAILED. Its files are in outputs/tiny/\S+; see report.html\n", done.stderr)
    assert "Traceback" not in done.stderr
    assert [run.info.status for run in runs()] == ["FAILED"]


def test_cfg_prints_the_composed_config():
    done = run_trainyard("train", "--cfg", "job", "seed=5", "--package", "optimizer")
    assert done.returncode == 0
    assert "learning_rate: 0.001" in done.stdout
    assert not list(Path.cwd().iterdir())


def test_help_lists_groups_choices_and_fields():
    Path("mine/optimizer").mkdir(parents=True)
    Path("mine/optimizer/fast.yaml").write_text("defaults: [base_sgd]\nlearning_rate: 0.5\n")
    done = run_trainyard("train", "--help", "--config-dir", "mine")
    assert done.returncode == 0
    assert "adamw, fast, ftrl, lamb" in done.stdout
    assert "experiment:   fashion_mnist, kmnist, mnist_baseline, mnist_cnn, mnist_mlp_tuned, quickstart" in done.stdout
    assert "validation_fraction: 0.0" in done.stdout
    assert "base_" not in done.stdout


@pytest.mark.slow
def test_train_finds_a_users_experiment_in_conf():
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/mine.yaml").write_text(
        "# @package _global_\nname: mine\ndataset: {limit: 200}\nmodel: {hidden_units: [8]}\ntraining: {epochs: 1, xla: 'off'}\n"
    )
    done = run_trainyard("train", "experiment=mine")
    assert done.returncode == 0, done.stderr
    (run,) = runs()
    assert (run.info.run_name, run.data.params["name"]) == ("8 relu seed0", "mine")


@pytest.mark.slow
def test_flags_can_be_anywhere_and_a_failed_trial_does_not_stop_the_others_in_the_same_process():
    fixed = ["optimizer=sgd", "sweep.objective=off", "hydra/launcher=basic", "hydra.sweeper.max_batch_size=2"]
    done = run_trainyard("train", *SMALL, *fixed, "-m", "optimizer.learning_rate=1e30,0.01,0.02")
    assert done.returncode == 1
    trials = [run for run in runs() if run.data.tags["trainyard.role"] == "trial"]
    statuses = {run.data.params["optimizer.learning_rate"]: run.info.status for run in trials}
    assert statuses == {"1e+30": "FAILED", "0.01": "FINISHED", "0.02": "FINISHED"}
    assert {run.info.run_name for run in trials} == {"lr1e+30", "lr0.01", "lr0.02"}
    assert "\nfailed    trial 1," in done.stdout
    steps = suggested_commands(done.stdout)
    assert list(steps) == ["retry", "compare", "see it"]
    assert shlex.split(steps["retry"]) == [
        "trainyard",
        "sweep",
        *SMALL,
        *fixed,
        "optimizer.learning_rate=1e30,0.01,0.02",
    ]
    assert len(list(Path("sweeps").glob("tiny-*/trials/*/config.yaml"))) == len(trials) == 3


@pytest.mark.slow
def test_another_sweeper_runs_trainyards_jobs():
    Path("conf/model").mkdir(parents=True)
    plus = "+experiment=quickstart"  # Hydra would reject the plus
    done = run_trainyard("train", plus, *SMALL, "-m", "hydra/sweeper=basic", "hydra/launcher=basic", "seed=1,2")
    assert (done.returncode, done.stderr) == (0, "")
    assert [run.info.status for run in runs()] == ["FINISHED"] * 2
    assert {run.data.tags["trainyard.role"] for run in runs()} == {"run"}


def test_an_interrupt_before_the_run_starts_does_not_report_a_killed_run():
    program = """
import os
import re, signal
import trainyard.runs.console

trainyard.runs.console.run_experiment = lambda *_, **__: os.kill(os.getpid(), signal.SIGINT)
from trainyard.cli import main

main()
"""
    done = run_program(program, "train", *SMALL)
    assert (done.returncode, done.stderr) == (130, "error interrupted\n")


@pytest.mark.slow
def test_an_ignored_signal_stays_ignored():
    """Under nohup, SIGHUP is ignored."""
    program = """
import os, signal
from trainyard.cli import main
import trainyard.runs
from trainyard.runs import ScreenProgress

class Hangup(ScreenProgress):
    def epoch(self, epoch, *details):
        super().epoch(epoch, *details)
        os.kill(os.getpid(), signal.SIGHUP)

signal.signal(signal.SIGHUP, signal.SIG_IGN)
trainyard.runs.ScreenProgress = Hangup
main()
"""
    done = run_program(program, "train", *SMALL)
    assert (done.returncode, done.stderr) == (0, "")
    assert [run.info.status for run in runs()] == ["FINISHED"]


def test_ctrl_c_before_the_run_starts_prints_no_error():
    process = subprocess.Popen(command_line("train", *SMALL), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()  # the process is opening the store
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Error" not in errors
    assert "oneDNN" not in errors


def test_a_file_in_place_of_the_output_folder_is_reported():
    Path("outputs").write_text("in the way")
    done = run_trainyard("train", *SMALL)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "outputs" in done.stderr


@pytest.mark.slow
def test_a_terminal_shows_a_progress_bar_until_ctrl_c_stops_the_run_with_status_killed():
    command = command_line("train", *SMALL, "training.epochs=10000", "training.checkpoint=true")
    child = pexpect.spawn(command[0], command[1:], timeout=120, encoding="utf-8", dimensions=(40, 160))
    output = io.StringIO()
    child.logfile_read = output
    child.expect("━")
    child.expect(r"epoch +([2-9]|\d\d+)/10000  loss")  # the bar may appear only after many of the short epochs
    child.sendintr()
    time.sleep(0.2)
    child.sendintr()  # a second Ctrl-C must not interrupt the clean-up
    child.expect(r"interrupted: the run is KILLED\. Its files are in\s+outputs/tiny/")
    child.expect(r"To resume it: trainyard train\s+resume=outputs/tiny/")
    child.expect(pexpect.EOF)
    child.wait()
    assert (child.exitstatus, child.signalstatus) == (128 + signal.SIGINT, None)
    assert "Traceback" not in output.getvalue()
    assert not find_library_messages(output.getvalue())
    (run,) = runs()
    assert run.info.status == "KILLED"
    assert run.data.params["training.epochs"] == "10000"


def test_version_prints_the_version():
    assert run_trainyard("--version").stdout.startswith("trainyard 0.")


@pytest.mark.slow
@pytest.mark.stores
def test_concurrent_processes_can_create_the_same_store():
    """Four processes create a run in the same new store at the same time, and all succeed."""
    program = (
        "import sys; from trainyard.tracking import TrackingStore; store = TrackingStore(sys.argv[1]); "
        "experiment = store.open_experiment('shared', ''); print(store.client.create_run(experiment).info.run_id)"
    )
    with ThreadPoolExecutor() as threads:
        done = list(threads.map(lambda _: run_program(program, build_sqlite_uri(Path("mlflow.db"))), range(4)))
    assert [(each.returncode, each.stderr) for each in done] == [(0, "")] * 4
    ids = {each.stdout.strip() for each in done}
    assert {run.info.run_id for run in runs()} == ids
    assert len(ids) == 4


def test_an_unreachable_server_is_reported_within_seconds_and_without_its_password():
    start = time.monotonic()
    done = run_trainyard("train", *SMALL, environment={"MLFLOW_TRACKING_URI": "http://ada:canary@127.0.0.1:9"})
    assert done.returncode == 1
    assert "the tracking store http://***@127.0.0.1:9 can't be used" in done.stderr
    assert "canary" not in done.stdout + done.stderr
    assert time.monotonic() - start < 60  # with MLflow's defaults, it takes four minutes


@pytest.mark.parametrize("command", [["train", "--cfg", "job"], ["train", "--multirun", "--plan"], ["sweep", "--plan"]])
def test_the_commands_accept_a_recipe_with_a_plus(command, run_main):
    code, output, errors = run_main(*command, "+experiment=quickstart", "training.epochs=1")
    assert (code, errors) == (0, "")
    assert "quickstart" in output
    if "--plan" in command:
        assert suggested_commands(output) == {"run it": "trainyard sweep experiment=quickstart training.epochs=1"}
