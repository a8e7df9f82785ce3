"""The published claim against a recipe that can't come to it, on the real data, as a user checks it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CLAIM = Path(__file__).parents[2] / "experiments" / "mnist_baseline" / "claim.yaml"


@pytest.mark.slow
def test_the_true_claim_is_contradicted_by_a_sabotaged_recipe(mnist_folder):
    sabotage = ["model.hidden_units=[8]", "training.epochs=2", "training.batch_size=128", "tracking=off"]
    words = ["reproduce", str(CLAIM), "--json", *sabotage, f"dataset.path='{mnist_folder}'"]
    command = [sys.executable, "-c", "from trainyard.cli import main; main()", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=900, check=False)
    assert done.returncode == 3, done.stderr
    told = json.loads(done.stdout)
    assert told["verdict"] == "contradicted"
    verdicts = {cell["name"]: cell for cell in told["cells"]}
    accuracy = verdicts["accuracy"]
    assert (accuracy["verdict"], accuracy["published"], len(accuracy["values"])) == ("contradicted", 0.98, 10)
    assert accuracy["high"] < 0.975
    assert told["wrong_counts"] == []
    text = Path("outputs/reproduce/mnist_baseline/README.md").read_text()
    assert "accuracy: published 0.98, and one more run would lie in 0." in text
    assert "'model.hidden_units=[8]'" in text
