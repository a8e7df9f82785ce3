"""The config schema: one dataclass per section, with the types, ranges and meanings of all fields.

No component is listed here. A component (a data set, an architecture, an optimizer) is a subclass of one of the base
classes below, declares its fields with `setting`, and is registered by name. The default of a field is defined only
next to the field. The default component of each group is defined in ``conf/config.yaml``.
"""

from __future__ import annotations

import typing
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from omegaconf import MISSING

from trainyard.config.fields import find_name_problem, setting
from trainyard.config.sections import EvaluationConfig, SweepConfig, TrainingConfig
from trainyard.system import find_uri_problem, redact_credentials

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    import tensorflow as tf

    from trainyard.data import Dataset, DataSpec


RESERVED_TAGS = (
    "config_hash", "dataset_digest", "initial_weights_digest", "weights_digest", "engine", "xla", "seed", "drawn_seed",
    "threads", "determinism", "resumed_from", "started_from", "best_epoch", "sweep_id", "best_run_id", "host", "pid",
    "started", "command", "error",
)  # fmt: skip
"""Tags that Trainyard sets. Names that begin with ``trainyard.``, ``mlflow.`` or ``git.`` are reserved, too."""


LearningRate: TypeAlias = "float | keras.optimizers.schedules.LearningRateSchedule"
"""What `OptimizerConfig.build` accepts: a constant, or a schedule of Keras."""


@dataclass(kw_only=True, slots=True)
class ComponentConfig:
    """The base class of all components: a name and fields that describe an object, which the component builds."""

    name: str = ""
    """Name of the component. Cannot be changed; to select another component, set its group, for example
    ``optimizer=sgd``."""

    registered_name: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Sets the name to the registered name if it is empty."""
        self.name = self.name or self.registered_name

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (field, message) for each contradiction between fields, which their single rules cannot detect."""
        yield from ()


@dataclass(kw_only=True, slots=True)
class DatasetConfig(ComponentConfig, ABC):
    """The data set: images, labels, and the split into training and validation images."""

    validation_fraction: float = setting(0.0, ge=0, lt=1)
    """Fraction of the training images that is held out for validation, stratified by class and selected by `seed`.
    `0.0` disables validation."""
    limit: int | None = setting(None, ge=1)
    """Maximum number of training, validation and test images each, stratified by class, for quick experiments. `null`
    uses all images."""
    standardise: bool = setting(False)
    """Whether to standardize each channel to mean 0 and standard deviation 1, computed over the training images. If
    `false`, pixels are scaled to 0..1."""
    memory: str = setting("auto", choices=("auto", "memory", "stream"), identity=False)
    """Where the images are during the training: `memory` copies all of them to memory, `stream` reads them from the
    disk while the model trains, and `auto` streams if they would need more than half of the available memory. The
    results are the same, bit for bit."""

    @property
    def known_shape(self) -> tuple[tuple[int, ...], int] | None:
        """The shape of an image and the number of classes, if both are known without loading the data, else None."""
        return None

    @property
    def has_validation(self) -> bool:
        """Whether there will be validation images, as far as is known without loading the data."""
        return self.validation_fraction > 0

    def check_files(self) -> None:
        """Checks the files without reading their data, before TensorFlow and a run start; by default nothing.

        Raises a DatasetError if the data would not load.
        """

    @abstractmethod
    def load(self, progress: bool) -> Dataset:
        """Loads and verifies the data, before limit and split are applied. Raises a DatasetError if it is invalid."""

    def load_limited(self, seed: int, progress: bool) -> Dataset:  # noqa: ARG002 - for subclasses
        """Loads the data like `load`. A data set that can load a part of it applies `limit`, and sets `limited`."""
        return self.load(progress=progress)


@dataclass(kw_only=True, slots=True)
class ModelConfig(ComponentConfig, ABC):
    """The model architecture."""

    @property
    def label(self) -> str:
        """A short description of the architecture for the names of runs, such as ``'300x200x100 relu'``."""
        return self.name

    def count_parameters(self, image_shape: tuple[int, ...], classes: int) -> int | None:  # noqa: ARG002 - for subclasses
        """Returns the number of parameters that Keras's ``count_params()`` returns, computed without TensorFlow.

        `image_shape` is (height, width) or (height, width, channels). None if the number is not known before the model
        is built, or if the model cannot be built.
        """
        return None

    def precision_problems(self, precision: str) -> Iterator[tuple[str, str]]:  # noqa: ARG002 - for subclasses
        """Yields (field, message) for each setting that is invalid for this value of `training.precision`."""
        yield from ()

    @abstractmethod
    def build(self, spec: DataSpec) -> keras.Model:
        """Builds an uncompiled Keras model: float32 (n, *image_shape) -> class probabilities, float32 (n, classes).

        Its inputs are images scaled by `DataSpec.scale`. Keras's global seed determines the initial weights.
        """


@dataclass(kw_only=True, slots=True)
class OptimizerConfig(ComponentConfig, ABC):
    """The optimizer, and the initial learning rate."""

    learning_rate: float = setting(0.001, gt=0)
    """Initial learning rate. `schedule` determines how it changes during training."""

    @property
    def averages_weights(self) -> bool:
        """Whether the final weights are an average over steps: the value of the field `use_ema`, if there is one."""
        return getattr(self, "use_ema", False)

    @property
    def batches_per_update(self) -> int:
        """Number of batches per weight update: the value of `gradient_accumulation_steps`, if there is such a field."""
        return getattr(self, "gradient_accumulation_steps", None) or 1

    def find_ineffective_settings(self) -> Iterator[str]:
        """Yields a warning for each setting that has no effect, because of the value of another one."""
        yield from ()

    @abstractmethod
    def build(self, learning_rate: LearningRate) -> keras.Optimizer:
        """Builds the Keras optimizer with a constant learning rate or a Keras learning rate schedule."""


@dataclass(kw_only=True, slots=True)
class ScheduleConfig(ComponentConfig, ABC):
    """The learning rate schedule."""

    is_constant: ClassVar[bool] = False
    """Whether the learning rate stays constant, so that ``training.plateau`` may reduce it."""

    def training_problems(self, epochs: int) -> Iterator[tuple[str, str]]:  # noqa: ARG002 - for subclasses
        """Yields (field, message) for each setting that is invalid for this number of epochs."""
        yield from ()

    def find_ineffective_settings(self, epochs: int, steps_per_epoch: int) -> Iterator[str]:  # noqa: ARG002 - for subclasses
        """Yields a warning for each setting that has no effect, or another one, in a training with this many steps."""
        yield from ()

    @abstractmethod
    def build(self, learning_rate: float, epochs: int, steps_per_epoch: int) -> LearningRate:
        """Builds a Keras schedule over steps from the initial learning rate, or returns it if it is constant.

        `epochs` is that of the complete training. Keras counts each batch as a step, even if gradients are accumulated.
        """


@dataclass(kw_only=True, slots=True)
class LossConfig(ComponentConfig, ABC):
    """The training loss."""

    @property
    def one_hot(self) -> bool:
        """Whether the loss expects one-hot labels, float32 (batch, classes), instead of integers, uint8 (batch,)."""
        return False

    @abstractmethod
    def build(self) -> keras.losses.Loss:
        """Builds the Keras loss."""


@dataclass(kw_only=True, slots=True)
class AugmentationConfig(ComponentConfig):
    """Random changes of the training images."""

    changes_images: ClassVar[bool] = False
    """Whether `apply` changes images."""

    def apply(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:  # noqa: ARG002 - for subclasses
        """Returns a randomly changed batch of images. Uses TensorFlow operations only.

        Images are float32 (batch, *image_shape), scaled so that the raw pixel value 0 is 0.0. The seed, int64 (2,), is
        for all random numbers (``tf.random.stateless_*``).
        """
        return images


@dataclass(kw_only=True, slots=True)
class DebugConfig(ComponentConfig):
    """Debugging modes: short runs that check a config or measure where time is spent."""

    changes_result: ClassVar[bool] = True
    """Whether results differ from those that the config describes. Such runs are logged to a separate MLflow
    experiment."""

    def adjust_config(self, config: RunConfig) -> RunConfig:
        """Returns the config to train instead of the given one. The run is logged with the given config."""
        return config

    def reduce_dataset(self, dataset: Dataset, batch_size: int, seed: int) -> Dataset:  # noqa: ARG002 - for subclasses
        """Returns the part of a data set that is used."""
        return dataset

    def callbacks(self, folder: Path) -> list[keras.callbacks.Callback]:  # noqa: ARG002 - for subclasses
        """Returns additional Keras callbacks, which may write to the folder of the run."""
        return []

    def judge_result(self, history: Sequence[Mapping[str, float]], accuracy: float, folder: Path) -> str:  # noqa: ARG002
        """Checks the metrics of each epoch and the test accuracy, 0..1, of a completed run.

        Returns a message for the user, one or more lines or empty. Raises a TrainingError if the check fails.
        """
        return ""


@dataclass(kw_only=True, slots=True)
class TrackingConfig(ComponentConfig, ABC):
    """The MLflow store to which runs are logged."""

    uri: str | None = setting(None)
    """MLflow tracking URI: ``http://host:port``, ``sqlite:///path`` or ``postgresql://...``. Must not contain
    credentials. `null` uses the environment variable `MLFLOW_TRACKING_URI`, if it is set."""
    experiment: str | None = setting(None)
    """Name of the MLflow experiment. `null` uses `name`; debugging modes that change results append `debug` to it."""
    tags: dict[str, str] = setting({})
    """Additional MLflow tags of the run. Set one with ``tracking.tags.owner=ada``."""
    parent: str | None = setting(None)
    """ID of an MLflow run, for example of an orchestrator, under which the run or the sweep is nested in the UI. The UI
    only nests runs of the same experiment (see `experiment`). `null` nests it under no run."""
    model: bool = setting(True)
    """Whether to log an MLflow model that can be served. `model.h5` and `model.keras` are always written."""
    plots: str | None = setting(None, choices=("all", "best", "none"))
    """Whether to draw plots and write `report.html`. `all`: at the end of each run. `best`: in a sweep, at its end, and
    only for its best three points. `none`: only on request, by ``trainyard report RUN``. `null` is `best` in a
    sweep, otherwise `all`."""
    diff: bool = setting(True)
    """Whether to log the uncommitted changes of the git checkout as `environment/git.diff`. Files and values that may
    be secret are left out."""
    retry_seconds: float = setting(45.0, ge=0)
    """Seconds for which a request is repeated if the store fails for a while, for example because a server restarts or
    a SQLite file is locked. A run continues without a store that fails for longer, and uploads everything at the
    end."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields a problem for an invalid URI, a URI with credentials, an invalid name, and each reserved tag."""
        if self.uri is not None and redact_credentials(self.uri) != self.uri:
            message = "must not contain credentials, because the config is logged. Set the variable MLFLOW_TRACKING_URI"
            yield "uri", message
        elif self.uri is not None and (problem := find_uri_problem(self.uri)):
            yield "uri", problem
        if self.experiment is not None and (problem := find_name_problem(self.experiment)):
            yield "experiment", problem
        for tag in self.tags:
            if tag in RESERVED_TAGS or tag.startswith(("mlflow.", "trainyard.", "git.")):
                yield f"tags.{tag}", "this tag is reserved for Trainyard or MLflow. Choose another name"

    @abstractmethod
    def resolve_uri(self, environment: Mapping[str, str], working_directory: Path) -> str | None:
        """Returns the absolute MLflow URI; None: tracking is off. Raises a ConfigError if it is missing or invalid."""


@dataclass(kw_only=True, slots=True)
class RunConfig:
    """The complete config of one run. `compose.compose_config` creates it from YAML files and overrides."""

    name: str = setting("untitled", nonempty=True, identity=False)
    """Name of the recipe. It is also used for the MLflow experiment and for the output folder. It may
    contain letters, digits, spaces and `. _ + -`, must start and end with a letter or digit, and has at most 150
    characters."""
    seed: int = setting(0, ge=0, le=2**32 - 1, identity=False)
    """Random seed of the validation split, initial weights, shuffling, dropout and augmentation. How much it
    determines depends on `training.determinism`."""
    notes: str = setting("", identity=False)
    """Free text (Markdown) that MLflow shows on the page of the run."""
    resume: str | None = setting(None, identity=False)
    """ID or folder of an interrupted run. Training continues from its last checkpoint, which requires that the run had
    `training.checkpoint=true` and the same config. `null` starts a new run."""

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
        """The MLflow experiment to which the run is logged."""
        default = f"{self.name} debug" if self.debug.changes_result else self.name
        return self.tracking.experiment or default

    @property
    def known_parameters(self) -> int | None:
        """The number of parameters of the model, if it is known before the data is loaded and the model is built."""
        shape = self.dataset.known_shape
        return None if shape is None else self.model.count_parameters(*shape)


COMPONENT_GROUPS: dict[str, type[ComponentConfig]] = {
    name: section
    for name, section in typing.get_type_hints(RunConfig).items()
    if isinstance(section, type) and issubclass(section, ComponentConfig)
}
"""The config groups of components, with the base class of their components, in the order of the fields of `RunConfig`.

Lists of groups, for example in the reference pages and in the recipe of a sweep's winner, have this order.
"""
