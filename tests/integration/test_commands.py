"""Runs the commands of the README and the documentation in a shell, with fewer epochs, images and trials.

Commands that need another machine, other users or an hour are run by other tests in another form, see `ELSEWHERE`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import processes
import pytest
from pages import shown_commands
from PIL import Image
from ports import ephemeral_port

from trainyard.system.uris import build_sqlite_uri
from trainyard.tracking import ui_server
from trainyard.tracking.connection import connect
from trainyard.training.checkpoint import CHECKPOINTS_FOLDER, find_checkpoints

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = list(
    dict.fromkeys(re.sub(r"\s+# .*", "", line) for page in PAGES for line in shown_commands(page.read_text()))
)
FEWER = " training.epochs=1 dataset.limit=200 training.xla=off"
SMALLER = " dataset.limit=1000 training.batch_size=8 training.xla=off"
"""Arguments that are added to the runs in a debugging mode, which determines the number of steps."""
SHORTENED = {
    "train": FEWER,
    "sweep": FEWER,
    "reproduce": f" --seeds 2{FEWER} tracking=off",
}
"""Arguments that are added to a command, by its kind."""

NOT_REACHED = 3
"""The exit code of `reproduce` after such a short training."""

ELSEWHERE = {
    r"python3 -m venv|\.venv/bin/pip|\. \.venv/bin/activate": ".ci/run",
    r"trainyard ui$": "tests/integration/test_ui.py::test_the_server_listens_only_on_localhost_and_sends_no_telemetry",
    r"python -m experiments.performance$": "tests/performance/test_performance.py::test_the_command_measures_an_epoch_and_keeps_the_other_parts",
    r"mlflow server --host|export RAY|ray |trainyard sweep .*launcher=ray": (
        "tests/integration/test_cluster.py::test_a_killed_node_fails_only_its_trial_and_resuming_completes_the_sweep"
    ),
    r"trainyard sweep .*launcher=submitit_slurm": (
        "tests/sweep/test_cluster_launchers.py::test_a_sweep_runs_with_submitit"
    ),
    r"sudo |export MLFLOW_|mlflow server --app-name": (
        "tests/integration/test_team_store.py::test_a_sweep_whose_server_is_down_for_a_while_loses_nothing"
    ),
    r"trainyard train .* tracking=server": (
        "tests/integration/test_team_store.py::test_two_users_can_log_to_the_same_experiment"
    ),
}
"""Patterns of commands, and the test that runs each with other addresses, smaller sizes, or on one machine."""

TOUR = shown_commands((ROOT / "docs" / "tour.md").read_text())
"""The commands that `test_tour.py` runs."""


def elsewhere(command: str) -> bool:
    return command in TOUR or any(re.match(pattern, command) for pattern in ELSEWHERE)


CLIENT = f"""#!{sys.executable} -SE
import sys
sys.path.insert(0, {str(Path(processes.__file__).parent)!r})
from processes import run_trainyard
done = run_trainyard(*sys.argv[1:])
sys.stdout.write(done.stdout)
sys.stderr.write(done.stderr)
sys.exit(done.returncode)
"""
"""A command ``trainyard`` that runs in a forked process."""


def shell(command: str, code: int = 0) -> str:
    """Runs a line in a shell with `CLIENT` on its path, and returns its output."""
    client = Path("bin", "trainyard").absolute()
    if not client.exists():
        client.parent.mkdir()
        client.write_text(CLIENT)
        client.chmod(0o755)
    environment = {**os.environ, "PATH": f"{client.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def trainyard() -> str:
    """Returns the path of the installed command."""
    return str(Path(sys.executable).with_name("trainyard"))


def runs_of(store: Path) -> list:
    """Returns all runs of a store."""
    client = connect(build_sqlite_uri(store.absolute()))
    return client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])


def run_id(printed: str) -> str:
    (found,) = re.findall(r"^run +.*, ([0-9a-f]{32})$", printed, re.MULTILINE)
    return found


@pytest.fixture
def work_folder(monkeypatch, mnist_folder):
    """Prepares the working directory of the commands, with MNIST and the other files that the pages mention."""
    monkeypatch.setenv("TRAINYARD_DATA_DIR", str(mnist_folder.parent))
    Path("experiments").symlink_to(ROOT / "experiments")
    pixels = np.random.default_rng(0)
    for part, kind in (("train", "jay"), ("train", "wren"), ("test", "jay"), ("test", "wren")):
        folder = Path("birds", part, kind)
        folder.mkdir(parents=True)
        for number in range(40):
            Image.fromarray(pixels.integers(0, 256, (64, 64), np.uint8)).save(folder / f"{number}.png")
    photos, kinds = pixels.integers(0, 256, (40, 16, 16), np.uint8), np.arange(40) % 2
    np.savez("birds.npz", x_train=photos, y_train=kinds, x_test=photos, y_test=kinds)
    np.savez("gulls.npz", photos=photos, kinds=kinds)


RUN_HERE = [command for command in COMMANDS if not elsewhere(command)]
BY_KIND = {kind: [line for line in RUN_HERE if line.startswith(f"trainyard {kind} ")] for kind in SHORTENED}
TRAINED = [line for line in BY_KIND["train"] if "resume=" not in line and "checkpoint" not in line]


@pytest.mark.parametrize("command", TRAINED)
def test_documented_runs_are_trained(command, work_folder):
    printed = shell(command + (SMALLER if "debug=" in command else SHORTENED["train"]))
    assert "debug=" in command or run_id(printed)


@pytest.mark.parametrize("command", [line for line in BY_KIND["sweep"] if "--status" not in line])
def test_documented_sweeps_are_run(command, work_folder):
    fewer = SHORTENED["sweep"]
    fewer += " sweep.points=2" if "sampler=" in command else ""
    fewer += " sweep.seeds=1" if "seeds=" in command else ""
    fewer += " optimizer.learning_rate=0.003" if "sweep=widths" in command and "--plan" not in command else ""
    printed = shell(command + fewer)
    if "--plan" in command:
        assert "trials" in printed
        return
    assert "winner" in printed
    (status,) = [line for line in BY_KIND["sweep"] if "--status" in line]
    (row,) = shell(status).splitlines()[1:]
    assert row.split()[1] == "done"


@pytest.mark.parametrize("command", BY_KIND["reproduce"])
def test_documented_experiments_are_reproduced(command, work_folder):
    printed = shell(command + SHORTENED["reproduce"], code=NOT_REACHED)
    name = command.split()[2]
    assert f"files  outputs/reproduce/{name}/README.md" in printed
    assert Path("outputs", "reproduce", name, "results.json").is_file()


def test_documented_commands_compare_export_and_upload_runs(work_folder, new_store):
    """The commands run in order, because each needs the results of the earlier ones."""
    short = "training.epochs=1 training.xla=off"  # but all images, because only runs with the same ones are compared
    first, second = (run_id(shell(f"trainyard train experiment=quickstart seed={seed} {short}")) for seed in (1, 2))
    shell(f"trainyard sweep experiment=quickstart sweep.name=widths model.hidden_units='[8],[16]' {short}")
    Path("photos").mkdir()
    for name in ("seven.png", "photos/one.jpg", "photos/two.jpg"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(name)
    done = []
    for command in RUN_HERE:
        if re.match(r"trainyard (compare|report|predict|export|promote|rerun|doctor|data|config)|eval", command):
            line = command.replace("RUN_ID", first).replace("OTHER_ID", second).replace("> 0.98", "> 0.1")
            line = line.replace("report RUN", f"report {first}")
            if line.startswith("eval"):
                assert "trainyard" in shell(f"{line}; complete -p trainyard")
            else:
                shell(line)
            done.append(command)
    assert Path("compared.html").is_file()
    assert Path("digits", "model.h5").is_file()
    assert Path("recipe.schema.json").is_file()
    folder = next(path for path in Path("outputs/quickstart").iterdir() if path.is_dir())
    other = Path("elsewhere.db").absolute()
    new_store(other)
    port = ephemeral_port()
    with ui_server.mlflow_server(build_sqlite_uri(other), port) as running:
        ui_server.wait_until_ready(running)
        for command in (line for line in RUN_HERE if line.startswith("trainyard sync")):
            line = command.replace("quickstart/RUN", f"quickstart/{folder.name}")
            shell(line.replace("http://host:5000", f"http://127.0.0.1:{port}"))
            done.append(command)
    assert len(runs_of(other)) == len(list(Path("outputs").glob("*/*/config.yaml")))
    kinds = tuple(f"trainyard {kind} " for kind in SHORTENED)
    assert set(done) == {line for line in RUN_HERE if not line.startswith(kinds)}


def test_an_interrupted_run_is_resumed(work_folder):
    (checkpointed,) = [line for line in BY_KIND["train"] if "checkpoint" in line]
    (resumed,) = [line for line in BY_KIND["train"] if "resume=" in line]
    words = [trainyard(), *checkpointed.split()[1:], "dataset.limit=2000", "training.epochs=40"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 300
    while not [
        file for folder in Path("outputs").glob(f"*/*/{CHECKPOINTS_FOLDER}") for file in find_checkpoints(folder)
    ]:
        assert process.poll() is None, "the run ended before it could be interrupted"
        assert time.monotonic() < until, "no checkpoint was written"
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    (line,) = errors.splitlines()  # and no messages of libraries
    assert line.startswith("error interrupted: the run is KILLED.")
    (interrupted,) = runs_of(Path("mlflow.db"))
    assert interrupted.info.status == "KILLED"
    second = run_id(shell(resumed.replace("RUN_ID", interrupted.info.run_id)))
    (resumed_run,) = [run for run in runs_of(Path("mlflow.db")) if run.info.run_id == second]
    assert (resumed_run.info.status, resumed_run.data.tags["resumed_from"]) == ("FINISHED", interrupted.info.run_id)


def test_commands_that_other_tests_run_have_an_existing_test():
    for pattern, where in ELSEWHERE.items():
        assert any(re.match(pattern, command) for command in COMMANDS), pattern
        file, _, test = where.partition("::")
        assert (ROOT / file).is_file()
        assert not test or f"def {test}(" in (ROOT / file).read_text(), where
