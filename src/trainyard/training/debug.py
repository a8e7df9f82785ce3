"""Ways of running that look for mistakes rather than for a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from trainyard.config.fields import setting
from trainyard.config.registry import register_debug
from trainyard.config.schema import DebugConfig, RunConfig
from trainyard.config.sections import EarlyStoppingConfig, PlateauConfig
from trainyard.data.augmentation import NoAugmentation
from trainyard.data.dataset import Dataset, Split, stratified_sample
from trainyard.errors import TrainingError
from trainyard.training.profiler import TRACE, build_recorder, read_profile
from trainyard.training.schedules import Constant

if TYPE_CHECKING:
    import keras

PROFILE = "profile"
"""The part of a run's folder that a profile goes to."""


@register_debug("none")
@dataclass(kw_only=True, slots=True)
class NoDebug(DebugConfig):
    """A run for its result."""

    changes_result: ClassVar[bool] = False


@register_debug("one_batch")
@dataclass(kw_only=True, slots=True)
class OneBatch(DebugConfig):
    """One batch through every stage, from the data to the last artifact: whether all of it works, in seconds."""

    def cut(self, dataset: Dataset, batch_size: int, seed: int) -> Dataset:
        """Keeps a batch of each split."""
        return replace(
            dataset,
            train=_draw(dataset.train, batch_size, seed),
            validation=_draw(dataset.validation, batch_size, seed) if dataset.validation else None,
            test=_draw(dataset.test, batch_size, seed),
        )

    def callbacks(self, folder: Path) -> list[keras.callbacks.Callback]:  # noqa: ARG002
        """Ends the training after an epoch, which has one batch. The schedule is that of the whole training."""
        return [_build_stop(epochs=1)]

    def conclude(self, history: Sequence[Mapping[str, float]], accuracy: float, folder: Path) -> str:  # noqa: ARG002
        """Tells that every stage was passed."""
        return "debug=one_batch: every stage works. The figures are those of a single batch, and say nothing"


@register_debug("overfit")
@dataclass(kw_only=True, slots=True)
class Overfit(DebugConfig):
    """Trains on a few images until all are known by heart. What can't even do that has a mistake, and fails."""

    images: int = setting(64, ge=1)
    """How many training images, stratified by class; they are validated and tested on too."""
    epochs: int = setting(200, ge=1)
    """The epochs it has for that; if some are still not known then, the run has failed."""

    def adjust(self, config: RunConfig) -> RunConfig:
        """Leaves out what makes knowing by heart harder or ends the training before: only the model is in question."""
        training = replace(
            config.training, epochs=self.epochs, early_stopping=EarlyStoppingConfig(), plateau=PlateauConfig()
        )
        averaged = getattr(config.optimizer, "use_ema", False)
        raw: dict[str, Any] = {"use_ema": False} if averaged else {}  # an average lags behind what a few steps learned
        optimizer = replace(config.optimizer, **raw)
        return replace(
            config, training=training, optimizer=optimizer, schedule=Constant(), augmentation=NoAugmentation()
        )

    def cut(self, dataset: Dataset, batch_size: int, seed: int) -> Dataset:  # noqa: ARG002
        """Keeps a few training images, in every split."""
        few = _draw(dataset.train, self.images, seed)
        return replace(dataset, train=few, validation=few, test=few)

    def callbacks(self, folder: Path) -> list[keras.callbacks.Callback]:  # noqa: ARG002
        """Ends the training when all images are known."""
        return [_build_stop(accuracy=1.0)]

    def conclude(self, history: Sequence[Mapping[str, float]], accuracy: float, folder: Path) -> str:  # noqa: ARG002
        """Tells after how many epochs all images were known.

        Raises:
            TrainingError: If they were not.
        """
        if accuracy == 1.0:
            return f"debug=overfit: all images are known by heart after {len(history)} epochs, as they should be"
        raise TrainingError(
            f"debug=overfit: expected all of {self.images} images to be known by heart, got {accuracy:.1%} of them "
            f"after {len(history)} epochs. Look at optimizer.learning_rate, at labels that don't belong to their "
            "images, at how pixels are scaled, and at dropout and weight_decay; or give it more debug.epochs"
        )


@register_debug("profile")
@dataclass(kw_only=True, slots=True)
class Profile(DebugConfig):
    """Where the time of a training step goes: two short epochs, the second of them traced, operation by operation."""

    steps: int = setting(100, ge=1)
    """The batches in each of the two epochs."""

    def adjust(self, config: RunConfig) -> RunConfig:
        """Sees to it that there are two epochs."""
        return replace(config, training=replace(config.training, epochs=max(config.training.epochs, 2)))

    def cut(self, dataset: Dataset, batch_size: int, seed: int) -> Dataset:
        """Keeps as many training images as are traced, in whole batches where there are as many."""
        images = min(self.steps * batch_size, len(dataset.train) // batch_size * batch_size or len(dataset.train))
        return replace(dataset, train=_draw(dataset.train, images, seed))

    def callbacks(self, folder: Path) -> list[keras.callbacks.Callback]:
        """Traces the second epoch and ends the training after it."""
        return [build_recorder(folder / PROFILE, traced_epoch=1), _build_stop(epochs=2)]

    def conclude(self, history: Sequence[Mapping[str, float]], accuracy: float, folder: Path) -> str:  # noqa: ARG002
        """Tells what took longest, and where the whole trace is."""
        table = read_profile(folder / PROFILE).describe()
        return f"{table}\n\n{PROFILE}/{TRACE} opens in https://ui.perfetto.dev, the folder in TensorBoard's profiler"


def _draw(split: Split, count: int, seed: int) -> Split:
    """Returns so many images of a split, stratified by class, or all there are."""
    return split.take(stratified_sample(split.labels, min(count, len(split)), seed))


def _build_stop(*, epochs: int | None = None, accuracy: float | None = None) -> keras.callbacks.Callback:
    """Builds the callback that ends a training after so many epochs, or at an accuracy on the validation images."""
    import keras

    def stop(epoch: int, logs: Mapping[str, float]) -> None:
        if epoch + 1 == epochs or logs.get("val_accuracy", 0.0) == accuracy:
            callback.model.stop_training = True

    callback = keras.callbacks.LambdaCallback(on_epoch_end=stop)
    return callback
