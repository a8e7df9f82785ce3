"""Performs one run from start to end: loads data, builds the model, trains, evaluates and logs."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.config import (
    RunConfig,
    build_run_name,
    find_size_problems,
    flatten_config,
    make_unique_name,
    select_notes,
    validate_config,
)
from trainyard.data import load_dataset, write_preprocessing
from trainyard.errors import TrainingError, TrialPruned
from trainyard.evaluation import evaluate
from trainyard.runs import artifacts
from trainyard.runs.context import RunContext, TrialInfo, build_request, build_start_tags, find_run_changes
from trainyard.runs.failure import report_failure
from trainyard.runs.lookup import find_start_model, load_start_weights
from trainyard.runs.report import is_report_written, write_plots_and_report
from trainyard.runs.result import RunResult
from trainyard.runs.resume import load_resume_point, plan_checkpoints
from trainyard.runs.sync import upload_run
from trainyard.runs.warning_log import WarningLog
from trainyard.system import (
    Progress,
    StageTimer,
    build_default_progress,
    check_interrupted,
    choose_seed,
    collect_machine_info,
    configure_tensorflow,
    explain_disk_full,
    explain_out_of_memory,
    hash_weights,
    import_tensorflow,
    raise_on_signals,
    read_git_state,
)
from trainyard.tracking import DatasetInput, Tracker, TrackingStore, names, open_tracker
from trainyard.training import BEST_MODEL, BestModel, TrainResult, train

if TYPE_CHECKING:
    import keras

    from trainyard.data import Dataset, DataSpec

_IGNORED_VARIABLES = {"MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"}
"""Variables with which MLflow chooses the active run, which Trainyard does not use."""

_process_lock = threading.Lock()
"""Held during a run, because seeds and TensorFlow's settings apply to the whole process."""


@contextlib.contextmanager
def _claim_process() -> Iterator[None]:
    """Raises a TrainingError if another run is in progress in this process; otherwise prevents others in the block."""
    if not _process_lock.acquire(blocking=False):
        raise TrainingError(
            "run_experiment: expected no other run in this process, but one is in progress. Seeds and TensorFlow's "
            "settings apply to the whole process, so wait for the other run, or use another process"
        )
    try:
        yield
    finally:
        _process_lock.release()


@_claim_process()
def run_experiment(
    config: RunConfig,
    *,
    folder: Path | str | None = None,
    progress: Progress | None = None,
    overrides: Sequence[str] = (),
    callbacks: Sequence[keras.callbacks.Callback] = (),
    trial: TrialInfo | None = None,
    start_model: Path | None = None,
) -> RunResult:
    """Trains and evaluates the model that a config describes, and logs everything to MLflow.

    A process performs one run at a time, because seeds and TensorFlow's settings apply to the whole process.

    Args:
        config: The config of the run, from `compose_config`. It may have been modified since.
        folder: The folder for the run's files. It must be new or empty. None creates one under ``outputs/<name>/``.
        progress: Receives the progress of the run. None shows a bar in a notebook, and nothing elsewhere.
        overrides: The overrides with which the config was composed. They are recorded with the run.
        callbacks: Your Keras callbacks. A callback that must be called for each batch requires the `fit` engine.
        trial: The sweep that the run belongs to as a trial. None if it is not a trial.
        start_model: The model file that ``training.start_from`` names, if the caller has already found it.

    Returns:
        The trained model, its metrics, and where they were written and logged.

    Raises:
        ConfigError: If the config is invalid. No run is created.
        DatasetError: If the data is missing or damaged. If this is noticed before the data is read, no run is created.
            Otherwise the run is FAILED.
        ModelError: If the model to start from can't be loaded. The run is FAILED.
        TrainingError: If the training fails, for example because the loss is NaN. The run is FAILED. Also if another
            thread performs a run; then no run is created.
        TrialPruned: If the sweep pruned the trial. The run is KILLED and has the tag `pruned`.
        TrackingError: If the tracking store can't be reached. If this is noticed at the start, nothing is run.
            Otherwise the run is completed, and its folder contains all results.
        KeyboardInterrupt: If a signal interrupted the run. The run is KILLED.

    Example:
        >>> from trainyard import compose_config, run_experiment
        >>> result = run_experiment(compose_config(["experiment=quickstart", "training.epochs=3"]))  # doctest: +SKIP
        >>> print(result.evaluation.report)  # doctest: +SKIP
    """
    validate_config(config)
    config.dataset.check_files()
    progress = progress or build_default_progress()
    run = _prepare_run(config, Path(folder) if folder else None, progress, trial, start_model, overrides=overrides)
    git, timer = read_git_state(Path.cwd()), run.timer
    artifacts.write_provenance(run.folder, config, overrides, git)
    run.tags.update(build_start_tags(run, git))
    opened_run = open_tracker(
        run.tracker,
        run.folder,
        run.progress,
        request=build_request(run),
        params={path: value for path, value in flatten_config(config).items() if path != "notes"},  # notes are a tag
        retry_upload=lambda: run.store and upload_run(run.folder, run.store),
        report_failure=lambda error: report_failure(run, error),
    )
    if run.store:
        run.progress.stage("open")
    with raise_on_signals(), opened_run, explain_disk_full(run.folder):
        with timer.stage("start"):
            seed, machine = _start_tensorflow(run)
        with timer.stage("load"):
            dataset = _load_data(run)
        with timer.stage("build"):
            model = _build_model(run, dataset.spec)
        with timer.stage("train"):
            best = _plan_best_model(run)
            training = _train(run, model, dataset, seed=seed, callbacks=callbacks, best=best)
        timer.split("train", compile=training.compile_seconds, train=training.train_seconds)
        with timer.stage("evaluate"), explain_out_of_memory(lambda: "evaluating"):
            artifacts.save_models(run.folder, model)  # before the evaluation: it is saved even if a metric fails
            evaluation = evaluate(model, dataset.test, dataset.spec, config.evaluation)
        trained = RunResult(
            config=config,
            dataset=dataset,
            model=model,
            training=training,
            evaluation=evaluation,
            machine=machine,
            best_model=best,
            name=run.tracker.status.run_name or run.name,
            run_id=run.tracker.run_id,
            folder=run.folder,
            tracking_uri=run.store.uri if run.store else None,
        )
        with timer.stage("log"):
            _log_results(run, trained)
        return _complete_result(run, trained)


def _prepare_run(
    config: RunConfig,
    folder: Path | None,
    progress: Progress,
    trial: TrialInfo | None,
    start_model: Path | None,
    *,
    overrides: Sequence[str],
) -> RunContext:
    """Finds what the run continues or starts from, and creates its folder; see `run_experiment` for the arguments."""
    store, timer = TrackingStore.from_config(config.tracking), StageTimer(progress)
    resume_point = load_resume_point(config, store)
    start_model = start_model or find_start_model(config.training.start_from, store)
    folder = artifacts.create_run_folder(folder or Path("outputs") / config.name / make_unique_name())
    changes = {} if trial else find_run_changes(config, overrides)
    return RunContext(
        config=config,
        overrides=overrides,
        notes=select_notes(config, overrides),
        name=trial.name if trial else build_run_name(config, changes),
        varied=tuple(changes),
        folder=folder,
        store=store,
        tracker=Tracker(
            store, progress.detail, f"The run continues, and its folder will contain everything: {folder}", folder
        ),
        progress=progress,
        timer=timer,
        tags={},
        trial=trial,
        resume_point=resume_point,
        start_model=start_model,
    )


def _start_tensorflow(run: RunContext) -> tuple[int, dict[str, Any]]:
    """Configures TensorFlow, and waits until the run exists in the store; returns the seed and the machine's data."""
    training = run.config.training
    import_tensorflow(training.threads)
    for name in _IGNORED_VARIABLES & os.environ.keys():
        run.progress.detail(f"{name} is ignored: use tracking.parent, tracking.experiment or name")
    seed = (
        run.resume_point.checkpoint.identity.seed
        if run.resume_point
        else choose_seed(run.config.seed, training.determinism)
    )
    threads = configure_tensorflow(seed, training.threads, training.determinism, training.precision)
    machine = collect_machine_info(threads)
    artifacts.write_json(run.folder / artifacts.MACHINE, machine)
    drawn_seed = {names.DRAWN_SEED: str(seed)} if training.determinism == "off" else {}
    run.tags.update({names.THREADS: str(machine["threads"]), **drawn_seed})  # set with those of the model
    run.tracker.wait_until_created()
    return seed, machine


def _load_data(run: RunContext) -> Dataset:
    """Loads the data, reduces it if the debug mode requires it, and logs its size, source and digests."""
    config, progress = run.config, run.progress
    complete = load_dataset(config.dataset, config.seed, progress=progress.downloads)
    if config.training.batch_size > len(complete.train):
        progress.detail(
            f"warning: training.batch_size={config.training.batch_size} is larger than the training set "
            f"({len(complete.train)} images), so each epoch is a single step"
        )
    for notice in complete.notices:
        progress.detail(f"warning: {notice}")
    dataset = config.debug.reduce_dataset(complete, config.training.batch_size, config.seed)
    validation = f", {len(dataset.validation):,} validation" if dataset.validation is not None else ""
    progress.detail(
        f"{dataset.name}: {len(dataset.train):,} training{validation} and {len(dataset.test):,} test images, "
        f"from {dataset.source}"
    )
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    run.tracker.log_inputs(
        [
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
    )
    write_preprocessing(run.folder, dataset)
    return dataset


def _build_model(run: RunContext, spec: DataSpec) -> keras.Model:
    """Builds the model, and reports and logs its layers. Its weights are random, or those of the start model."""
    config = run.config
    for problem in find_size_problems(config.model.count_parameters(spec.image_shape, spec.classes)):
        raise TrainingError(f"model: {problem}")
    with explain_out_of_memory(lambda: "building the model"):
        model = config.model.build(spec)
    for line in artifacts.describe_model(config, model):
        run.progress.detail(line)
    if run.start_model and run.resume_point is None:
        load_start_weights(model, run.start_model)
        run.progress.detail(f"starting from the weights of {run.start_model}")
    (run.folder / artifacts.MODEL_SUMMARY).write_text(artifacts.render_model_summary(model))
    run.tracker.log_params({"model.layers": artifacts.count_layers(model), "model.parameters": model.count_params()})
    environment = {name: run.tags[name] for name in (names.THREADS, names.DRAWN_SEED) if name in run.tags}
    run.tracker.set_tags({**environment, names.INITIAL_WEIGHTS_DIGEST: hash_weights(model)})
    return model


def _plan_best_model(run: RunContext) -> BestModel | None:
    """Returns how the best epoch is selected and where its model is saved, or None if `training.keep_best` is null.

    The result names the best model of the resumed run if it can be used again.
    """
    monitor, resume_point = run.config.training.keep_best, run.resume_point
    if monitor is None:
        return None
    # with another metric, or after skipped checkpoints, the previous file has the model of another epoch
    reusable = resume_point and resume_point.keep_best == monitor and not resume_point.damaged
    return BestModel(
        monitor,
        run.folder / BEST_MODEL,
        resume_point.file.parents[1] / BEST_MODEL if resume_point and reusable else None,
    )


def _train(
    run: RunContext,
    model: keras.Model,
    dataset: Dataset,
    *,
    seed: int,
    callbacks: Sequence[keras.callbacks.Callback],
    best: BestModel | None,
) -> TrainResult:
    """Trains the model in place, and logs the metrics of each epoch, including those before the resume point."""
    if resume_point := run.resume_point:
        epoch = resume_point.checkpoint.epoch
        for line in (*resume_point.damaged, f"resuming after epoch {epoch} of run {resume_point.reference}"):
            run.progress.detail(line)
        for number, metrics in enumerate(resume_point.checkpoint.history, start=1):
            run.tracker.log_metrics(metrics, number)

    def finish_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
        run.tracker.log_metrics(metrics, epoch)
        check_interrupted()
        if run.trial and (reason := run.trial.prune_reason()):
            raise TrialPruned(reason)

    return train(
        model,
        dataset,
        run.config.debug.adjust_config(run.config),
        run.progress,
        finish_epoch,
        seed=seed,
        callbacks=[*callbacks, *run.config.debug.callbacks(run.folder)],
        checkpoints=plan_checkpoints(run, dataset, seed),
        best=best,
    )


def _log_results(run: RunContext, trained: RunResult) -> None:
    """Writes all artifacts, and logs them with the tags and metrics of the result and the servable model."""
    folder, tracker, evaluation = run.folder, run.tracker, trained.evaluation
    warnings = WarningLog(folder, run.progress.detail)
    warnings.add_evaluation_problems(evaluation)
    tags = {**run.tags, **_build_result_tags(trained, run.notes)}
    artifacts.write_evaluation(folder, evaluation, run.config.evaluation.first_predictions)
    tracker.log_metrics(evaluation.metrics())  # in one request with those of the last epochs
    tracker.set_tags(tags)
    if run.store and run.config.tracking.model:
        tracker.log_model(
            artifacts.save_servable_model(folder, trained.model, run.config.model.label, trained.dataset.spec)
        )
    if is_report_written(run.config.tracking, is_trial=run.trial is not None):
        write_plots_and_report(trained, run.overrides, run.timer.seconds, tags, warnings)
    tracker.log_folder()
    tracker.flush()


def _build_result_tags(trained: RunResult, notes: str) -> dict[str, str]:
    """Returns the tags that describe the result, including a note with the accuracy, the main settings and `notes`."""
    config, training = trained.config, trained.training
    note = (
        f"**{trained.evaluation.accuracy:.4f}** accuracy on {len(trained.dataset.test):,} test images. "
        f"{config.model.label} on {trained.dataset.name}, "
        f"{config.optimizer.name} at {config.optimizer.learning_rate:g}, "
        f"epochs {len(training.history)}, batch size {config.training.batch_size}, seed {config.seed}."
        f"\n\n{notes}"
    )
    restored = {} if training.best_epoch is None else {names.RESTORED_EPOCH: str(training.best_epoch)}
    best = {names.BEST_EPOCH: trained.best_model.describe(training.history)} if trained.best_model else {}
    return {
        **best,
        **restored,
        names.DATASET_DIGEST: trained.dataset.digest,
        names.WEIGHTS_DIGEST: hash_weights(trained.model),
        names.ENGINE: f"{training.engine}: {training.engine_reason}",
        names.XLA: str(training.xla),
        names.NOTE: note.strip(),
        names.LOGGED_TABLES: f'[{{"path": "{names.PER_CLASS_TABLE}", "type": "table"}}]',
    }


def _complete_result(run: RunContext, trained: RunResult) -> RunResult:
    """Logs the timings, checks the result if the debug mode requires it, and passes the result to the sweep."""
    run.tracker.log_metrics(run.timer.metrics())
    findings = run.config.debug.judge_result(trained.training.history, trained.evaluation.accuracy, run.folder)
    status, timings = run.tracker.status, {**run.timer.seconds, "total": run.timer.total}
    result = replace(
        trained,
        name=status.run_name or run.name,
        run_id=status.run_id,
        experiment_id=status.experiment_id,
        timings=timings,
        findings=findings,
    )
    if run.trial:
        run.trial.record_result(result)  # before the run is FINISHED, so that a resumed sweep never misses a result
    return result
