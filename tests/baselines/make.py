"""The per-epoch losses of three small recipes: what a change of the code must leave as it is.

    python tests/baselines/make.py            prints them, as this machine computes them
    python tests/baselines/make.py --write    makes them the golden figures; say in the commit why they changed

The golden figures stand in losses.json with the environment that made them. In an equal environment the losses are
equal to the bit; elsewhere within the tolerance that test_baselines.py states.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from trainyard import compose_config
from trainyard.data import load_dataset
from trainyard.system import tensorflow_setup
from trainyard.system.environment import describe_machine, installed_versions
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
    found = {}
    for name, overrides in RECIPES.items():
        config = compose_config([*COMMON, *overrides])
        tensorflow_setup.configure_tensorflow(config.seed, THREADS)
        dataset = load_dataset(config.dataset, config.seed)
        result = train(config.model.build(dataset.spec), dataset, config, Progress(), lambda epoch, metrics: None)
        found[name] = {key: [metrics[key] for metrics in result.history] for key in ("loss/train", "loss/val")}
    return found


def environment() -> dict[str, object]:
    """Returns what the last bit of a loss depends on."""
    machine = describe_machine(THREADS)
    versions = installed_versions()
    packages = {name: versions[name] for name in ("tensorflow", "keras", "numpy", "scikit-learn")}
    return {**packages, **{key: machine[key] for key in ("cpu", "instructions", "gpus", "threads", "onednn")}}


if __name__ == "__main__":
    tensorflow_setup.import_tensorflow(THREADS)
    content = {"losses": losses(), "environment": environment()}
    if "--write" in sys.argv:
        FILE.write_text(json.dumps(content, indent=1) + "\n")
    sys.stdout.write(json.dumps(content) + "\n")
