"""Checks on the real data that a recipe which cannot reach the published claim contradicts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CLAIM = Path(__file__).parents[2] / "experiments" / "mnist_baseline" / "claim.yaml"


@pytest.mark.slow
def test_sabotaged_recipe_contradicts_the_published_claim(mnist_folder):
    sabotage = ["model.hidden_units=[8]", "training.epochs=2", "training.batch_size=128", "tracking=off"]
    words = ["reproduce", str(CLAIM), "--json", *sabotage, f"dataset.path='{mnist_folder}'"]
    command = [sys.executable, "-c", "from trainyard.cli import main; main()", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=900, check=False)
    assert done.returncode == 3, done.stderr
    summary = json.loads(done.stdout)
    assert summary["verdict"] == "contradicted"
    metrics = {cell["name"]: cell for cell in summary["cells"]}
    accuracy = metrics["accuracy"]
    assert (accuracy["verdict"], accuracy["published"], len(accuracy["values"])) == ("contradicted", 0.98, 10)
    assert accuracy["high"] < 0.975
    assert summary["wrong_counts"] == []
    text = Path("outputs/reproduce/mnist_baseline/README.md").read_text()
    assert "accuracy: the published value is 0.98, but the prediction interval of one more run is 0." in text
    assert "'model.hidden_units=[8]'" in text
