"""Debug modes: runs that search for mistakes or measure the speed instead of producing a result.

They are ``debug=one_batch``, ``debug=overfit`` and ``debug=profile``. ``debug=none`` is a normal run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from trainyard.config import DebugConfig, EarlyStoppingConfig, PlateauConfig, RunConfig, register_debug, setting
from trainyard.data import Dataset, NoAugmentation, Split, draw_stratified_sample
from trainyard.errors import TrainingError
from trainyard.training.profiler import PROFILE_FOLDER, build_profiler_callback, describe_trace
from trainyard.training.schedules import Constant

if TYPE_CHECKING:
    import keras


@register_debug("none")
@dataclass(kw_only=True, slots=True)
class NoDebug(DebugConfig):
    """Normal run, without debugging."""

    changes_result: ClassVar[bool] = False


@register_debug("one_batch")
@dataclass(kw_only=True, slots=True)
class OneBatch(DebugConfig):
    """Smoke test: runs every stage, from loading the data to the last artifact, with one batch. Takes seconds."""

    def reduce_dataset(self, dataset: Dataset, batch_size: int, seed: int) -> Dataset:
        """Keeps one batch of each split."""
        splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
        samples: Any = {name: _sample(split, batch_size, seed) for name, split in splits.items() if split}
        return replace(dataset, **samples)

    def callbacks(self, folder: Path) -> list[keras.callbacks.Callback]:  # noqa: ARG002
        """Returns a callback that stops the training after one epoch. The schedule is that of the whole training."""
        return [_build_stop(epochs=1)]

    def judge_result(self, history: Sequence[Mapping[str, float]], accuracy: float, folder: Path) -> str:  # noqa: ARG002
        """Returns a message that every stage was completed."""
        return "debug=one_batch: every stage works. Ignore the metrics: they come from a single batch"


@register_debug("overfit")
@dataclass(kw_only=True, slots=True)
class Overfit(DebugConfig):
    """Overfits a few images. If the model cannot memorize them, something is wrong, and the run fails."""

    images: int = setting(64, ge=1)
    """Number of training images, stratified by class. The same images are used for validation and test."""
    epochs: int = setting(200, ge=1)
    """Maximum number of epochs. If the model has not memorized all images by then, the run fails."""

    def adjust_config(self, config: RunConfig) -> RunConfig:
        """Sets the number of epochs, and disables what makes overfitting harder or stops it early."""
        training = replace(
            config.training, epochs=self.epochs, early_stopping=EarlyStoppingConfig(), plateau=PlateauConfig()
        )
        optimizer: Any = config.optimizer
        if optimizer.averages_weights:  # a moving average lags behind few steps
            optimizer = replace(optimizer, use_ema=False)
        return replace(
            config, training=training, optimizer=optimizer, schedule=Constant(), augmentation=NoAugmentation()
        )

    def reduce_dataset(self, dataset: Dataset, batch_size: int, seed: int) -> Dataset:  # noqa: ARG002
        """Uses the same few training images for every split."""
        sample = _sample(dataset.train, self.images, seed)
        return replace(dataset, train=sample, validation=sample, test=sample)

    def callbacks(self, folder: Path) -> list[keras.callbacks.Callback]:  # noqa: ARG002
        """Returns a callback that stops the training when all images are classified correctly."""
        return [_build_stop(accuracy=1.0)]

    def judge_result(self, history: Sequence[Mapping[str, float]], accuracy: float, folder: Path) -> str:  # noqa: ARG002
        """Returns the number of epochs. Raises TrainingError if some images are still classified wrongly."""
        if accuracy == 1.0:
            return f"debug=overfit: passed. The model memorised all images in {len(history)} epochs"
        raise TrainingError(
            f"debug=overfit: expected the model to memorise all {self.images} images, got an accuracy of "
            f"{accuracy:.1%} after {len(history)} epochs. Check optimizer.learning_rate, the labels, the scaling of "
            "pixels, dropout and weight_decay, or increase debug.epochs"
        )


@register_debug("profile")
@dataclass(kw_only=True, slots=True)
class Profile(DebugConfig):
    """Profiles training steps with TensorFlow's profiler: trains two short epochs and traces the second one."""

    steps: int = setting(100, ge=1)
    """Number of steps (batches) in each of the two epochs."""

    def adjust_config(self, config: RunConfig) -> RunConfig:
        """Sets the number of epochs to at least two."""
        return replace(config, training=replace(config.training, epochs=max(config.training.epochs, 2)))

    def reduce_dataset(self, dataset: Dataset, batch_size: int, seed: int) -> Dataset:
        """Keeps a stratified sample of the training images: at most `steps` full batches, or all if there is none."""
        images = min(self.steps * batch_size, len(dataset.train) // batch_size * batch_size or len(dataset.train))
        return replace(dataset, train=_sample(dataset.train, images, seed))

    def callbacks(self, folder: Path) -> list[keras.callbacks.Callback]:
        """Returns callbacks that trace the second epoch and stop the training after that epoch."""
        return [build_profiler_callback(folder / PROFILE_FOLDER, traced_epoch=1), _build_stop(epochs=2)]

    def judge_result(self, history: Sequence[Mapping[str, float]], accuracy: float, folder: Path) -> str:  # noqa: ARG002
        """Returns the commands that open the trace."""
        return describe_trace(folder / PROFILE_FOLDER)


def _sample(split: Split, count: int, seed: int) -> Split:
    """Returns at most `count` images of a split, stratified by class."""
    return split.take(draw_stratified_sample(split.labels, min(count, len(split)), seed))


def _build_stop(*, epochs: int | None = None, accuracy: float | None = None) -> keras.callbacks.Callback:
    """Builds the callback that stops a training after a number of epochs, or at a validation accuracy."""
    import keras

    def stop(epoch: int, logs: Mapping[str, float]) -> None:
        if epoch + 1 == epochs or logs.get("val_accuracy", 0.0) == accuracy:
            callback.model.stop_training = True

    callback = keras.callbacks.LambdaCallback(on_epoch_end=stop)
    return callback
