"""Each distinct architecture of a sweep, tried on one batch in a process of its own before the first trial starts.

A network that does not fit its images, or not into memory, is so found out within seconds, and not in the night.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle

from trainyard.config.compose import from_tree, to_run_config
from trainyard.config.registry import load_plugins
from trainyard.data import load_dataset
from trainyard.errors import ConfigError
from trainyard.evaluation.trials import Trial
from trainyard.sweep.launch.devices import share_out
from trainyard.sweep.launch.process_pool import End, Job, ProcessPool
from trainyard.system.progress import Progress
from trainyard.system.tensorflow_setup import configure_tensorflow
from trainyard.training.debug import OneBatch
from trainyard.training.schedules import Constant
from trainyard.training.trainer import train

_LIMIT_SECONDS = 600.0
_TINY = 1e-6
"""A learning rate at which no step breaks down: whether the trial's own does is for the trial to find out."""
_NOT_TRIED = ("name", "notes", "seed", "resume", "evaluation", "tracking", "sweep")
"""What does not matter to whether a batch can be trained on."""
_TRAINING = ("batch_size", "precision")


def architecture_of(trial: Trial) -> str:
    """Returns a name for what a trial is tried for, the same for all that it can be told of by one of them."""
    parts: dict[str, Any] = {key: value for key, value in trial.config.items() if key not in _NOT_TRIED}
    parts["training"] = {key: parts["training"][key] for key in _TRAINING}
    parts["optimizer"] = parts["optimizer"]["name"]
    del parts["schedule"]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def try_architectures(
    untried: Mapping[str, Trial],
    works: Callable[[str], None],
    logs: Path,
    n_jobs: int,
    held: Path,
    *,
    meanwhile: Callable[[], None],
) -> None:
    """Trains one batch of each of some architectures, each in a process of its own.

    Args:
        untried: A trial of each, by the names of `architecture_of`.
        works: Called with the name of each that could be trained.
        logs: The folder that the output of the processes goes to.
        n_jobs: How many are tried side by side, on a GPU each where there are GPUs.
        held: A file that each process holds a lock on.
        meanwhile: Called once, when as many processes as may be are at work; what it raises ends them.

    Raises:
        ConfigError: If some can't be trained; with a line for each.
    """
    waiting, places = [*untried.values()][::-1], share_out(n_jobs, os.environ)
    names = {trial.number: name for name, trial in untried.items()}
    taken: dict[int, dict[str, str]] = {}
    found: dict[int, str] = {}
    with ProcessPool() as pool:

        def fill_places() -> None:
            while waiting and places:
                trial = waiting.pop()
                taken[trial.number] = places.pop()
                pool.submit(
                    Job(
                        number=trial.number,
                        work=cloudpickle.dumps(_Tryout(dict(trial.config))),
                        log=logs / f"{trial.number}-tried.log",
                        limit_seconds=_LIMIT_SECONDS,
                        environment=taken[trial.number],
                        held=held,
                    )
                )

        fill_places()
        meanwhile()
        while len(pool):
            for event in pool.poll():
                if isinstance(event, End):
                    places.append(taken[event.number])
                    found[event.number] = event.failure
                    if not event.failure:
                        works(names[event.number])
            fill_places()
    if failed := [trial for trial in untried.values() if found[trial.number]]:
        raise ConfigError(
            f"{len(failed)} of {len(untried)} architectures can't be trained on one batch, so no trial was started:",
            *(f"trial {trial.number}, {trial.label}: {found[trial.number]}" for trial in failed),
            f"What they printed is in {logs}",
        )


class _Tryout:
    """Loads, builds and trains one batch, as it travels into its process."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config

    def __call__(self) -> None:
        load_plugins()
        config = to_run_config(from_tree(self._config, "the plan"))
        wanted = config.training
        configure_tensorflow(config.seed, wanted.threads or 1, wanted.determinism, wanted.precision)
        whole = load_dataset(config.dataset, config.seed, progress=False)
        dataset = OneBatch().cut(whole, wanted.batch_size, config.seed)
        model = config.model.build(dataset.spec)
        step = replace(
            config,
            training=replace(wanted, epochs=1, xla="off", keep_best=None),  # a program of one batch is of no other use
            optimizer=replace(config.optimizer, learning_rate=_TINY),
            schedule=Constant(),
        )
        train(model, dataset, step, Progress(), lambda _epoch, _metrics: None)
