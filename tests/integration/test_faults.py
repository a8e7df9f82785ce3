"""Real faults: processes that are killed at random moments, full disks, and lack of memory."""

from __future__ import annotations

import contextlib
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from processes import command_line, run_program, run_trainyard

from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking.connection import connect

pytestmark = pytest.mark.slow

SMALL = ["experiment=quickstart", "name=tiny", "dataset.limit=300", "training.xla=off"]


def _runs():
    client = connect(build_sqlite_uri(Path("mlflow.db")))
    return client.search_runs([item.experiment_id for item in client.search_experiments()])


def _wait_for_children(children):
    """Waits until the child processes of the run have ended. One of them logs the final status to the store."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(psutil.NoSuchProcess):
            if not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]:
                return
        time.sleep(0.05)
    pytest.fail(f"still running: {children}")


@pytest.mark.parametrize(
    ("number", "stage"),
    [
        (signal.SIGKILL, "Opening the tracking store"),
        (signal.SIGINT, "Starting TensorFlow"),
        (signal.SIGKILL, "epoch 3/"),
        (signal.SIGTERM, "Evaluating on the test"),  # the models are saved during the evaluation
        (signal.SIGHUP, "Writing and logging"),
        (signal.SIGKILL, "Writing and logging"),
    ],
)
def test_a_run_that_is_killed_at_any_moment_has_the_correct_status(number, stage, new_store):
    new_store(Path("mlflow.db"))  # create the database before the run is killed
    command = command_line("train", *SMALL, "training.epochs=6")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if stage in line:
                break
        else:
            pytest.fail(f"the run never printed {stage!r}")
        time.sleep(random.uniform(0, 0.5))
        children = psutil.Process(process.pid).children() if process.poll() is None else []
        process.send_signal(number)
        process.communicate(timeout=60)
    _wait_for_children(children)
    runs = _runs()
    statuses = [run.info.status for run in runs]
    if number == signal.SIGKILL and stage == "Opening the tracking store" and not runs:
        return  # the run was not created yet
    if process.returncode == 0:  # it finished before it was killed
        assert statuses == ["FINISHED"]
        return
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
    if stage == "Writing and logging" and statuses == ["FINISHED"]:  # it was killed after everything had been logged
        assert "time/total_seconds" in runs[0].data.metrics
        assert "error" not in runs[0].data.tags
    else:
        assert statuses == ["KILLED"]


# ---------------------------------------------------------------------------------------------------------------
# Disks


ON_SMALL_DISK = """
import ctypes, os, shutil, subprocess, sys

folder, size, mode, *sys.argv[1:] = sys.argv[1:]
user, group = os.getuid(), os.getgid()
new_user, new_mounts = 0x10000000, 0x00020000  # CLONE_NEWUSER, CLONE_NEWNS
if ctypes.CDLL(None, use_errno=True).unshare(new_user | new_mounts):
    raise OSError(ctypes.get_errno(), "unshare")
for file, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
    with open(f"/proc/self/{file}", "w") as opened:
        opened.write(text)
subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)
subprocess.run(["mount", "-o", f"remount,{mode}", folder], check=True)
from trainyard.cli import main
try:
    main()
finally:
    shutil.copytree(folder, "kept")
"""
"""A program that runs a command with a folder on a separate small disk, which only it can see. Then it copies the
contents of the folder to the folder `kept`."""


def _train_on_small_disk(folder: str, size: str, *overrides: str, read_only: bool = False):
    """Trains with a folder on a separate small disk, whose contents are copied to the folder `kept`."""
    Path(folder).mkdir(parents=True)
    train = ["train", *SMALL, "training.epochs=2", *overrides]
    return run_program(ON_SMALL_DISK, folder, size, "ro" if read_only else "rw", *train)


def _only_run():
    (run,) = _runs()
    return run


def test_a_full_disk_while_saving_the_model_is_reported():
    done = _train_on_small_disk("outputs", "1500k", "model.hidden_units=[600,300]", "training.keep_best=loss/train")
    assert done.returncode == 1
    assert "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    run = _only_run()
    assert run.info.status == "FAILED"
    assert "the disk is full" in run.data.tags["error"]
    assert not list(Path("kept").rglob("partial.*"))


def test_a_full_disk_does_not_damage_existing_checkpoints():
    done = _train_on_small_disk(
        "outputs", "1000k", "model.hidden_units=[300]", "training.checkpoint=true", "training.epochs=3"
    )
    assert done.returncode == 1
    assert "the disk is full" in done.stderr
    assert _only_run().info.status == "FAILED"
    from trainyard.training.checkpoint import CHECKPOINTS_FOLDER, find_checkpoints, load_checkpoint

    (folder,) = Path("kept").rglob(CHECKPOINTS_FOLDER)
    assert load_checkpoint(find_checkpoints(folder)[0]).epoch >= 1


def test_a_run_can_be_uploaded_later_if_the_disk_of_the_store_was_full():
    done = _train_on_small_disk("mlartifacts", "200k")
    assert done.returncode == 1
    assert re.search(r"the disk is full: 0\.\d MB are free on \S+/mlartifacts\. Free some space", done.stderr), (
        done.stderr
    )
    assert "Nothing is lost" in done.stderr
    assert _only_run().info.status == "FAILED"
    command = done.stderr.split("trainyard ")[-1].split()
    assert command[0] == "sync"
    Path("mlartifacts").mkdir(exist_ok=True)  # the small disk was mounted only for the run; this folder has free space
    synced = run_trainyard(*command)
    assert synced.returncode == 0, synced.stderr
    assert _only_run().info.status == "FINISHED"


@pytest.mark.parametrize("size", ["60k", "400k"])
def test_a_sweep_on_a_full_disk_names_the_disk_and_is_completed_after_space_is_freed(size):
    """The disk is full when the first trial starts, or when its files are written."""
    Path("sweeps").mkdir()
    sweep = ["sweep", *SMALL, "dataset.validation_fraction=0.2", "training.epochs=1", "seed=1,2", "sweep.name=full"]
    done = run_program(ON_SMALL_DISK, "sweeps", size, "rw", *sweep)
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert re.search(r"the disk is full: 0\.\d MB are free on \S+/sweeps\. Free some space", output), output
    assert "Errno" not in output, output
    assert "Traceback" not in output, output
    Path("sweeps").rmdir()
    Path("kept").rename("sweeps")
    resumed = run_trainyard(*sweep)
    assert resumed.returncode == 0, resumed.stderr
    assert "2 of 2 done" in resumed.stdout


def test_a_read_only_folder_is_reported_before_the_training():
    done = _train_on_small_disk("outputs", "1m", read_only=True)
    assert done.returncode == 1
    assert "the run's folder can't be created" in done.stderr
    assert "Read-only file system" in done.stderr
    assert not Path("mlflow.db").exists()


# ---------------------------------------------------------------------------------------------------------------
# Memory


LITTLE_MEMORY = """
import resource, sys
from trainyard import compose_config, run_experiment, TrainingError
from trainyard.system.progress import Progress

class Tightening(Progress):
    def stage(self, name):
        if name == "train":
            used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000, resource.RLIM_INFINITY))

small = ["dataset.limit=300", "model.hidden_units=[12000,12000]", "optimizer=sgd", "name=tiny", "training.epochs=1"]
try:
    run_experiment(compose_config([*small, f"training.xla={sys.argv[1]}"]), progress=Tightening())
except TrainingError as error:
    print(error)
"""


def test_a_training_that_runs_out_of_memory_fails_with_an_error():
    done = run_program(LITTLE_MEMORY, "off")
    assert "out of memory while training, in epoch 1" in done.stdout, done.stderr[-3000:]
    run = _only_run()
    assert run.info.status == "FAILED"
    assert "out of memory" in run.data.tags["error"]


def test_a_process_that_is_killed_for_lack_of_memory_leaves_no_running_run():
    """XLA aborts the process if it can't allocate memory, as the operating system kills a process that uses too much.

    The exit code is random: SIGABRT, SIGSEGV, or 127 if a library is being loaded. There is never a message.
    """
    command = [sys.executable, "-c", LITTLE_MEMORY, "on"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode in (0, 1, 2), done.stdout) == (False, "")
    deadline = time.monotonic() + 120
    while (run := _only_run()).info.status == "RUNNING" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert run.info.status == "KILLED"
    assert "memory ran out" in run.data.tags["error"]
