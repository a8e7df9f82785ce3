"""Checks, before the first step of a training, whether the settings of the config have an effect in it.

A setting can be valid and still change nothing, for example because the training has too few steps.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainyard.config import EarlyStoppingConfig, PlateauConfig, RunConfig
from trainyard.errors import TrainingError


def check_weights_change(config: RunConfig, steps_per_epoch: int) -> None:
    """Raises TrainingError if the training ends before the first update of the weights."""
    epochs, batches = config.training.epochs, config.optimizer.batches_per_update
    if batches > epochs * steps_per_epoch:
        raise TrainingError(
            f"optimizer.gradient_accumulation_steps: expected at most {epochs * steps_per_epoch}, the number of "
            f"batches in training.epochs={epochs}, got {batches}, so the weights would never change. Set a smaller "
            "value or null, or train for more epochs"
        )


def find_ineffective_settings(config: RunConfig, steps_per_epoch: int) -> Iterator[str]:
    """Yields a warning for each setting that has no effect, or another one, in a training with this many steps."""
    epochs = config.training.epochs
    yield from config.schedule.find_ineffective_settings(epochs, steps_per_epoch)
    yield from config.optimizer.find_ineffective_settings()
    yield from _check_plateau(config.training.plateau, epochs, config.optimizer.learning_rate)
    yield from _check_early_stopping(config.training.early_stopping, epochs)


def _check_plateau(plateau: PlateauConfig, epochs: int, learning_rate: float) -> Iterator[str]:
    """Yields a warning if the learning rate can never be reduced."""
    if plateau.patience is None:
        return
    if plateau.min_learning_rate >= learning_rate:
        yield (
            f"training.plateau.min_learning_rate: {plateau.min_learning_rate:g} is not less than "
            f"optimizer.learning_rate={learning_rate:g}, so the learning rate is never reduced. Set a smaller value"
        )
    elif not _can_run_out(plateau.patience, epochs):
        yield (
            f"training.plateau.patience: {plateau.patience} epochs without improvement can't end before the last epoch "
            f"(training.epochs={epochs}), so the learning rate is never reduced. Set a smaller value, or train for "
            "more epochs"
        )


def _check_early_stopping(stopping: EarlyStoppingConfig, epochs: int) -> Iterator[str]:
    """Yields a warning if early stopping can neither stop the training nor restore the weights of an epoch."""
    if stopping.patience is not None and not stopping.restore_best and not _can_run_out(stopping.patience, epochs):
        yield (
            f"training.early_stopping.patience: {stopping.patience} epochs without improvement can't end before the "
            f"last epoch (training.epochs={epochs}), and restore_best is false, so early stopping has no effect. Set a "
            "smaller value or null, or train for more epochs"
        )


def _can_run_out(patience: int, epochs: int) -> bool:
    """Returns whether the patience can end before the last epoch. The first epoch always counts as an improvement."""
    return max(patience, 1) + 1 < epochs
