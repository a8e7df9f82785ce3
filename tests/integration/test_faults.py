"""Real faults: processes that are killed at random moments, full disks, and lack of memory."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking.connection import connect

pytestmark = pytest.mark.slow

TRAIN = [sys.executable, "-c", "from trainyard.cli import main; main()", "train"]
SMALL = ["experiment=quickstart", "name=tiny", "dataset.limit=300", "training.xla=off"]

STAGES = (
    "Opening the tracking store",
    "Starting TensorFlow",
    "epoch 3/",
    "Evaluating on the test",
    "Writing and logging",
)
"""Output after which a run is killed. The models are saved during the evaluation."""


def _runs():
    client = connect(build_sqlite_uri(Path("mlflow.db")))
    return client.search_runs([item.experiment_id for item in client.search_experiments()])


def _wait_for_children(children):
    """Waits until the child processes of the run have ended. One of them logs the final status to the store."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(psutil.NoSuchProcess):
            if not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]:
                return
        time.sleep(0.05)
    pytest.fail(f"still running: {children}")


@pytest.mark.parametrize(
    ("number", "stage"),
    [
        *((signal.SIGKILL, stage) for stage in STAGES),
        (signal.SIGINT, STAGES[1]),
        (signal.SIGTERM, STAGES[3]),
        (signal.SIGHUP, STAGES[4]),
    ],
)
def test_a_run_that_is_killed_at_any_moment_has_the_correct_status(number, stage, new_store):
    new_store(Path("mlflow.db"))  # create the database before the run is killed
    with subprocess.Popen([*TRAIN, *SMALL, "training.epochs=6"], stdout=subprocess.PIPE, text=True) as process:
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
    statuses = [run.info.status for run in _runs()]
    if process.returncode == 0:  # it finished before it was killed
        assert statuses == ["FINISHED"]
    elif number == signal.SIGKILL and stage == STAGES[0]:
        assert statuses in ([], ["KILLED"])  # the run may not have been created yet
    else:
        assert statuses == ["KILLED"]
        assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)


# ---------------------------------------------------------------------------------------------------------------
# Disks


def _train_on_small_disk(folder: str, size: str, *overrides: str, read_only: bool = False):
    """Trains with a folder on a separate small disk, and then copies its contents to the folder `kept`."""
    if shutil.which("unshare") is None:
        pytest.fail("expected the command unshare, of util-linux")
    Path(folder).mkdir(parents=True)
    ro = f"mount -o remount,ro {folder}" if read_only else ":"
    script = f'mount -t tmpfs -o size={size} none {folder} && {ro} && "$@"; code=$?; cp -r {folder} kept; exit $code'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", *TRAIN, *SMALL]
    return subprocess.run([*command, "training.epochs=2", *overrides], capture_output=True, text=True, check=False)


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
    assert "No space left on device" in done.stderr
    assert "Nothing is lost" in done.stderr
    assert _only_run().info.status == "FAILED"
    command = done.stderr.split("trainyard ")[-1].split()
    assert command[0] == "sync"
    Path("mlartifacts").mkdir(exist_ok=True)  # the small disk was mounted only for the run; this folder has free space
    synced = subprocess.run([*TRAIN[:-1], *command], capture_output=True, text=True, check=False)
    assert synced.returncode == 0, synced.stderr
    assert _only_run().info.status == "FINISHED"


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


def _train_with_little_memory(xla):
    command = [sys.executable, "-c", LITTLE_MEMORY, xla]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_training_that_runs_out_of_memory_fails_with_an_error():
    done = _train_with_little_memory("off")
    assert "out of memory while training, in epoch 1" in done.stdout, done.stderr[-3000:]
    run = _only_run()
    assert run.info.status == "FAILED"
    assert "out of memory" in run.data.tags["error"]


def test_a_process_that_is_killed_for_lack_of_memory_leaves_no_running_run():
    """XLA aborts the process if it can't allocate memory, as the operating system kills a process that uses too much.

    The exit code is random: SIGABRT, SIGSEGV, or 127 if a library is being loaded. There is never a message.
    """
    done = _train_with_little_memory("on")
    assert (done.returncode in (0, 1, 2), done.stdout) == (False, "")
    deadline = time.monotonic() + 30
    while (run := _only_run()).info.status == "RUNNING" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert run.info.status == "KILLED"
    assert "memory ran out" in run.data.tags["error"]
