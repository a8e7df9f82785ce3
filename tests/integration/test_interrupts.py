"""Signals that stop `train` and `sweep` at many moments, from the start of the process to the end of the work."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from processes import command_line

pytestmark = pytest.mark.slow

SMALL = ["experiment=quickstart", "name=tiny", "dataset.limit=300", "training.xla=off", "training.epochs=300"]
DELAYS = [0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.1, 1.5, 2, 3, 4, 5]
COMMANDS = {
    "train": ["train", *SMALL],
    "sweep": ["sweep", *SMALL, "dataset.validation_fraction=0.2", "seed=1,2", "hydra.launcher.n_jobs=2"],
    "data": ["data", "list"],
}


def _wait_until_signals_are_handled(process: subprocess.Popen) -> None:
    """Waits until the command handles SIGTERM, which it does before all other work."""
    while process.poll() is None:
        text = Path(f"/proc/{process.pid}/status").read_text()
        (handled,) = [int(line.split()[1], 16) for line in text.splitlines() if line.startswith("SigCgt")]
        if handled >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.001)


@pytest.mark.parametrize(
    ("command", "number"),
    [("train", signal.SIGINT), ("sweep", signal.SIGINT), ("data", signal.SIGINT), ("train", signal.SIGTERM)],
)
def test_an_interrupted_command_says_so_in_one_line_and_exits_with_the_code_of_the_signal(command, number):
    """The signal is sent to the process group, as by a terminal."""
    exit_codes = set()
    for delay in DELAYS:
        with subprocess.Popen(
            command_line(*COMMANDS[command]),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            _wait_until_signals_are_handled(process)
            time.sleep(delay)
            if process.poll() is None:
                os.killpg(process.pid, number)
            output, errors = process.communicate(timeout=120)
        exit_codes.add(process.returncode)
        assert "Traceback" not in output + errors, delay
        if process.returncode == 0:
            assert errors == "", delay
            continue
        assert process.returncode == 128 + number, (delay, errors)
        (line,) = errors.splitlines()
        assert line.startswith("error interrupted"), delay
    assert 128 + number in exit_codes
