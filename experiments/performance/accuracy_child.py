"""The child process that trains the published recipe with several seeds, all with one engine.

    python -m experiments.performance.accuracy_child FOLDER THREADS ENGINE EPOCHS SEED...

FOLDER has the images. Each line on stdout is a JSON object: the seed, its test accuracy, and the training time.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from experiments.performance.images import load_dataset
from trainyard.config.compose import compose_config
from trainyard.evaluation.scoring import evaluate
from trainyard.system.progress import Progress
from trainyard.system.tensorflow_setup import configure_tensorflow, import_tensorflow
from trainyard.training.trainer import train


def main() -> None:
    """Trains and evaluates one model per seed."""
    folder, threads, engine, epochs = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    import_tensorflow(threads)
    dataset = load_dataset(folder)
    for seed in map(int, sys.argv[5:]):
        overrides = [f"training.engine={engine}", f"training.epochs={epochs}", f"seed={seed}"]
        config = compose_config(["experiment=mnist_baseline", *overrides])
        configure_tensorflow(seed, threads)
        model = config.model.build(dataset.spec)
        started = time.perf_counter()
        train(model, dataset, config, Progress(), lambda *_: None)
        seconds = time.perf_counter() - started
        accuracy = evaluate(model, dataset.test, dataset.spec).accuracy
        sys.stdout.write(json.dumps({"seed": seed, "accuracy": accuracy, "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
