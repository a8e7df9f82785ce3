"""A refactor shows identical losses: three small recipes against golden figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BASELINES = Path(__file__).parents[1] / "baselines"
TOLERANCE = 5e-3
"""Relative, where processor, versions or threads are others than those of the golden figures."""


def test_losses_are_those_of_the_golden_figures():
    golden = json.loads((BASELINES / "losses.json").read_text())
    command = [sys.executable, str(BASELINES / "make.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    if found["environment"] == golden["environment"]:
        assert found["losses"] == golden["losses"]
    for recipe, losses in golden["losses"].items():
        for name, values in losses.items():
            assert found["losses"][recipe][name] == pytest.approx(values, rel=TOLERANCE), (recipe, name)
    assert found["losses"].keys() == golden["losses"].keys()
