"""Builds the Keras callbacks of a run: early stopping, learning rate reduction, logging and checks of each epoch.

Keras is imported when a training begins. Classes that derive from its `Callback` are therefore defined in functions.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from trainyard.config import EarlyStoppingConfig, PlateauConfig
from trainyard.system import Progress, compute_last_learning_rate
from trainyard.training.engine import build_divergence_error, find_nonfinite_weights

if TYPE_CHECKING:
    import keras

LogEpoch = Callable[[int, Mapping[str, float]], None]

_BATCH_HOOKS = [f"on_{kind}batch_{moment}" for kind in ("", "train_", "test_") for moment in ("begin", "end")]


def build_early_stopping(config: EarlyStoppingConfig) -> keras.callbacks.EarlyStopping | None:
    """Builds Keras's `EarlyStopping`, or returns None if the config disables it."""
    import keras

    if config.patience is None:
        return None
    return keras.callbacks.EarlyStopping(
        **_build_monitor_arguments(config.monitor),
        patience=config.patience,
        min_delta=config.min_delta,
        restore_best_weights=config.restore_best,
    )


def build_reduce_lr_on_plateau(config: PlateauConfig) -> keras.callbacks.ReduceLROnPlateau | None:
    """Builds Keras's `ReduceLROnPlateau`, or returns None if the config disables it."""
    import keras

    if config.patience is None:
        return None
    return keras.callbacks.ReduceLROnPlateau(
        **_build_monitor_arguments(config.monitor),
        patience=config.patience,
        factor=config.factor,
        min_delta=config.min_delta,
        cooldown=config.cooldown,
        min_lr=config.min_learning_rate,
    )


def _build_monitor_arguments(monitor: str) -> dict[str, str]:
    """Returns Keras's `monitor` (the name of the metric) and `mode` (whether lower or higher is better)."""
    quantity, split = monitor.split("/")
    name = quantity if split == "train" else f"val_{quantity}"
    return {"monitor": name, "mode": "min" if quantity == "loss" else "max"}


def build_epoch_logger(
    history: list[dict[str, float]], epochs: int, progress: Progress, log_epoch: LogEpoch
) -> keras.callbacks.Callback:
    """Builds the callback that checks, records, reports and logs the metrics of each epoch.

    It appends the metrics to `history`, under the names that are logged. Epochs are counted from 1.
    """
    import keras

    class EpochLogger(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is not typed
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ANN401, ARG002
            self._start_time = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
            metrics = {}
            for key, value in logs.items():  # Keras's val_loss is logged as loss/val
                name = key.removeprefix("val_")
                metrics[f"{name}/train" if name == key else f"{name}/val"] = float(value)
            learning_rate = compute_last_learning_rate(self.model.optimizer)
            metrics["learning_rate/value"] = float(f"{learning_rate:.7g}")  # the precision of float32
            metrics["time/epoch_seconds"] = time.perf_counter() - self._start_time
            _check_finite(self.model, metrics, epoch + 1)
            history.append(metrics)
            progress.epoch(epoch + 1, epochs, metrics)
            log_epoch(epoch + 1, metrics)

    return EpochLogger()


def find_batch_callbacks(callbacks: Iterable[keras.callbacks.Callback]) -> list[str]:
    """Returns the class names of the callbacks that must be called for each batch."""
    import keras

    def has_batch_hooks(callback: keras.callbacks.Callback) -> bool:
        if isinstance(callback, keras.callbacks.ModelCheckpoint):  # needs its hook only if it counts batches
            return bool(callback.save_freq != "epoch")
        hooks = ((getattr(callback, hook), getattr(keras.callbacks.Callback, hook)) for hook in _BATCH_HOOKS)
        return any(getattr(own, "__func__", None) is not base for own, base in hooks)

    return [type(callback).__name__ for callback in callbacks if has_batch_hooks(callback)]


def _check_finite(model: keras.Model, metrics: Mapping[str, float], epoch: int) -> None:
    """Raises TrainingError if a metric or a weight is NaN or infinite. A weight can be so while the loss is finite."""
    problem = next((f"{name} is {value}" for name, value in metrics.items() if not math.isfinite(value)), None)
    if problem is None and (paths := find_nonfinite_weights(model)):
        problem = f"weight {', '.join(paths)} contains NaN or infinity"
    if problem:
        raise build_divergence_error(epoch, problem)
