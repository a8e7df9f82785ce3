"""Compares the losses of three small recipes with golden values, to detect changes of the training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from processes import run_program

BASELINES = Path(__file__).parents[1] / "baselines"
TOLERANCE = 5e-3
"""Relative tolerance if processor, versions or threads differ from those of the golden values."""


def test_losses_match_the_golden_values():
    golden = json.loads((BASELINES / "losses.json").read_text())
    done = run_program(f"import runpy; runpy.run_path({str(BASELINES / 'make.py')!r}, run_name='__main__')")
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(done.stdout.splitlines()[-1])
    if results["environment"] == golden["environment"]:
        assert results["losses"] == golden["losses"]
    for recipe, losses in golden["losses"].items():
        for name, values in losses.items():
            assert results["losses"][recipe][name] == pytest.approx(values, rel=TOLERANCE), (recipe, name)
    assert results["losses"].keys() == golden["losses"].keys()
