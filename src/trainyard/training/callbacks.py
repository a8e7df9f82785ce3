"""The Keras callbacks of a run: what is watched, told and checked at the end of each epoch.

Keras is imported only when a training begins, so the classes that derive from its Callback are made then.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from trainyard.config.sections import EarlyStoppingConfig, PlateauConfig
from trainyard.system.progress import Progress
from trainyard.training.engine import broke_down, broken_weights

if TYPE_CHECKING:
    import keras

LogEpoch = Callable[[int, Mapping[str, float]], None]

_BATCH_HOOKS = (
    "on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end", "on_test_batch_begin",
    "on_test_batch_end",
)  # fmt: skip


def build_early_stopping(config: EarlyStoppingConfig) -> keras.callbacks.EarlyStopping | None:
    """Builds Keras's early stopping, or returns None where it is off."""
    import keras

    if config.patience is None:
        return None
    return keras.callbacks.EarlyStopping(
        **_watched(config.monitor),
        patience=config.patience,
        min_delta=config.min_delta,
        restore_best_weights=config.restore_best,
    )


def build_plateau(config: PlateauConfig) -> keras.callbacks.ReduceLROnPlateau | None:
    """Builds Keras's lowering of the learning rate, or returns None where it is off."""
    import keras

    if config.patience is None:
        return None
    return keras.callbacks.ReduceLROnPlateau(
        **_watched(config.monitor),
        patience=config.patience,
        factor=config.factor,
        min_delta=config.min_delta,
        cooldown=config.cooldown,
        min_lr=config.min_learning_rate,
    )


def _watched(monitor: str) -> dict[str, str]:
    """Returns what Keras calls a metric, and which way is better."""
    quantity, split = monitor.split("/")
    name = quantity if split == "train" else f"val_{quantity}"
    return {"monitor": name, "mode": "min" if quantity == "loss" else "max"}


def build_epoch_watch(
    history: list[dict[str, float]], epochs: int, progress: Progress, log_epoch: LogEpoch
) -> keras.callbacks.Callback:
    """Builds the callback that checks, keeps, tells and logs what each epoch came to.

    Args:
        history: Each epoch's metrics, under the names they are logged by, are added to it.
        epochs: How many there are in all.
        progress: Told of each epoch.
        log_epoch: Called with the number of the epoch, from 1, and its metrics.
    """
    import keras

    class EpochWatch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is not typed
        def __init__(self) -> None:
            super().__init__()
            self._began = 0.0

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ANN401, ARG002
            self._began = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
            metrics = {_logged_name(key): float(value) for key, value in logs.items()}
            learning_rate = float(self.model.optimizer.learning_rate.numpy())
            metrics["learning_rate/value"] = float(f"{learning_rate:.7g}")  # all that float32 holds
            metrics["time/epoch_seconds"] = time.perf_counter() - self._began
            _check_finite(self.model, metrics, epoch + 1)
            history.append(metrics)
            progress.epoch(epoch + 1, epochs, metrics)
            log_epoch(epoch + 1, metrics)

    return EpochWatch()


def batch_listeners(callbacks: Iterable[keras.callbacks.Callback]) -> list[str]:
    """Returns the class names of the callbacks that want to be called for each batch."""
    return [type(callback).__name__ for callback in callbacks if _listens_to_batches(callback)]


def _listens_to_batches(callback: keras.callbacks.Callback) -> bool:
    import keras

    if isinstance(callback, keras.callbacks.ModelCheckpoint):  # has the hook, and uses it only for a number of batches
        return bool(callback.save_freq != "epoch")
    base = keras.callbacks.Callback
    return any(getattr(getattr(callback, hook), "__func__", None) is not getattr(base, hook) for hook in _BATCH_HOOKS)


def _logged_name(keras_key: str) -> str:
    """Translates Keras's ``val_loss`` into ``loss/val``."""
    return f"{keras_key.removeprefix('val_')}/val" if keras_key.startswith("val_") else f"{keras_key}/train"


def _check_finite(model: keras.Model, metrics: Mapping[str, float], epoch: int) -> None:
    """Raises TrainingError where a metric or a weight is NaN or infinite; weights may be so under a finite loss."""
    broken = next((f"{name} is {value}" for name, value in metrics.items() if not math.isfinite(value)), None)
    if broken is None and (paths := broken_weights(model)):
        broken = f"weight {', '.join(paths)} holds a NaN or an infinity"
    if broken:
        raise broke_down(epoch, broken)
