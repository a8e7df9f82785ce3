"""Training: compile the model as the config says, choose an engine, run the epochs, return what happened."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard.config.schema import RunConfig
from trainyard.data.batches import BatchMaker, plan_batches
from trainyard.data.dataset import Dataset
from trainyard.errors import TrainingError, in_one_line
from trainyard.system.progress import Progress
from trainyard.system.tensorflow_setup import describe_circumstances, lack_of_memory_told
from trainyard.system.xla_cache import clear_cache, seal_cache
from trainyard.training.best_model import BestModel, build_best_keeper
from trainyard.training.callbacks import (
    LogEpoch,
    batch_listeners,
    build_early_stopping,
    build_epoch_watch,
    build_plateau,
)
from trainyard.training.checkpoint import CheckpointPlan, build_checkpointer
from trainyard.training.compiled_engine import CompiledEngine
from trainyard.training.engine import Engine, EpochPlan
from trainyard.training.fit_engine import EXECUTION_STEPS, FitEngine
from trainyard.training.xla import XlaChoice, choose_xla

if TYPE_CHECKING:
    import keras


_NOT_OF_THE_CACHE = re.compile("unsupported operations|Stack trace for op definition")
"""What XLA says where it is the model that it can't compile, and not a kept program that it can't read."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What happened while training.

    Attributes:
        history: One mapping per epoch of logged metric names to values, ``loss/train``, ``accuracy/val``...
        best_epoch: The epoch, from 1, whose weights the model has, where early stopping restored them; else None.
        engine: The engine that ran the epochs.
        engine_reason: Why this one.
        xla: Whether XLA compiled the training, and why.
        compile_seconds: What tracing and compiling took.
        train_seconds: The rest.
    """

    history: list[dict[str, float]]
    best_epoch: int | None
    engine: str
    engine_reason: str
    xla: XlaChoice
    compile_seconds: float
    train_seconds: float


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """An engine that is ready to run, why it was taken, and whether XLA compiles."""

    engine: Engine
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
    """Compiles the model and trains it in place.

    Args:
        model: Built, not compiled.
        dataset: The images.
        config: The whole config.
        progress: Told of each part of an epoch and of each epoch.
        log_epoch: Called after each epoch with its number, from 1, and its metrics.
        seed: Gives the order of the images; None: that of the config.
        callbacks: Keras callbacks of your own.
        checkpoints: Where to write them, and which one to start from; None: neither.
        best: Which epoch's model is kept beside the last one's; None: none is.

    Returns:
        What happened; of a training that goes on from a checkpoint, the whole of it.

    Raises:
        TrainingError: If the loss or a weight is no longer finite, or the memory is used up; names the epoch. Or if
            what the config asks for can't be done: an engine or XLA that can't train this model.
    """
    plan = EpochPlan(
        epochs=config.training.epochs,
        batch_size=config.training.batch_size,
        seed=config.seed if seed is None else seed,
        first=checkpoints.first_epoch(config.training.epochs) if checkpoints else 0,
    )
    batches = plan_batches(config, dataset, plan.seed)
    with lack_of_memory_told(lambda: "preparing the training"):
        compile_model(model, config, batches_per_epoch=plan.steps(len(dataset.train)))
    history = list(checkpoints.history) if checkpoints else []
    watch = build_epoch_watch(history, plan.epochs, progress, log_epoch)
    stopping = build_early_stopping(config.training.early_stopping)
    plateau = build_plateau(config.training.plateau)
    told = [watch, *(callback for callback in (stopping, plateau) if callback), *callbacks]

    began = time.perf_counter()
    with lack_of_memory_told(lambda: "preparing the training"):
        choice = choose_engine(model, dataset, batches, config, callbacks)
    progress.detail(f"engine {choice.engine.name}: {choice.reason}")
    progress.detail(f"XLA {choice.xla}")
    if choice.engine.compile_seconds:
        progress.detail(f"compiled in {choice.engine.compile_seconds:.1f} s")
    if checkpoints:
        circumstances = describe_circumstances(choice.engine.name, xla=choice.xla.on)
        told.append(build_checkpointer(told, history, checkpoints, circumstances, progress.detail))
    if best:
        told.append(build_best_keeper(best, history, progress.detail))
    with lack_of_memory_told(lambda: f"training, in epoch {len(history) + 1}"):
        choice.engine.run(plan, told, lambda *steps: progress.step(steps[0], plan.epochs, *steps[1:]))
    seconds = time.perf_counter() - began
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
    """Compiles the model with the config's optimizer, schedule and loss.

    Args:
        model: Built.
        config: The whole config.
        batches_per_epoch: From which the schedule knows what an epoch is.
    """
    import keras

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
) -> EngineChoice:
    """Returns an engine for this training, ready to run, and why it was taken.

    Args:
        model: Compiled.
        dataset: The images.
        batches: How they become batches.
        config: The whole config: ``training.engine``, ``xla`` and ``determinism``.
        callbacks: Those of the user; one that listens to batches can be served by `fit` alone.

    Raises:
        TrainingError: If the config asks for an engine or for XLA, and it can't train this model.
    """
    wish = config.training.engine
    listeners = batch_listeners(callbacks)
    if listeners:
        model.steps_per_execution = 1  # Keras calls batch hooks once per execution
    if wish == "fit":
        return _fit(model, dataset, batches, config, "asked for by training.engine")
    if listeners:
        why = f"{', '.join(listeners)} wants to be called for each batch"
    else:
        try:
            return _compiled(model, dataset, batches, config)
        except (TrainingError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a layer raises that can't be traced; fit may still do it
            why = f"the model can't be compiled into a program: {type(error).__name__}: {in_one_line(error)}"
    if wish == "compiled":
        raise TrainingError(f"training.engine: expected a training that can be compiled, but {why}. Leave it at auto")
    return _fit(model, dataset, batches, config, f"Keras's own loop, because {why}")


def _compiled(model: keras.Model, dataset: Dataset, batches: BatchMaker, config: RunConfig) -> EngineChoice:
    """Compiles the epoch, with XLA if that is the choice; where XLA fails it is done without, unless asked for."""
    import tensorflow as tf

    training = config.training
    reason = "asked for by training.engine" if training.engine == "compiled" else "the fastest that can do the job"
    xla = choose_xla(
        model, training.xla, training.determinism, dataset.spec.image_shape, config.augmentation.changes_images
    )
    if xla.on:
        try:
            return EngineChoice(_compile_with_xla(model, dataset, batches, training.batch_size), reason, xla)
        except tf.errors.OpError as error:
            why = f"XLA can't compile the model: {in_one_line(error)}"
            if training.xla == "on":
                raise TrainingError(f"training.xla: {why}. Leave it at auto") from error
            xla = XlaChoice(on=False, reason=why)
    return EngineChoice(CompiledEngine(model, dataset, batches, training.batch_size, xla=False), reason, xla)


def _compile_with_xla(model: keras.Model, dataset: Dataset, batches: BatchMaker, batch_size: int) -> CompiledEngine:
    """Compiles the epoch; what was kept of an earlier compilation and can't be read is removed, and it is done anew."""
    import tensorflow as tf

    began = time.time()
    try:
        engine = CompiledEngine(model, dataset, batches, batch_size, xla=True)
    except tf.errors.OpError as error:
        if _NOT_OF_THE_CACHE.search(str(error)) or not clear_cache():
            raise
        engine = CompiledEngine(model, dataset, batches, batch_size, xla=True)
    seal_cache(began)
    return engine


def _fit(model: keras.Model, dataset: Dataset, batches: BatchMaker, config: RunConfig, reason: str) -> EngineChoice:
    """Takes Keras's own loop, with XLA only where the config asks for it."""
    asked = config.training.xla == "on"
    model.jit_compile = asked
    why = "asked for by training.xla" if config.training.xla != "auto" else "Keras's own loop runs without it"
    return EngineChoice(FitEngine(model, dataset, batches), reason, XlaChoice(asked, why))
