"""Computes the losses per epoch of three small recipes, which a change of the code must not change.

    python tests/baselines/make.py            prints the losses that this machine computes
    python tests/baselines/make.py --write    also saves them as golden values; explain the change in the commit

The golden values are in losses.json, with the environment in which they were computed. In an equal environment the
losses are bit-identical; elsewhere they are equal within the tolerance in test_golden_losses.py.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from trainyard import compose_config
from trainyard.data import load_dataset
from trainyard.system import tensorflow_setup
from trainyard.system.environment import collect_machine_info, list_installed_versions
from trainyard.system.progress import Progress
from trainyard.training.trainer import train

FILE = Path(__file__).with_name("losses.json")
THREADS = 2
COMMON = ["training.epochs=4", "dataset.validation_fraction=0.1", "seed=11"]
RECIPES = {
    "compiled with XLA: adam": ["model.hidden_units=[64,32]", "training.xla=on"],
    "compiled without XLA: momentum, batch norm, dropout, cosine": [
        "model.hidden_units=[64,32]", "model.batch_norm=true", "model.dropout=0.2", "optimizer=sgd_momentum",
        "schedule=cosine", "training.xla=off",
    ],
    "fit: rmsprop, l2, tanh": ["model.hidden_units=[48]", "model.activation=tanh", "model.l2=0.001",
                               "optimizer=rmsprop", "training.engine=fit"],
}  # fmt: skip


def losses() -> dict[str, dict[str, list[float]]]:
    """Trains every recipe and returns its losses per epoch."""
    losses_by_recipe = {}
    for name, overrides in RECIPES.items():
        config = compose_config([*COMMON, *overrides])
        tensorflow_setup.configure_tensorflow(config.seed, THREADS)
        dataset = load_dataset(config.dataset, config.seed)
        result = train(config.model.build(dataset.spec), dataset, config, Progress(), lambda epoch, metrics: None)
        losses_by_recipe[name] = {
            key: [metrics[key] for metrics in result.history] for key in ("loss/train", "loss/val")
        }
    return losses_by_recipe


def environment() -> dict[str, object]:
    """Returns the versions and machine properties that affect the last bits of a loss."""
    machine = collect_machine_info(THREADS)
    versions = list_installed_versions()
    packages = {name: versions[name] for name in ("tensorflow", "keras", "numpy", "scikit-learn")}
    return {**packages, **{key: machine[key] for key in ("cpu", "instructions", "gpus", "threads", "onednn")}}


if __name__ == "__main__":
    tensorflow_setup.import_tensorflow(THREADS)
    content = {"losses": losses(), "environment": environment()}
    if "--write" in sys.argv:
        FILE.write_text(json.dumps(content, indent=1) + "\n")
    sys.stdout.write(json.dumps(content) + "\n")
