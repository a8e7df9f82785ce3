"""The tour of docs/tour.md, command by command, as a newcomer types it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pages import shown_commands

pytestmark = pytest.mark.slow

TOUR = Path(__file__).parents[2] / "docs" / "tour.md"
LINES = shown_commands(TOUR.read_text())
COMMANDS = [line for line in LINES if line.startswith("trainyard ")]
INSTALLING = 3
"""Lines that make the environment, which the tests have."""


def test_the_tour_leads_where_it_says():
    assert len(LINES) == len(COMMANDS) + INSTALLING
    run_id, told = "", {}
    for command in COMMANDS:
        words = shlex.split(command.replace("RUN_ID", run_id))[1:]
        program = [sys.executable, "-c", "from trainyard.cli import main; main()", *words]
        done = subprocess.run(program, capture_output=True, text=True, env=os.environ, timeout=600, check=False)
        wrong = "optimizer=adma" in command
        assert done.returncode == (2 if wrong else 0), f"{command}\n{done.stdout}\n{done.stderr}"
        told[words[0], *words[-1:]] = done.stderr if wrong else done.stdout
        if found := re.findall(r"^run +.*, ([0-9a-f]{32})$", done.stdout, re.MULTILINE):
            run_id = found[-1]
    assert "Did you mean 'adam'?" in told["train", "optimizer=adma"]
    assert len(told["compare", "quickstart"].split("\n\n")[0].splitlines()) == 4  # a head, and three runs
    assert "bitwise: all weights are the same" in told["rerun", "--verify"]
    assert "<h2>What differs, and what came out</h2>" in Path("tour.html").read_text()
    assert Path("winner/README.md").is_file()
    assert Path("sweeps/tour/card.html").is_file()
