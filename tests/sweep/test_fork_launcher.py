"""`hydra/launcher=fork`, in other Hydra programs and in Trainyard."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from omegaconf import OmegaConf

from hydra_plugins.trainyard_plugins import ForkLauncher
from trainyard.errors import ConfigError, TrialError
from trainyard.sweep.launch.devices import allocate_slots, find_gpus
from trainyard.sweep.launch.hydra_launcher import _build_return
from trainyard.sweep.launch.process_pool import JobExit
from trainyard.sweep.plan import make_plan
from trainyard.sweep.run import allocate_slots_and_threads

PROGRAM = """
import os, signal, sys, time, json
from dataclasses import dataclass
from pathlib import Path
import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig

@dataclass
class Conf:
    x: int = 1
    faults: str = "{}"

ConfigStore.instance().store(name="config", node=Conf)

def make():
    base = [40]

    def task(cfg):
        print("task", cfg.x)
        job = HydraConfig.get()
        fault = json.loads(cfg.faults).get(str(cfg.x))
        if fault:
            {"raise": lambda: 1 / 0, "exit": lambda: sys.exit(0), "message": lambda: sys.exit("no such data"), "kill": lambda: os.kill(os.getpid(), 9),
             "hang": lambda: time.sleep(600)}[fault]()
        Path(job.runtime.output_dir, "done.json").write_text(json.dumps([cfg.x, job.job.num, os.getpid()]))
        return base[0] + cfg.x

    return task

hydra.main(version_base="1.3", config_name="config", config_path=None)(make())()
"""


def _program(*arguments):
    Path("program.py").write_text(PROGRAM)
    command = [sys.executable, "program.py", "-m", "hydra/launcher=fork", "hydra.launcher.n_jobs=2",
               "hydra.sweep.dir=swept", *arguments]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def _read_results():
    return [json.loads(path.read_text()) for path in sorted(Path("swept").glob("*/done.json"))]


def test_another_hydra_program_runs_each_job_in_a_separate_process_and_reports_failed_jobs():
    program = _program("x=1,2,3,4,5,6", """faults='{"2": "raise", "3": "exit", "5": "kill", "6": "message"}'""")
    assert program.returncode == 1, program.stderr
    results = _read_results()
    assert [result[:2] for result in results] == [[1, 0], [4, 3]]
    assert len({result[2] for result in results}) == 2
    assert (Path("swept") / "logs" / "3.log").read_text() == "task 4\n"
    assert "#1 failed: ZeroDivisionError: division by zero" in program.stdout
    assert "#2 failed: its process exited with code 0 before it was done" in program.stdout
    assert "#4 failed: its process was killed by SIGKILL" in program.stdout
    assert "#5 failed: its process exited with code 1: no such data" in program.stdout
    assert program.stdout.count(" failed: ") == 4
    line = 1 + PROGRAM.splitlines().index(next(line for line in PROGRAM.splitlines() if "1 / 0" in line))
    raised = f'program.py", line {line}, in <lambda>'
    for text in (program.stdout, program.stderr, (Path("swept") / "logs" / "1.log").read_text()):
        assert raised in text
    assert "no such data" in (Path("swept") / "logs" / "5.log").read_text()


@pytest.mark.slow
@pytest.mark.slow
def test_the_suites_that_hydra_provides_for_launchers_pass(monkeypatch):
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    suites = str(Path(__file__).parents[1] / "children" / "hydra_suites.py")
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", suites]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=900, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert "42 passed" in done.stdout


def test_hydra_finds_the_plugins():
    launchers = {plugin.__name__ for plugin in Plugins.instance().discover(Launcher)}
    assert {"ForkLauncher", "RayLauncher"} <= launchers
    assert "TrainyardSweeper" in {plugin.__name__ for plugin in Plugins.instance().discover(Sweeper)}


def test_a_job_that_exceeds_the_time_limit_is_reported():
    program = _program("x=1", """faults='{"1": "hang"}'""", "hydra.launcher.time_limit_seconds=0.5")
    assert program.returncode == 1
    assert "#0 failed: it took longer than 0.5 s" in program.stdout
    assert _read_results() == []


def test_edits_of_config_files_after_the_start_have_no_effect():
    """The config file changes while the later jobs wait for a slot."""
    Path("conf").mkdir()
    Path("conf/config.yaml").write_text("x: 1\ny: before\n")
    program = PROGRAM.replace('config_name="config", config_path=None', 'config_name="config", config_path="conf"')
    program = program.replace('ConfigStore.instance().store(name="config", node=Conf)', "")
    program = program.replace("cfg.faults", '"{}"').replace(
        'print("task", cfg.x)', 'print(cfg.y); Path("conf/config.yaml").write_text("x: 1\\ny: after\\n")'
    )
    Path("program.py").write_text(program)
    command = [sys.executable, "program.py", "-m", "hydra/launcher=fork", "hydra.launcher.n_jobs=1", "x=1,2,3",
               "hydra.sweep.dir=swept"]  # fmt: skip
    subprocess.run(command, capture_output=True, check=True, timeout=120)
    assert [path.read_text() for path in sorted(Path("swept/logs").glob("*.log"))] == ["before\n"] * 3


def test_cores_are_divided_among_the_concurrent_jobs(monkeypatch):
    monkeypatch.setattr("trainyard.sweep.run.count_available_cores", lambda: 16)
    monkeypatch.setattr("trainyard.sweep.launch.devices.count_available_cores", lambda: 16)
    arguments = ["sweep.objective=off", "seed=1,2"]
    assert allocate_slots_and_threads(make_plan(arguments)) == (2, 8)
    assert allocate_slots_and_threads(make_plan([*arguments, "hydra.launcher.n_jobs=1"])) == (1, 16)
    assert allocate_slots_and_threads(make_plan([*arguments, "hydra/launcher=basic"])) == (1, None)
    assert allocate_slots_and_threads(make_plan([*arguments, "hydra/launcher=ray"])) == (None, 1)


def test_a_return_value_that_cannot_be_unpickled_fails_only_its_job(caplog):
    config = OmegaConf.create({"x": 1, "hydra": {"overrides": {"task": ["x=1"]}}})
    job = _build_return(JobExit(0, b"not a pickle", ""), config, Path("0.log"))
    assert job.status is JobStatus.FAILED
    with pytest.raises(TrialError, match=r"job 0 \(x=1\): its return value cannot be unpickled: UnpicklingError"):
        _ = job.return_value
    assert "#0 failed: its return value cannot be unpickled" in caplog.text


def test_a_negative_time_limit_is_an_error():
    launcher = ForkLauncher(time_limit_seconds=-5)
    config = OmegaConf.create({"hydra": {"launcher": {"time_limit_seconds": -5}}})
    launcher.setup(hydra_context=None, task_function=pytest.fail, config=config)
    message = r"hydra.launcher.time_limit_seconds: expected a number above 0, or null, got -5"
    with pytest.raises(ConfigError, match=message):
        launcher.launch([["x=1"]], 0)


def test_mig_devices_do_not_count_as_gpus(monkeypatch, tmp_path):
    (tmp_path / "nvidia-smi").write_text(
        "#!/bin/sh\necho 'GPU 0: A (UUID: x)'\necho '  MIG 1g.5gb Device 0: (UUID: y)'\necho 'GPU 1: A (UUID: z)'\n"
    )
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr("pathlib.Path.exists", lambda path: True)
    assert find_gpus({}) == ["0", "1"]


def test_each_gpu_is_a_slot():
    assert allocate_slots(None, {"CUDA_VISIBLE_DEVICES": "0, 3"}) == [
        {"CUDA_VISIBLE_DEVICES": "0"},
        {"CUDA_VISIBLE_DEVICES": "3"},
    ]
    assert allocate_slots(1, {"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"}) == [{"CUDA_VISIBLE_DEVICES": "GPU-a"}]
    assert find_gpus({"CUDA_VISIBLE_DEVICES": "-1"}) == find_gpus({"CUDA_VISIBLE_DEVICES": ""}) == []
    assert allocate_slots(3, {"CUDA_VISIBLE_DEVICES": ""}) == [{}, {}, {}]


def test_zero_slots_are_an_error():
    with pytest.raises(ConfigError, match=r"hydra.launcher.n_jobs: expected an integer of at least 1, or null, got 0"):
        allocate_slots(0, {})
