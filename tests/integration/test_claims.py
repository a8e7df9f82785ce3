"""Checks on the real data that a recipe which cannot reach the published claim contradicts it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from processes import run_trainyard

CLAIM = Path(__file__).parents[2] / "experiments" / "mnist_baseline" / "claim.yaml"


@pytest.mark.slow
def test_sabotaged_recipe_contradicts_the_published_claim(mnist_folder):
    sabotage = ["model.hidden_units=[8]", "training.epochs=1", "training.batch_size=256", "tracking=off"]
    words = ["reproduce", str(CLAIM), "--seeds", "5", "--json", *sabotage, f"dataset.path='{mnist_folder}'"]
    done = run_trainyard(*words)
    assert done.returncode == 3, done.stderr
    summary = json.loads(done.stdout)
    assert summary["verdict"] == "contradicted"
    metrics = {cell["name"]: cell for cell in summary["cells"]}
    accuracy = metrics["accuracy"]
    assert (accuracy["verdict"], accuracy["published"], len(accuracy["values"])) == ("contradicted", 0.98, 5)
    assert accuracy["high"] < 0.975
    assert summary["wrong_counts"] == []
    text = Path("outputs/reproduce/mnist_baseline/README.md").read_text()
    assert "accuracy: the published value is 0.98, but the prediction interval of one more run is 0." in text
    assert "'model.hidden_units=[8]'" in text
