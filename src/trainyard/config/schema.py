"""The shape of a config: every section as a dataclass, with its types, ranges and meanings.

This file knows no component by name. A component (a dataset, an architecture, an optimizer) derives from one of
the bases here, declares its fields with `setting`, and is found through the registry. A default stands in exactly
one place, beside its field; only *which* component is the default stands in ``conf/config.yaml``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from omegaconf import MISSING

from trainyard.config.fields import setting
from trainyard.config.sections import EvaluationConfig, SweepConfig, TrainingConfig
from trainyard.system.uris import uri_problem, without_credentials

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TypeAlias

    import keras
    import tensorflow as tf

    from trainyard.data.dataset import Dataset, DataSpec

    LearningRate: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule

RESERVED_TAGS = (
    "config_hash", "dataset_digest", "initial_weights_digest", "weights_digest", "engine", "xla", "seed", "drawn_seed",
    "threads", "determinism", "resumed_from", "started_from", "best_epoch", "sweep_id", "best_run_id", "host", "pid",
    "started", "command", "error",
)  # fmt: skip
"""Tags that Trainyard sets; beside them all that begin with ``trainyard.``, ``mlflow.`` and ``git.``."""


# ---------------------------------------------------------------------------------------------------------------
# Components: chosen by name, one dataclass per choice


@dataclass(kw_only=True, slots=True)
class ComponentConfig:
    """A component: data, a name fixed by the registry, and a way to build what it describes."""

    name: str = ""
    """The component's name. Fixed by the registry: select another component by its group, ``optimizer=sgd``."""

    registered_name: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Gives the component its registered name."""
        self.name = self.name or self.registered_name

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (field, message) for each contradiction between fields that no single rule can see."""
        yield from ()


@dataclass(kw_only=True, slots=True)
class DatasetConfig(ComponentConfig, ABC):
    """Where images come from."""

    validation_fraction: float = setting(0.0, ge=0, lt=1)
    """The share of the training images held out for validation, stratified by class and drawn by the seed; 0: none."""
    limit: int | None = setting(None, ge=1)
    """For a quick look: keep this many images of training and of test, stratified by class; null: all."""
    standardise: bool = setting(False)
    """Whether each channel is shifted and scaled to mean 0 and standard deviation 1 over the training images."""

    @property
    def known_shape(self) -> tuple[tuple[int, ...], int] | None:
        """The shape of an image and the number of classes, where both are known without loading; else None."""
        return None

    @abstractmethod
    def load(self, progress: bool) -> Dataset:
        """Loads and verifies the data, before limit and validation split.

        Args:
            progress: Whether a download may draw a progress bar.

        Returns:
            The whole data set, without validation images.

        Raises:
            DatasetError: If the data is absent, damaged or not what it claims to be.
        """


@dataclass(kw_only=True, slots=True)
class ModelConfig(ComponentConfig, ABC):
    """An architecture."""

    @property
    def label(self) -> str:
        """What distinguishes this architecture, in a few characters, for the names of runs."""
        return self.name

    def count_parameters(self, image_shape: tuple[int, ...], classes: int) -> int | None:  # noqa: ARG002 - for those that can
        """Counts the parameters of what `build` returns, without TensorFlow, where arithmetic gives them.

        Args:
            image_shape: Height and width, and channels where there are several.
            classes: The number of classes.

        Returns:
            All parameters, trainable or not, as Keras's ``count_params()`` gives them; None where they are not known
            before the model is built, or where it can't be.
        """
        return None

    @abstractmethod
    def build(self, spec: DataSpec) -> keras.Model:
        """Builds the Keras model: images as `DataSpec.scale` returns them in, float32 (n, classes) probabilities out.

        Args:
            spec: The shape of an image and the classes.

        Returns:
            An uncompiled model. Weights come from Keras's global seed.
        """


@dataclass(kw_only=True, slots=True)
class OptimizerConfig(ComponentConfig, ABC):
    """An optimizer."""

    learning_rate: float = setting(0.001, gt=0)
    """The step size at the start; the schedule changes it from there."""

    @abstractmethod
    def build(self, learning_rate: LearningRate) -> keras.Optimizer:
        """Builds the Keras optimizer with a learning rate or the schedule made of it."""


@dataclass(kw_only=True, slots=True)
class ScheduleConfig(ComponentConfig, ABC):
    """How the learning rate changes while training."""

    constant: ClassVar[bool] = False
    """Whether it does not, so that something else may change it."""

    def training_problems(self, epochs: int) -> Iterator[tuple[str, str]]:  # noqa: ARG002 - for those that can't end
        """Yields (field, message) for what does not go with a training of so many epochs."""
        yield from ()

    @abstractmethod
    def build(self, learning_rate: float, epochs: int, steps_per_epoch: int) -> LearningRate:
        """Builds the schedule.

        Args:
            learning_rate: The optimizer's learning rate.
            epochs: Of the whole training.
            steps_per_epoch: Batches in one of them; Keras counts each, also where gradients are accumulated.

        Returns:
            The learning rate itself where it stays constant, else a Keras schedule over steps.
        """


@dataclass(kw_only=True, slots=True)
class LossConfig(ComponentConfig, ABC):
    """A loss over labels and probabilities."""

    @property
    def one_hot(self) -> bool:
        """Whether it takes labels as one-hot vectors, float32 (b, classes); else as integers, uint8 (b,)."""
        return False

    @abstractmethod
    def build(self) -> keras.losses.Loss:
        """Builds the Keras loss."""


@dataclass(kw_only=True, slots=True)
class AugmentationConfig(ComponentConfig):
    """What is done to training images at random."""

    changes_images: ClassVar[bool] = False
    """Whether anything is done."""

    def apply(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:  # noqa: ARG002 - the contract of those that do
        """Changes a batch of images, in TensorFlow operations.

        Args:
            images: float32 (b, *image_shape), scaled so that 0 stands for the raw pixel 0.
            seed: int64 (2,), from which everything random is drawn (``tf.random.stateless_...``).

        Returns:
            float32, of the same shape.
        """
        return images


@dataclass(kw_only=True, slots=True)
class DebugConfig(ComponentConfig):
    """A way of running that looks for mistakes rather than for a result."""

    changes_result: ClassVar[bool] = True
    """Whether what comes out is not what the config describes; such runs go to an MLflow experiment of their own."""

    def adjust(self, config: RunConfig) -> RunConfig:
        """Returns what is trained in the place of a config; the run is still logged as the config."""
        return config

    def cut(self, dataset: Dataset, batch_size: int, seed: int) -> Dataset:  # noqa: ARG002 - for those that cut
        """Returns what is used of a data set."""
        return dataset

    def callbacks(self, folder: Path) -> list[keras.callbacks.Callback]:  # noqa: ARG002 - likewise
        """Returns what listens to the training, and may write into the run's folder."""
        return []

    def conclude(self, history: Sequence[Mapping[str, float]], accuracy: float, folder: Path) -> str:  # noqa: ARG002
        """Judges a run that is through.

        Args:
            history: The metrics of each epoch.
            accuracy: On the test images, in 0..1.
            folder: Of the run.

        Returns:
            What there is to tell the user, in lines; nothing where there is nothing.

        Raises:
            TrainingError: If the mistake that was looked for is there.
        """
        return ""


@dataclass(kw_only=True, slots=True)
class TrackingConfig(ComponentConfig, ABC):
    """Where runs are logged."""

    uri: str | None = setting(None)
    """``http://host:port``, ``sqlite:///path``, ``postgresql://...``; null: MLFLOW_TRACKING_URI, if it is set."""
    experiment: str | None = setting(None)
    """The MLflow experiment that runs go to; null: the recipe's name."""
    tags: dict[str, str] = setting({})
    """Tags of your own on the run, ``+tracking.tags.owner=ada``."""
    model: bool = setting(True)
    """Whether the servable MLflow model is logged; model.h5 and model.keras are written either way."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields a problem for a URI with credentials or of an unknown kind, an unfit name, a tag that is not free."""
        if self.uri is not None and without_credentials(self.uri) != self.uri:
            yield (
                "uri",
                "a config is logged, so it must hold no credentials. Set MLFLOW_TRACKING_URI in the environment",
            )
        elif self.uri is not None and (problem := uri_problem(self.uri)):
            yield "uri", problem
        if self.experiment is not None and (problem := _name_problem(self.experiment)):
            yield "experiment", problem
        for tag in self.tags:
            if tag in RESERVED_TAGS or tag.startswith(("mlflow.", "trainyard.", "git.")):
                yield f"tags.{tag}", "this tag is set by Trainyard or MLflow. Choose another name"

    @abstractmethod
    def resolve_uri(self, environment: Mapping[str, str], working_directory: Path) -> str | None:
        """Returns the MLflow tracking URI that runs go to, absolute, or None where nothing is tracked.

        Raises:
            ConfigError: If a URI is needed and there is none, or that of the environment is of an unknown kind.
        """


# ---------------------------------------------------------------------------------------------------------------
# The whole


@dataclass(kw_only=True, slots=True)
class RunConfig:
    """Everything that one run depends on. `compose.compose_config` makes one from YAML and overrides."""

    name: str = setting("untitled", nonempty=True, identity=False)
    """The recipe's name; also the MLflow experiment that its runs go to."""
    seed: int = setting(0, ge=0, le=2**32 - 1, identity=False)
    """Seeds the validation split, the initial weights, the shuffling and dropout."""
    notes: str = setting("", identity=False)
    """Free text (Markdown) shown on the run's page in MLflow."""
    resume: str | None = setting(None, identity=False)
    """The id of an interrupted run, or its folder, whose last checkpoint this run goes on from."""

    dataset: DatasetConfig = MISSING
    model: ModelConfig = MISSING
    optimizer: OptimizerConfig = MISSING
    schedule: ScheduleConfig = MISSING
    loss: LossConfig = MISSING
    augmentation: AugmentationConfig = MISSING
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    tracking: TrackingConfig = MISSING
    sweep: SweepConfig = field(default_factory=SweepConfig)
    debug: DebugConfig = MISSING

    @property
    def experiment(self) -> str:
        """The MLflow experiment that the run goes to."""
        own = f"{self.name} debug" if self.debug.changes_result else self.name
        return self.tracking.experiment or own

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (path, message) for each contradiction between sections."""
        for path, monitor in self.training.watched():
            if monitor.endswith("/val") and not self.dataset.validation_fraction:
                remedy = "Set dataset.validation_fraction=0.1, or watch loss/train"
                yield f"training.{path}", f"{monitor} needs validation images, and there are none. {remedy}"
        if self.training.plateau.patience is not None and not self.schedule.constant:
            message = f"schedule={self.schedule.name} sets the learning rate at each step, and would undo it"
            yield "training.plateau.patience", f"{message}. Leave one of them out"
        stopping = self.training.early_stopping
        if stopping.patience is not None and stopping.restore_best and getattr(self.optimizer, "use_ema", False):
            message = "the weights of the best epoch are those before averaging, and optimizer.use_ema would be lost"
            yield "training.early_stopping.restore_best", f"{message}. Set one of them to false"
        if self.training.keep_best is not None and getattr(self.optimizer, "use_ema", False):
            message = "the best epoch's weights would be those before averaging, which optimizer.use_ema is about"
            yield "training.keep_best", f"{message}. Leave one of them out"
        if self.training.class_weights is not None and self.training.balance_classes:
            yield "training.class_weights", "training.balance_classes computes them. Leave one of them out"
        for name, message in self.schedule.training_problems(self.training.epochs):
            yield f"schedule.{name}", message
        if self.training.determinism == "strict" and self.training.xla == "on":
            message = (
                "XLA rounds otherwise than TensorFlow's own operations, and training.determinism=strict wants theirs"
            )
            yield "training.xla", f"{message}. Leave one of them out"
        names = {"name": self.name, "sweep.name": self.sweep.name or self.name}
        yield from ((path, problem) for path, name in names.items() if (problem := _name_problem(name)))


_LONGEST_NAME = 150


def _name_problem(name: str) -> str | None:
    """Returns what is wrong with a name that becomes a folder and an MLflow experiment, or None."""
    if len(name) > _LONGEST_NAME:
        return f"expected at most {_LONGEST_NAME} characters (it names a folder), got {len(name)}"
    if re.fullmatch(r"\w([\w .+-]*\w)?", name):
        return None
    return f"expected letters and digits, and within them spaces and . _ + - (it names a folder), got {name!r}"


COMPONENT_GROUPS: dict[str, type[ComponentConfig]] = {
    "dataset": DatasetConfig,
    "model": ModelConfig,
    "optimizer": OptimizerConfig,
    "schedule": ScheduleConfig,
    "loss": LossConfig,
    "augmentation": AugmentationConfig,
    "tracking": TrackingConfig,
    "debug": DebugConfig,
}
"""The groups whose members are components, with the base that each member derives from."""
