"""Smoke test: trains one batch of each distinct architecture of a sweep, in separate processes, before the first trial.

A model that does not match its images or does not fit into memory is thus found within seconds, not after hours.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import cloudpickle

from trainyard.config import build_run_config, build_tree, load_plugins
from trainyard.data import load_dataset
from trainyard.errors import ConfigError
from trainyard.evaluation import Trial
from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.launch.devices import allocate_slots
from trainyard.sweep.launch.process_pool import Job, JobExit, ProcessPool
from trainyard.system import Progress, configure_tensorflow
from trainyard.training import Constant, OneBatch, train

_LIMIT_SECONDS = 600.0
_LEARNING_RATE = 1e-6
"""A learning rate that is too small to diverge: the smoke test does not test the learning rate of the trial."""
_IGNORED_SECTIONS = ("name", "notes", "seed", "resume", "evaluation", "tracking", "sweep")
"""Sections of the config that do not affect whether a batch can be trained."""
_TRAINING_FIELDS = ("batch_size", "precision")


def _build_architecture_key(trial: Trial) -> str:
    """Returns a key for the trial's architecture. Trials with equal keys need only one smoke test."""
    parts: dict[str, Any] = {key: value for key, value in trial.config.items() if key not in _IGNORED_SECTIONS}
    parts["training"] = {key: parts["training"][key] for key in _TRAINING_FIELDS}
    parts["optimizer"] = parts["optimizer"]["name"]
    del parts["schedule"]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def smoke_test_architectures(
    trials: Sequence[Trial], folder: SweepFolder, n_jobs: int, *, after_start: Callable[[], None]
) -> None:
    """Trains one batch of each new architecture, in separate processes, and records successes in the ledger.

    After the first processes have started, `after_start` is called. An exception that it raises ends them. Raises
    ConfigError, with one line per architecture that cannot be trained.
    """
    untested: dict[str, Trial] = {}
    for trial in trials:
        if (architecture := _build_architecture_key(trial)) not in folder.ledger.tested_architectures:
            untested.setdefault(architecture, trial)
    waiting = [*untested.values()][::-1]
    keys = {trial.number: key for key, trial in untested.items()}
    failures: dict[int, str] = {}
    with ProcessPool(allocate_slots(n_jobs, os.environ), lock_file=folder.trials_lock_file) as pool:

        def fill_slots() -> None:
            """Starts smoke tests until no slot is free or none is waiting."""
            while waiting and pool.has_free_slot:
                trial = waiting.pop()
                work = cloudpickle.dumps(partial(_train_one_batch, dict(trial.config)))
                pool.submit(Job(trial.number, work, folder.logs / f"{trial.number}-tried.log", _LIMIT_SECONDS))

        fill_slots()
        after_start()
        while len(pool):
            for event in pool.poll():
                if isinstance(event, JobExit):
                    failures[event.number] = event.failure
                    if not event.failure:
                        folder.ledger.record_smoke_test(keys[event.number])
            fill_slots()
    if failed := [trial for trial in untested.values() if failures[trial.number]]:
        raise ConfigError(
            f"{len(failed)} of {len(untested)} architectures cannot be trained on one batch, so no trial was started:",
            *(f"trial {trial.number}, {trial.label}: {failures[trial.number]}" for trial in failed),
            f"Correct these settings and start the sweep again. The output of the smoke tests is in {folder.logs}",
        )


def _train_one_batch(frozen_config: dict[str, Any]) -> None:
    """Loads the data, builds the model and trains one batch, in the process of a smoke test."""
    load_plugins()
    config = build_run_config(build_tree(frozen_config, "the plan"))
    training = config.training
    configure_tensorflow(config.seed, training.threads or 1, training.determinism, training.precision)
    full_dataset = load_dataset(config.dataset, config.seed, progress=False)
    dataset = OneBatch().reduce_dataset(full_dataset, training.batch_size, config.seed)
    model = config.model.build(dataset.spec)
    test_config = replace(
        config,
        training=replace(training, epochs=1, xla="off", keep_best=None),  # compilation is slower than one batch
        optimizer=replace(config.optimizer, learning_rate=_LEARNING_RATE),
        schedule=Constant(),
        debug=OneBatch(),  # settings that require more batches are not checked
    )
    train(model, dataset, test_config, Progress(), lambda _epoch, _metrics: None)
