"""Launchers of clusters: what is refused before anything starts, and a sweep through submitit on this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trainyard.cli.sweep.command import sweep_command
from trainyard.errors import ConfigError
from trainyard.sweep.launch.ray_pool import RaySettings, open_pool
from trainyard.sweep.ledger import Ledger
from trainyard.system.uris import sqlite_uri
from trainyard.tracking.connection import connect

SWEEP = ["dataset.limit=200", "dataset.validation_fraction=0.2", "model.hidden_units=[8]", "name=tiny", "seed=1,2"]
RAY = [*SWEEP, "hydra/launcher=ray"]


@pytest.mark.parametrize(
    "overrides",
    [
        [*RAY, "hydra.launcher.address=head:6379"],
        [*SWEEP, "hydra/launcher=submitit_slurm"],
    ],
    ids=["ray", "slurm"],
)
def test_a_file_is_no_store_for_several_machines(overrides):
    with pytest.raises(ConfigError, match="tracking.uri: expected that of a server, got the file .*mlflow server"):
        sweep_command([*overrides, "--plan"])
    assert not Path("sweeps").exists()
    assert sweep_command([*overrides, "tracking=server", "tracking.uri=http://head:5000", "--plan"]) == 0
    assert sweep_command([*overrides, "tracking=off", "--plan"]) == 0


def test_it_is_one_for_a_cluster_of_this_machine_alone(monkeypatch):
    assert sweep_command([*RAY, "--plan"]) == 0
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    with pytest.raises(ConfigError, match="tracking.uri: expected that of a server"):
        sweep_command([*RAY, "--plan"])


def test_trials_have_the_threads_that_they_are_given_cores_for(capsys):
    sweep_command([*RAY, "hydra.launcher.num_cpus=4", "hydra.launcher.n_jobs=3", "--plan"])
    assert "3 at a time, with 4 threads each" in capsys.readouterr().out


def test_nobody_hears_of_epochs_on_other_nodes():
    with pytest.raises(ConfigError, match="sweep.pruner: hears of a trial's epochs under hydra/launcher=fork alone"):
        sweep_command([*RAY, "sweep.pruner=median", "--plan"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_cpus": 0}, "hydra.launcher.num_cpus: expected a number above 0, got 0"),
        ({"num_gpus": -1}, "hydra.launcher.num_gpus: expected a number above 0, got -1"),
        ({"n_jobs": 0}, "hydra.launcher.n_jobs: expected a whole number of at least 1"),
    ],
)
def test_settings_out_of_range_are_refused_before_the_cluster_is_joined(settings, message):
    with pytest.raises(ConfigError, match=message), open_pool(RaySettings(**settings)):
        pytest.fail("it was opened")


def test_a_package_that_is_not_installed_is_told(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with (
        pytest.raises(ConfigError, match="ray runs jobs with the package ray, which is not installed"),
        open_pool(RaySettings()),
    ):
        pytest.fail("it was opened")


@pytest.mark.slow
def test_a_sweep_goes_through_submitit():
    command = [
        sys.executable, "-c", "from trainyard.cli import main; main()", "sweep", *SWEEP, "sweep.name=local",
        "hydra/launcher=submitit_local", "training.epochs=2", "training.threads=1",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    ledger = Ledger(Path("sweeps/local/ledger.jsonl"))
    assert [ledger.account(number).state for number in (1, 2)] == ["done", "done"]
    client = connect(sqlite_uri(Path("mlflow.db")))
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    parents = {run.data.tags.get("mlflow.parentRunId") for run in runs}
    assert sorted(run.info.status for run in runs) == ["FINISHED"] * 3
    assert len(parents - {None}) == 1
    assert Path("sweeps/local/card.html").exists()
