"""Cluster launchers: settings that are rejected before the start, and a sweep with submitit on this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from processes import run_trainyard

from hydra_plugins.trainyard_plugins import RayLauncherConf
from trainyard.cli.sweep.command import sweep_command
from trainyard.errors import ConfigError
from trainyard.sweep.launch.ray_pool import open_ray_pool
from trainyard.sweep.ledger import Ledger
from trainyard.system.uris import build_sqlite_uri
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
def test_a_sqlite_store_is_rejected_for_several_machines(overrides):
    with pytest.raises(
        ConfigError, match="tracking.uri: expected the URI of a server, .* got the SQLite file .*mlflow server"
    ):
        sweep_command([*overrides, "--plan"])
    assert not Path("sweeps").exists()
    assert sweep_command([*overrides, "tracking=server", "tracking.uri=http://head:5000", "--plan"]) == 0
    assert sweep_command([*overrides, "tracking=off", "--plan"]) == 0


def test_a_sqlite_store_is_accepted_for_a_cluster_on_this_machine(monkeypatch):
    assert sweep_command([*RAY, "--plan"]) == 0
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    with pytest.raises(ConfigError, match="tracking.uri: expected the URI of a server"):
        sweep_command([*RAY, "--plan"])


def test_trials_use_as_many_threads_as_they_have_cores(capsys):
    sweep_command([*RAY, "hydra.launcher.num_cpus=4", "hydra.launcher.n_jobs=3", "--plan"])
    assert "3 in parallel, with 4 threads each" in capsys.readouterr().out


def test_a_pruner_is_rejected_for_ray_because_epochs_are_not_reported():
    with pytest.raises(ConfigError, match="sweep.pruner: requires hydra/launcher=fork"):
        sweep_command([*RAY, "sweep.pruner=median", "--plan"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_cpus": 0}, "hydra.launcher.num_cpus: expected a number above 0, got 0"),
        ({"num_gpus": -1}, "hydra.launcher.num_gpus: expected a number above 0, got -1"),
        ({"n_jobs": 0}, "hydra.launcher.n_jobs: expected an integer of at least 1"),
    ],
)
def test_settings_out_of_range_are_rejected_before_ray_starts(settings, message):
    with pytest.raises(ConfigError, match=message), open_ray_pool(RayLauncherConf(**settings)):
        pytest.fail("it was opened")


def test_a_package_that_is_not_installed_is_reported(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with (
        pytest.raises(ConfigError, match="the package ray is not installed"),
        open_ray_pool(RayLauncherConf()),
    ):
        pytest.fail("it was opened")


@pytest.mark.slow
def test_a_sweep_runs_with_submitit():
    done = run_trainyard(
        "sweep", *SWEEP, "sweep.name=local", "hydra/launcher=submitit_local", "training.epochs=2", "training.threads=1",
        "training.xla=off",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    ledger = Ledger(Path("sweeps/local/ledger.jsonl"))
    assert [ledger.get_trial_record(number).state for number in (1, 2)] == ["done", "done"]
    client = connect(build_sqlite_uri(Path("mlflow.db")))
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    parents = {run.data.tags.get("mlflow.parentRunId") for run in runs}
    assert sorted(run.info.status for run in runs) == ["FINISHED"] * 3
    assert len(parents - {None}) == 1
    assert Path("sweeps/local/card.html").exists()


@pytest.mark.slow
def test_ray_starts_on_this_machine_without_a_message():
    program = (
        "from hydra_plugins.trainyard_plugins import RayLauncherConf\n"
        "from trainyard.sweep.launch.ray_pool import open_ray_pool\n"
        "with open_ray_pool(RayLauncherConf()) as pool:\n"
        "    print(pool.slots > 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")
