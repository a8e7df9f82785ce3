"""One run from beginning to end: load, build, train, evaluate, log."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.config.compose import unique_name
from trainyard.config.schema import RunConfig
from trainyard.config.sections import TrainingConfig
from trainyard.config.validation import size_problems, validate
from trainyard.data import load_dataset
from trainyard.data.preprocessing import write_preprocessing
from trainyard.errors import TrainingError, TrialPruned
from trainyard.evaluation.scoring import evaluate
from trainyard.reporting.run_report import write_report
from trainyard.runs import artifacts
from trainyard.runs.pretrained import find_start_model, take_weights
from trainyard.runs.result import Outcome, RunResult
from trainyard.runs.resume import Earlier, load_earlier, plan_checkpoints
from trainyard.runs.sync import complete_in_store
from trainyard.runs.tags import (
    TrialOf,
    batch_warning,
    config_params,
    dataset_inputs,
    describe_data,
    describe_model,
    model_params,
    report_page,
    tags_at_end,
    tags_at_start,
    tags_of_start,
)
from trainyard.system.environment import describe_machine, digest_weights, read_git_state
from trainyard.system.files import full_disk_told
from trainyard.system.progress import Progress
from trainyard.system.signals import raise_if_stopped, signals_raise
from trainyard.system.tensorflow_setup import configure_tensorflow, draw_seed, import_tensorflow, lack_of_memory_told
from trainyard.system.timing import StageClock
from trainyard.tracking import Tracker, open_tracker
from trainyard.training.best_model import BEST_MODEL, BestModel
from trainyard.training.trainer import train

if TYPE_CHECKING:
    import keras

    from trainyard.data.dataset import Dataset, DataSpec


def run_experiment(
    config: RunConfig,
    *,
    folder: Path | str | None = None,
    progress: Progress | None = None,
    overrides: Sequence[str] = (),
    callbacks: Sequence[keras.callbacks.Callback] = (),
    trial: TrialOf | None = None,
    start_model: Path | None = None,
) -> RunResult:
    """Trains and evaluates the model that a config describes, and logs all of it to MLflow.

    Args:
        config: What to run, from `compose_config`; may have been changed since.
        folder: Where the run's files go, new or empty; None: a new folder under ``outputs/<name>/``.
        progress: Told of what goes on; None: silence.
        overrides: The overrides that the config was composed with, for the record.
        callbacks: Keras callbacks of your own. One that wants every batch makes Keras's own loop the engine.
        trial: Of which sweep the run is a trial; None: of none.
        start_model: The file of the model that ``training.start_from`` names, where it was found already.

    Returns:
        The trained model, its scores, and where everything is.

    Raises:
        ConfigError: If the config is wrong; no run was created.
        DatasetError: If the data is absent or damaged; the run is FAILED.
        ModelError: If the model to start from can't be loaded; the run is FAILED.
        TrainingError: If the training broke down; the run is FAILED.
        TrialPruned: If the sweep that it is a trial of ended it; the run is KILLED, and has the tag `pruned`.
        TrackingError: If the store is out of reach. Found at the start, nothing was run; later, the folder has it all.
        KeyboardInterrupt: If a signal stopped the run; it is KILLED.

    Example:
        >>> from trainyard import compose_config, run_experiment
        >>> result = run_experiment(compose_config(["experiment=quickstart", "training.epochs=3"]))  # doctest: +SKIP
        >>> print(result.evaluation.report)  # doctest: +SKIP
    """
    validate(config)
    uri = config.tracking.resolve_uri(os.environ, Path.cwd())
    clock = StageClock(progress := progress or Progress())
    earlier, start = load_earlier(config, uri), start_model or find_start_model(config.training.start_from, uri)
    folder = artifacts.make_folder(Path(folder) if folder else Path("outputs") / config.name / unique_name())
    git = read_git_state(Path.cwd())
    artifacts.write_origin(folder, config, overrides, git)
    tags, params = tags_at_start(config, folder, git, trial), config_params(config)

    with (
        signals_raise(),
        open_tracker(
            config,
            folder,
            progress,
            uri,
            tags=tags,
            params=params,
            catch_up=lambda: complete_in_store(folder, uri or ""),
            name=trial.name if trial else None,
        ) as run,
        full_disk_told(folder),
    ):
        with clock.stage("start"):
            seed, machine = _start_tensorflow(config.training, config.seed, earlier)
            artifacts.write_machine(folder, machine)
            run.set_tags(tags_of_start(config, seed, machine))
            run.confirm()

        with clock.stage("load"):
            dataset = _load_data(config, progress)
            run.log_inputs(dataset_inputs(dataset))
            write_preprocessing(folder, dataset)

        with clock.stage("build"):
            model = _build_model(config, dataset.spec, None if earlier else start, progress)
            artifacts.write_summary(folder, model)
            run.log_params(model_params(model))
            run.set_tags({"initial_weights_digest": digest_weights(model)})

        with clock.stage("train"):
            best = _plan_best(config, folder, earlier)
            if earlier:
                _go_on(earlier, run, progress)
            training = train(
                model,
                dataset,
                config.debug.adjust(config),
                progress,
                lambda epoch, metrics: _end_epoch(run, trial, epoch, metrics),
                seed=seed,
                callbacks=[*callbacks, *config.debug.callbacks(folder)],
                checkpoints=plan_checkpoints(config, dataset, folder, seed, earlier),
                best=best,
            )
        clock.split("train", compile=training.compile_seconds, train=training.train_seconds)

        with clock.stage("evaluate"):
            artifacts.save_models(folder, model)  # first: whatever a metric may raise, the model is there
            with lack_of_memory_told(lambda: "evaluating"):
                evaluation = evaluate(model, dataset.test, dataset.spec, config.evaluation)

        with clock.stage("log"):
            outcome = Outcome(
                config=config,
                dataset=dataset,
                model=model,
                training=training,
                evaluation=evaluation,
                machine=machine,
                best_model=best,
            )
            tags |= tags_at_end(outcome)
            artifacts.write_evaluation(folder, evaluation, config.evaluation.first_predictions)
            run.set_tags(tags)
            run.log_metrics(evaluation.metrics())
            if run.wants_model:
                run.log_model(artifacts.save_servable(folder, model, dataset.spec), dataset.spec)
            write_report(
                folder / "report.html",
                report_page(outcome, clock.seconds, tags, artifacts.draw_pictures(folder, outcome)),
            )
            run.log_folder()
            run.settle()
        run.log_metrics(clock.metrics())
        findings = config.debug.conclude(training.history, evaluation.accuracy, folder)
        result = RunResult.of(
            outcome,
            name=run.name,
            folder=folder,
            run_id=run.run_id,
            experiment_id=run.experiment_id,
            tracking_uri=uri,
            timings={**clock.seconds, "total": clock.total},
            findings=findings,
        )
        if trial:
            trial.keep(result)  # before the run is FINISHED: a sweep that is killed goes on from what was kept
    return result


def _start_tensorflow(training: TrainingConfig, seed: int, earlier: Earlier | None) -> tuple[int, dict[str, Any]]:
    """Imports and configures TensorFlow.

    Returns:
        What everything is drawn from, and what it is computed on.
    """
    import_tensorflow(training.threads)
    drawn_from = earlier.checkpoint.identity.seed if earlier else draw_seed(seed, training.determinism)
    threads = configure_tensorflow(drawn_from, training.threads, training.determinism, training.precision)
    return drawn_from, describe_machine(threads)


def _load_data(config: RunConfig, progress: Progress) -> Dataset:
    """Loads the data, and tells what it is."""
    whole = load_dataset(config.dataset, config.seed, progress=progress.downloads)
    if warning := batch_warning(whole, config):
        progress.detail(warning)
    dataset = config.debug.cut(whole, config.training.batch_size, config.seed)
    progress.detail(describe_data(dataset))
    return dataset


def _go_on(earlier: Earlier, run: Tracker, progress: Progress) -> None:
    """Tells where a resumed training goes on, and logs what was reached before."""
    for line in earlier.describe():
        progress.detail(line)
    for epoch, metrics in enumerate(earlier.checkpoint.history, start=1):
        run.log_metrics(metrics, epoch)


def _end_epoch(run: Tracker, trial: TrialOf | None, epoch: int, metrics: Mapping[str, float]) -> None:
    run.log_metrics(metrics, epoch)
    raise_if_stopped()
    if trial and (reason := trial.pruned()):
        raise TrialPruned(reason)


def _plan_best(config: RunConfig, folder: Path, earlier: Earlier | None) -> BestModel | None:
    """Returns which epoch's model is kept beside the last one's, and where, or None."""
    monitor = config.training.keep_best
    if monitor is None:
        return None
    same = earlier and earlier.keep_best == monitor and not earlier.damaged  # else that model is of another epoch
    return BestModel(monitor, folder / BEST_MODEL, earlier.file.parents[1] / BEST_MODEL if earlier and same else None)


def _build_model(config: RunConfig, spec: DataSpec, start: Path | None, progress: Progress) -> keras.Model:
    """Builds the model, with drawn weights or those of a file, and tells what it is."""
    for problem in size_problems(config.model.count_parameters(spec.image_shape, spec.classes)):
        raise TrainingError(f"model: {problem}")
    with lack_of_memory_told(lambda: "building the model"):
        model = config.model.build(spec)
    for line in describe_model(config, model):
        progress.detail(line)
    if start:
        take_weights(model, start)
        progress.detail(f"starting from the weights of {start}")
    return model
