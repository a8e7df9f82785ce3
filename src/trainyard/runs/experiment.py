"""Performs one run from start to end: loads data, builds the model, trains, evaluates and logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.config import RunConfig, TrainingConfig, find_size_problems, make_unique_name, validate_config
from trainyard.data import load_dataset, write_preprocessing
from trainyard.errors import TrainingError, TrialPruned
from trainyard.evaluation import evaluate
from trainyard.reporting import write_report
from trainyard.runs import artifacts
from trainyard.runs.pretrained import find_start_model, load_start_weights
from trainyard.runs.report import build_report_page, describe_data, describe_model, find_batch_size_problem
from trainyard.runs.result import RunResult, TrainedRun
from trainyard.runs.resume import ResumePoint, load_resume_point, plan_checkpoints
from trainyard.runs.sync import upload_run
from trainyard.runs.tags import (
    TrialInfo,
    build_config_params,
    build_dataset_inputs,
    build_model_params,
    build_result_tags,
    build_start_tags,
    build_tensorflow_tags,
)
from trainyard.system import (
    Progress,
    StageTimer,
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
from trainyard.tracking import Tracker, TrackingStore, names, open_tracker
from trainyard.training import BEST_MODEL, BestModel, train

if TYPE_CHECKING:
    import keras

    from trainyard.data import Dataset, DataSpec


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

    Args:
        config: The config of the run, from `compose_config`. It may have been modified since.
        folder: The folder for the run's files. It must be new or empty. None creates one under ``outputs/<name>/``.
        progress: Receives the progress of the run. None reports nothing.
        overrides: The overrides with which the config was composed. They are recorded with the run.
        callbacks: Your Keras callbacks. A callback that must be called for each batch requires the `fit` engine.
        trial: The sweep that the run belongs to as a trial. None if it is not a trial.
        start_model: The model file that ``training.start_from`` names, if the caller has already found it.

    Returns:
        The trained model, its metrics, and where they were written and logged.

    Raises:
        ConfigError: If the config is invalid. No run is created.
        DatasetError: If the data is missing or damaged. The run is FAILED.
        ModelError: If the model to start from can't be loaded. The run is FAILED.
        TrainingError: If the training fails, for example because the loss is NaN. The run is FAILED.
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
    store = TrackingStore.from_config(config.tracking)
    timer = StageTimer(progress := progress or Progress())
    resume_point, start_file = (
        load_resume_point(config, store),
        start_model or find_start_model(config.training.start_from, store),
    )
    folder = artifacts.create_run_folder(Path(folder) if folder else Path("outputs") / config.name / make_unique_name())
    git = read_git_state(Path.cwd())
    artifacts.write_provenance(folder, config, overrides, git)
    tags, params = build_start_tags(config, folder, git, trial), build_config_params(config)

    with (
        raise_on_signals(),
        open_tracker(
            config,
            folder,
            progress,
            store,
            tags=tags,
            params=params,
            retry_upload=lambda: upload_run(folder, store) if store else None,
            name=trial.name if trial else None,
        ) as run,
        explain_disk_full(folder),
    ):
        with timer.stage("start"):
            seed, machine = _start_tensorflow(config.training, config.seed, resume_point)
            artifacts.write_machine_info(folder, machine)
            run.set_tags(build_tensorflow_tags(config, seed, machine))
            run.wait_until_created()

        with timer.stage("load"):
            dataset = _load_data(config, progress)
            run.log_inputs(build_dataset_inputs(dataset))
            write_preprocessing(folder, dataset)

        with timer.stage("build"):
            model = _build_model(config, dataset.spec, None if resume_point else start_file, progress)
            artifacts.write_model_summary(folder, model)
            run.log_params(build_model_params(model))
            run.set_tags({names.INITIAL_WEIGHTS_DIGEST: hash_weights(model)})

        with timer.stage("train"):
            best = _plan_best_model(config, folder, resume_point)
            if resume_point:
                _report_resume(resume_point, run, progress)
            training = train(
                model,
                dataset,
                config.debug.adjust_config(config),
                progress,
                lambda epoch, metrics: _finish_epoch(run, trial, epoch, metrics),
                seed=seed,
                callbacks=[*callbacks, *config.debug.callbacks(folder)],
                checkpoints=plan_checkpoints(config, dataset, folder, seed, resume_point),
                best=best,
            )
        timer.split("train", compile=training.compile_seconds, train=training.train_seconds)

        with timer.stage("evaluate"):
            artifacts.save_models(folder, model)  # first, so that the model is saved even if a metric fails
            with explain_out_of_memory(lambda: "evaluating"):
                evaluation = evaluate(model, dataset.test, dataset.spec, config.evaluation)

        with timer.stage("log"):
            trained = TrainedRun(
                config=config,
                dataset=dataset,
                model=model,
                training=training,
                evaluation=evaluation,
                machine=machine,
                best_model=best,
            )
            tags |= build_result_tags(trained)
            artifacts.write_evaluation(folder, evaluation, config.evaluation.first_predictions)
            run.set_tags(tags)
            run.log_metrics(evaluation.metrics())
            if run.logs_model:
                run.log_model(artifacts.save_servable_model(folder, model, dataset.spec), dataset.spec)
            write_report(
                folder / "report.html",
                build_report_page(trained, timer.seconds, tags, artifacts.draw_plots(folder, trained)),
            )
            run.log_folder()
            run.flush()
        run.log_metrics(timer.metrics())
        findings = config.debug.judge_result(training.history, evaluation.accuracy, folder)
        result = RunResult.from_trained_run(
            trained,
            name=run.name,
            folder=folder,
            run_id=run.run_id,
            experiment_id=run.experiment_id,
            tracking_uri=store.uri if store else None,
            timings={**timer.seconds, "total": timer.total},
            findings=findings,
        )
        if trial:
            trial.record_result(result)  # before the run is FINISHED, so that a resumed sweep never misses a result
    return result


def _start_tensorflow(
    training: TrainingConfig, seed: int, resume_point: ResumePoint | None
) -> tuple[int, dict[str, Any]]:
    """Imports and configures TensorFlow.

    Returns:
        The seed of the initial weights, the order of the images and dropout; and information about the machine.
    """
    import_tensorflow(training.threads)
    used_seed = resume_point.checkpoint.identity.seed if resume_point else choose_seed(seed, training.determinism)
    threads = configure_tensorflow(used_seed, training.threads, training.determinism, training.precision)
    return used_seed, collect_machine_info(threads)


def _load_data(config: RunConfig, progress: Progress) -> Dataset:
    """Loads the data, reduces it if the debug mode requires it, and reports its size and source."""
    complete = load_dataset(config.dataset, config.seed, progress=progress.downloads)
    if warning := find_batch_size_problem(complete, config):
        progress.detail(warning)
    dataset = config.debug.reduce_dataset(complete, config.training.batch_size, config.seed)
    progress.detail(describe_data(dataset))
    return dataset


def _report_resume(resume_point: ResumePoint, run: Tracker, progress: Progress) -> None:
    """Reports the epoch from which a training resumes, and logs the metrics of the epochs before."""
    for line in resume_point.describe():
        progress.detail(line)
    for epoch, metrics in enumerate(resume_point.checkpoint.history, start=1):
        run.log_metrics(metrics, epoch)


def _finish_epoch(run: Tracker, trial: TrialInfo | None, epoch: int, metrics: Mapping[str, float]) -> None:
    """Logs the metrics of an epoch. Raises an exception if the run was interrupted or the trial is pruned."""
    run.log_metrics(metrics, epoch)
    check_interrupted()
    if trial and (reason := trial.prune_reason()):
        raise TrialPruned(reason)


def _plan_best_model(config: RunConfig, folder: Path, resume_point: ResumePoint | None) -> BestModel | None:
    """Returns how the best epoch is selected and where its model is saved, or None if `training.keep_best` is null.

    The result names the best model of the resumed run if it can be used again.
    """
    monitor = config.training.keep_best
    if monitor is None:
        return None
    # with another metric, or after skipped checkpoints, the previous file has the model of another epoch
    reusable = resume_point and resume_point.keep_best == monitor and not resume_point.damaged
    return BestModel(
        monitor,
        folder / BEST_MODEL,
        resume_point.file.parents[1] / BEST_MODEL if resume_point and reusable else None,
    )


def _build_model(config: RunConfig, spec: DataSpec, weights_file: Path | None, progress: Progress) -> keras.Model:
    """Builds the model, and reports its layers. The weights are random, or those of the model in `weights_file`."""
    for problem in find_size_problems(config.model.count_parameters(spec.image_shape, spec.classes)):
        raise TrainingError(f"model: {problem}")
    with explain_out_of_memory(lambda: "building the model"):
        model = config.model.build(spec)
    for line in describe_model(config, model):
        progress.detail(line)
    if weights_file:
        load_start_weights(model, weights_file)
        progress.detail(f"starting from the weights of {weights_file}")
    return model
