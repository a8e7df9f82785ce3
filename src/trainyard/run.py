"""One run from beginning to end: load, build, train, evaluate, log.

Before it: everything that a run is made of. After it: the command line, and whoever calls `run_experiment`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard import artifacts, provenance, runtime
from trainyard.checks import validate
from trainyard.compose import flatten_config, hash_config, unique_name
from trainyard.datasets import load_dataset
from trainyard.errors import Terminated
from trainyard.evaluation import EvalResult, evaluate
from trainyard.images import Dataset
from trainyard.models import with_raw_pixels
from trainyard.progress import Progress
from trainyard.report import ReportPage, write_report
from trainyard.schema import RunConfig
from trainyard.tracking import DatasetInput, open_tracker
from trainyard.training import TrainResult, train

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class RunResult:
    """What one run came to.

    Attributes:
        name: The run's name.
        run_id: MLflow's id of the run, or None where it was not tracked.
        experiment_id: MLflow's id of the experiment, or None.
        tracking_uri: The store that the run was logged to, or None.
        folder: Where all its files are.
        config: What was run.
        dataset: The images as they were used.
        model: The trained Keras model; takes images scaled to 0..1.
        training: The history.
        evaluation: Predictions and scores on the test images.
        timings: Seconds by stage.
    """

    name: str
    run_id: str | None
    experiment_id: str | None
    tracking_uri: str | None
    folder: Path
    config: RunConfig
    dataset: Dataset
    model: keras.Model
    training: TrainResult
    evaluation: EvalResult
    timings: dict[str, float]


def run_experiment(
    config: RunConfig, *, folder: Path | None = None, progress: Progress | None = None, overrides: Sequence[str] = ()
) -> RunResult:
    """Trains and evaluates the model that a config describes, and logs all of it to MLflow.

    Args:
        config: What to run, from `compose_config`; may have been changed since.
        folder: Where the run's files go; None: a new folder under ``outputs/<name>/``.
        progress: Told of what goes on; None: silence.
        overrides: The overrides that the config was composed with, for the record.

    Returns:
        The trained model, its scores, and where everything is.

    Raises:
        ConfigError: If the config is wrong; no run was created.
        DatasetError: If the data is absent or damaged; the run is FAILED.
        TrainingError: If the training broke down; the run is FAILED.
        TrackingError: If the store is out of reach. Found at the start, nothing was run; later, the folder has it all.
        KeyboardInterrupt: If a signal stopped the run; it is KILLED.

    Example:
        >>> from trainyard import compose_config, run_experiment
        >>> result = run_experiment(compose_config(["experiment=quickstart", "training.epochs=3"]))  # doctest: +SKIP
        >>> result.evaluation.accuracy  # doctest: +SKIP
        0.9277777777777778
    """
    validate(config)
    uri = config.tracking.resolve_uri(os.environ, Path.cwd())
    progress = progress or Progress()
    clock = _Clock(progress)
    folder = (folder or Path("outputs") / config.name / unique_name()).absolute()
    git = provenance.read_git_state(Path.cwd())
    artifacts.write_origin(folder, config, overrides, git)

    experiment = config.tracking.experiment or config.name
    tags = _tags_at_start(config, git)
    with _signals_raise(), open_tracker(config.model.label, folder, progress, uri, experiment, config.notes, tags) as run:
        with clock.stage("start"):
            runtime.import_tensorflow()
            threads = runtime.configure_tensorflow(config.seed, config.training.threads)
            artifacts.write_machine(folder, machine := provenance.describe_machine(threads))

        with clock.stage("load"):
            dataset = load_dataset(config.dataset, config.seed, progress=progress.downloads)
            progress.detail(f"{_describe_data(dataset)}, from {dataset.source}")
            run.log_inputs(_inputs(dataset))

        with clock.stage("build"):
            model = config.model.build(dataset.spec)
            summary = artifacts.write_summary(folder, model)
            progress.detail(f"{run.name}, {model.count_params():,} parameters")
            run.log_params({**flatten_config(config), **_model_size(model)})

        with clock.stage("train"):
            training = train(model, dataset, config, progress, lambda epoch, metrics: run.log_metrics(metrics, epoch))
        clock.split("train", compile=training.compile_seconds, train=training.train_seconds)

        with clock.stage("evaluate"):
            evaluation = evaluate(model, dataset.test, dataset.spec)

        with clock.stage("log"):
            tags = {**_tags_at_end(config, dataset, model, training, evaluation), "threads": str(threads)}
            run.set_tags(tags)
            artifacts.save_models(folder, model)
            artifacts.write_evaluation(folder, evaluation, config.evaluation.first_predictions)
            pictures = artifacts.draw_pictures(folder, config, dataset, training, evaluation)
            facts = _provenance_facts(config, machine, git, tags)
            page = _report_page(config, run.name, dataset, summary, training, evaluation, clock.seconds, facts, pictures)
            write_report(folder / "report.html", page)
            run.log_metrics(evaluation.metrics())
            if config.tracking.model:
                run.log_model(with_raw_pixels(model, dataset.spec), dataset.spec, provenance.installed_versions())
            run.log_folder()
        run.log_metrics(clock.metrics())

    return RunResult(
        name=run.name,
        run_id=run.run_id,
        experiment_id=run.experiment_id,
        tracking_uri=uri,
        folder=folder,
        config=config,
        dataset=dataset,
        model=model,
        training=training,
        evaluation=evaluation,
        timings=dict(clock.seconds),
    )


# ---------------------------------------------------------------------------------------------------------------
# What is said about a run


def _tags_at_start(config: RunConfig, git: provenance.GitState | None) -> dict[str, str]:
    tags = {
        "trainyard.role": "run",
        "trainyard.version": version("trainyard"),
        "config_hash": hash_config(config),
        "seed": str(config.seed),
        "command": provenance.command_line(),
        "mlflow.source.name": "trainyard",
        "mlflow.source.type": "LOCAL",
        "mlflow.note.content": config.notes,
        **provenance.describe_process(),
        **config.tracking.tags,
    }
    if config.sweep.name:
        tags["sweep_id"] = config.sweep.name
    if git:
        tags |= {
            "mlflow.source.git.commit": git.commit,
            "mlflow.source.git.branch": git.branch,
            "git.dirty": str(git.dirty).lower(),
        }
    return tags


def _tags_at_end(
    config: RunConfig, dataset: Dataset, model: keras.Model, training: TrainResult, evaluation: EvalResult
) -> dict[str, str]:
    note = (
        f"**{evaluation.accuracy:.4f}** of {len(dataset.test):,} test images right. {config.model.label} on {dataset.name}, "
        f"{config.optimizer.name} at {config.optimizer.learning_rate:g}, {len(training.history)} epochs of "
        f"batch {config.training.batch_size}, seed {config.seed}.\n\n{config.notes}"
    )
    return {
        "dataset_digest": dataset.digest,
        "weights_digest": provenance.digest_weights(model),
        "engine": f"{training.engine}: {training.engine_reason}",
        "xla": "off: Keras's own loop runs without it",
        "mlflow.note.content": note.strip(),
        "mlflow.loggedArtifacts": f'[{{"path": "{artifacts.PER_CLASS_TABLE}", "type": "table"}}]',
    }


def _inputs(dataset: Dataset) -> list[DatasetInput]:
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    return [
        DatasetInput(
            name=dataset.name,
            context=context,
            digest=split.digest,
            source=dataset.source,
            images=len(split),
            image_shape=dataset.spec.image_shape,
            classes=dataset.spec.classes,
        )
        for context, split in splits.items()
        if split is not None
    ]


def _model_size(model: keras.Model) -> dict[str, int]:
    """Returns numbers for parallel coordinates: the layers with a kernel, and all parameters."""
    layers = [layer for layer in model.layers if any(weight.name == "kernel" for weight in layer.weights)]
    return {"model.layers": len(layers), "model.parameters": model.count_params()}


def _describe_data(dataset: Dataset) -> str:
    validation = f", {len(dataset.validation):,} for validation" if dataset.validation is not None else ""
    return f"{dataset.name}: {len(dataset.train):,} images to train on{validation}, {len(dataset.test):,} to test"


def _provenance_facts(
    config: RunConfig, machine: dict[str, Any], git: provenance.GitState | None, tags: dict[str, str]
) -> dict[str, str]:
    versions = provenance.installed_versions()
    return {
        "Command": provenance.command_line(),
        "Commit": f"{git.commit}{' with local changes' if git.dirty else ''}" if git else "not in a git checkout",
        "Config hash": hash_config(config),
        "Seed": str(config.seed),
        "Dataset digest": tags["dataset_digest"],
        "Weights digest": tags["weights_digest"],
        "Engine": tags["engine"],
        "XLA": tags["xla"],
        "Threads": tags["threads"],
        "Machine": f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['platform']}",
        "Versions": ", ".join(f"{name} {versions[name]}" for name in provenance.REPORTED_PACKAGES if name in versions),
        "Python": machine["python"],
    }


def _report_page(
    config: RunConfig,
    name: str,
    dataset: Dataset,
    summary: str,
    training: TrainResult,
    evaluation: EvalResult,
    timings: dict[str, float],
    facts: dict[str, str],
    pictures: dict[str, Path],
) -> ReportPage:
    raise NotImplementedError


# ---------------------------------------------------------------------------------------------------------------
# Time and signals


@dataclass(slots=True)
class _Clock:
    """Measures the stages of a run and tells the progress of each."""

    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures a stage."""
        self.progress.stage(name)
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - began

    def split(self, name: str, **parts: float) -> None:
        """Replaces a stage by its parts."""
        del self.seconds[name]
        self.seconds.update(parts)

    def metrics(self) -> dict[str, float]:
        """Returns the stages and the total under the names they are logged by."""
        stages = {f"time/{name}_seconds": seconds for name, seconds in self.seconds.items()}
        return {**stages, "time/total_seconds": time.perf_counter() - self.began}


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP end the block with `Terminated`, where signals can be handled: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, _frame: object) -> None:
        raise Terminated(number)

    before = {number: signal.signal(number, terminate) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
