"""Runs the commands of docs/tour.md in order, as a new user types them, with fewer epochs and seeds."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pages import shown_commands, suggested_commands
from processes import run_trainyard

pytestmark = pytest.mark.slow

TOUR = Path(__file__).parents[2] / "docs" / "tour.md"
LINES = shown_commands(TOUR.read_text())
COMMANDS = [line for line in LINES if line.startswith("trainyard ")]
FEWER_EPOCHS = ["training.epochs=2", "training.xla=off"]
"""Overrides that are added to the commands that train."""
INSTALLING = 3
"""Number of lines that create the environment, which the tests already have."""


def test_the_commands_of_the_tour_work_in_order():
    assert len(LINES) == len(COMMANDS) + INSTALLING
    run_id, outputs, suggested = "", {}, set()
    for command in COMMANDS:
        words = shlex.split(command.replace("RUN_ID", run_id))[1:]
        fewer = FEWER_EPOCHS if words[0] in ("train", "sweep") else []
        if words[0] == "sweep":
            planned = run_trainyard(*words, "--plan").stdout
            assert "sweep tour: 30 trials (6 points with 5 seeds each)" in planned
            fewer = [*fewer, "sweep.seeds=2"]
        done = run_trainyard(*words, *fewer)
        is_mistake = "optimizer=adma" in command
        assert done.returncode == (2 if is_mistake else 0), f"{command}\n{done.stdout}\n{done.stderr}"
        outputs[words[0], *words[-1:]] = done.stderr if is_mistake else done.stdout
        assert is_mistake or "--html" in words or suggested_commands(done.stdout), command
        suggested |= set(suggested_commands(done.stdout).values())
        if run_ids := re.findall(r"^run +.*, ([0-9a-f]{32})$", done.stdout, re.MULTILINE):
            run_id = run_ids[-1]
    assert "Did you mean 'adam'?" in outputs["train", "optimizer=adma"]
    assert len(outputs["compare", "quickstart"].split("\n\n")[0].splitlines()) == 4  # a header and three runs
    assert "bitwise: weights, data, metrics and predictions are the same" in outputs["rerun", "--verify"]
    assert "<h2>Differences and results</h2>" in Path("tour.html").read_text()
    assert Path("winner/README.md").is_file()
    assert Path("sweeps/tour/card.html").is_file()
    check_suggested_commands(suggested)


def check_suggested_commands(commands):
    """Runs the commands that other commands suggested, except for the servers, and those of the tour."""
    assert {shlex.split(command)[1] for command in commands} == {"-c", "compare", "export", "train", "ui"}
    for command in commands:
        program, *words = shlex.split(command)
        if words[0] == "-c":
            assert subprocess.run([sys.executable, *words], capture_output=True, check=False).returncode == 0, command
        elif words[0] not in ("ui", "train"):
            done = run_trainyard(*words)
            assert (program, done.returncode) == ("trainyard", 0), f"{command}\n{done.stderr}"
