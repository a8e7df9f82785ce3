"""Compiles a model according to the config, chooses an engine, and trains the model."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from trainyard.config import RunConfig
from trainyard.data import BatchMaker, Dataset, build_batch_maker, describe_streaming
from trainyard.errors import TrainingError
from trainyard.system import (
    Progress,
    clear_xla_cache,
    describe_numerics,
    explain_out_of_memory,
    list_layers,
    write_digests,
)
from trainyard.training.best_model import BestModel, build_best_model_saver
from trainyard.training.callbacks import (
    LogEpoch,
    build_early_stopping,
    build_epoch_logger,
    build_reduce_lr_on_plateau,
    find_batch_callbacks,
)
from trainyard.training.checkpoint import CheckpointPlan, build_checkpointer
from trainyard.training.compiled_engine import CompiledEngine
from trainyard.training.effectiveness import check_weights_change, find_ineffective_settings
from trainyard.training.engine import EpochPlan
from trainyard.training.fit_engine import EXECUTION_STEPS, FitEngine
from trainyard.training.layer_errors import describe_layer_error, explain_training_errors
from trainyard.training.xla import XlaChoice, choose_xla

if TYPE_CHECKING:
    import keras


_MODEL_NOT_SUPPORTED = re.compile("unsupported operations|Stack trace for op definition")
"""Matches XLA's error if it can't compile the model. Other errors may come from a cached program it can't read."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The history of a training, the engine that ran it, and the time it took."""

    history: list[dict[str, float]]
    """One mapping per epoch from logged names to values: ``loss/train``, ``accuracy/val``..."""
    best_epoch: int | None
    """The epoch, counted from 1, whose weights early stopping restored. None if it restored none."""
    engine: str
    engine_reason: str
    xla: XlaChoice
    compile_seconds: float
    train_seconds: float
    """The time without `compile_seconds`."""


class EngineChoice(NamedTuple):
    """An engine that is ready to run, the reason for its choice, and whether XLA compiles the training."""

    engine: CompiledEngine | FitEngine
    reason: str
    xla: XlaChoice


def train(
    model: keras.Model,
    dataset: Dataset,
    config: RunConfig,
    progress: Progress,
    log_epoch: LogEpoch,
    *,
    seed: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    checkpoints: CheckpointPlan | None = None,
    best: BestModel | None = None,
) -> TrainResult:
    """Compiles a built model and trains it in place.

    `log_epoch` is called after each epoch with its number, counted from 1, and its metrics. `seed`, by default
    `config.seed`, determines the order of the images and the augmentation. `callbacks` are the user's. None for
    `checkpoints` neither writes nor resumes from a checkpoint; None for `best` does not save the best model. If the
    training was resumed, the returned history includes the epochs before.

    Raises a TrainingError with the epoch if the loss or a weight is no longer finite, memory runs out, or a layer
    fails; also if the config requires an engine, XLA or a precision, and it can't train this model, or if the training
    would end before the first update of the weights.
    """
    start, initial_epoch = checkpoints.start if checkpoints else None, 0
    if start:
        initial_epoch = config.training.epochs if start.stopped else start.epoch
    plan = EpochPlan(
        epochs=config.training.epochs,
        batch_size=config.training.batch_size,
        seed=config.seed if seed is None else seed,
        initial_epoch=initial_epoch,
    )
    batches = build_batch_maker(config, dataset, plan.seed)
    steps = plan.count_steps_per_epoch(len(dataset.train))
    if not config.debug.changes_result:  # such a debug mode has fewer steps than the training that the config describes
        check_weights_change(config, steps)
        for warning in find_ineffective_settings(config, steps):
            progress.detail(f"warning: {warning}")
    with explain_out_of_memory(lambda: "preparing the training"):
        compile_model(model, config, batches_per_epoch=steps)
    history = list(start.history) if start else []
    epoch_logger = build_epoch_logger(history, plan.epochs, progress, log_epoch)
    stopping = build_early_stopping(config.training.early_stopping)
    plateau = build_reduce_lr_on_plateau(config.training.plateau)
    all_callbacks = [epoch_logger, *(callback for callback in (stopping, plateau) if callback), *callbacks]

    start_time = time.perf_counter()
    streaming = describe_streaming(dataset, config.dataset.memory)
    if streaming:
        progress.detail(streaming)
    with explain_training_errors(model, lambda: "preparing the training"):
        recorded_xla = start.numerics["XLA"] if start else None
        choice = choose_engine(
            model, dataset, batches, config, callbacks, stream=bool(streaming), recorded_xla=recorded_xla
        )
    progress.detail(f"engine {choice.engine.name}: {choice.reason}")
    progress.detail(f"XLA {choice.xla}")
    if choice.engine.compile_seconds:
        progress.detail(f"compiled in {choice.engine.compile_seconds:.1f} s")
    if checkpoints:
        numerics = describe_numerics(choice.engine.name, xla=choice.xla.on)
        all_callbacks.append(build_checkpointer(all_callbacks, history, checkpoints, numerics, progress.detail))
    if best:
        all_callbacks.append(build_best_model_saver(best, history, progress.detail))
    with explain_training_errors(model, lambda: f"training, in epoch {len(history) + 1}"):
        choice.engine.run(plan, all_callbacks, lambda epoch, *done: progress.step(epoch, plan.epochs, *done))
    seconds = time.perf_counter() - start_time
    return TrainResult(
        history=history,
        best_epoch=stopping.best_epoch + 1 if stopping and stopping.restore_best_weights else None,
        engine=choice.engine.name,
        engine_reason=choice.reason,
        xla=choice.xla,
        compile_seconds=choice.engine.compile_seconds,
        train_seconds=seconds - choice.engine.compile_seconds,
    )


def compile_model(model: keras.Model, config: RunConfig, batches_per_epoch: int) -> None:
    """Compiles a built model with the optimizer, schedule and loss of the config. The schedule counts steps.

    Raises a TrainingError if a layer with mixed precision has a penalty of its outputs.
    """
    import keras

    for layer in list_layers(model):
        if layer.activity_regularizer is not None and layer.compute_dtype != "float32":
            raise TrainingError(
                f"model: layer {layer.name}: activity_regularizer is not possible with training.precision="
                f"{config.training.precision}, because Keras can't add a penalty in {layer.compute_dtype} to the loss. "
                "Remove it, or set training.precision=float32"
            )
    learning_rate = config.schedule.build(config.optimizer.learning_rate, config.training.epochs, batches_per_epoch)
    accuracy = keras.metrics.CategoricalAccuracy if config.loss.one_hot else keras.metrics.SparseCategoricalAccuracy
    model.compile(
        optimizer=config.optimizer.build(learning_rate),
        loss=config.loss.build(),
        metrics=[accuracy(name="accuracy")],
        steps_per_execution=EXECUTION_STEPS,
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)


def choose_engine(
    model: keras.Model,
    dataset: Dataset,
    batches: BatchMaker,
    config: RunConfig,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    *,
    stream: bool = False,
    recorded_xla: str | None = None,
) -> EngineChoice:
    """Chooses and builds the engine. Only the `fit` engine can call a callback of the user for each batch.

    With `stream`, the engine reads the images from the disk while it trains. `recorded_xla` is the choice of XLA of the
    run that is resumed, see `choose_xla`.

    Raises a TrainingError if the config requires an engine or XLA, and it can't train this model.
    """
    setting = config.training.engine
    fit = FitEngine(model, dataset, batches, stream=stream)
    batch_callbacks = find_batch_callbacks(callbacks)
    if batch_callbacks:
        model.steps_per_execution = 1  # Keras calls batch hooks once per execution
    if setting == "fit":
        return _build_fit_engine(fit, config.training.xla, "set by training.engine")
    if batch_callbacks:
        reason = f"{', '.join(batch_callbacks)} must be called for each batch"
    else:
        try:
            return _build_compiled_engine(model, dataset, batches, config, recorded_xla, stream=stream)
        except (TrainingError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - a layer can raise anything while it is traced; fit may still work
            reason = f"the model can't be compiled into one program: {describe_layer_error(model, error)}"
    if setting == "compiled":
        raise TrainingError(
            f"training.engine: expected a training that can be compiled, but {reason}. Set training.engine=auto"
        )
    return _build_fit_engine(fit, config.training.xla, f"not compiled, because {reason}")


def _build_compiled_engine(
    model: keras.Model,
    dataset: Dataset,
    batches: BatchMaker,
    config: RunConfig,
    recorded_xla: str | None,
    *,
    stream: bool,
) -> EngineChoice:
    """Builds the compiled engine. If XLA was chosen but fails, builds it without, unless the config requires XLA."""
    import tensorflow as tf

    training = config.training
    reason = "set by training.engine" if training.engine == "compiled" else "the fastest engine for this model"
    xla = choose_xla(model, config, dataset.spec.image_shape, len(dataset.train), recorded_xla)
    build = functools.partial(CompiledEngine, model, dataset, batches, training.batch_size, stream=stream)
    if xla.on:
        try:
            return EngineChoice(_compile_with_xla(build), reason, xla)
        except tf.errors.OpError as error:
            problem = f"XLA can't compile the model: {describe_layer_error(model, error)}"
            if training.xla == "on":
                raise TrainingError(f"training.xla: {problem}. Set training.xla=auto") from error
            xla = XlaChoice(on=False, reason=problem)
    return EngineChoice(build(xla=False), reason, xla)


def _compile_with_xla(build: Callable[..., CompiledEngine]) -> CompiledEngine:
    """Builds the compiled engine with XLA. If a cached program can't be read, clears the XLA cache and compiles it."""
    import tensorflow as tf

    start_time = time.time()
    try:
        engine = build(xla=True)
    except tf.errors.OpError as error:
        if _MODEL_NOT_SUPPORTED.search(str(error)) or not clear_xla_cache():
            raise
        engine = build(xla=True)
    write_digests(start_time)
    return engine


def _build_fit_engine(engine: FitEngine, xla: str, reason: str) -> EngineChoice:
    """Returns the choice of the fit engine. It uses XLA only if the config requires it."""
    engine.set_xla(on=xla == "on")
    xla_reason = "set by training.xla" if xla != "auto" else "the default of the fit engine"
    return EngineChoice(engine, reason, XlaChoice(xla == "on", xla_reason))
