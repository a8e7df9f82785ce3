"""The config sections that do not depend on the selected components: training, evaluation, sweep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from trainyard.config.fields import setting

MONITORS = ("loss/val", "accuracy/val", "loss/train", "accuracy/train")


@dataclass(kw_only=True, slots=True)
class EarlyStoppingConfig:
    """Stops training when the monitored metric does not improve. See `keras.callbacks.EarlyStopping`."""

    patience: int | None = setting(None, ge=0)
    """Number of epochs without improvement after which training stops. `null` disables early stopping."""
    monitor: str = setting("loss/val", choices=MONITORS)
    """Metric to monitor. A loss improves when it decreases, an accuracy when it increases. If `patience` is not `null`,
    `loss/val` and `accuracy/val` require validation images, for example `dataset.validation_fraction` above 0."""
    min_delta: float = setting(0.0, ge=0)
    """Minimum change of the monitored metric that counts as an improvement."""
    restore_best: bool = setting(True)
    """Whether to restore the weights of the best epoch when training ends. If `false`, the weights of the last epoch
    are kept; then a `patience` that can't end before the last epoch causes a warning, because it has no effect."""


@dataclass(kw_only=True, slots=True)
class PlateauConfig:
    """Reduces the learning rate when the monitored metric does not improve. See `keras.callbacks.ReduceLROnPlateau`."""

    patience: int | None = setting(None, ge=1)
    """Number of epochs without improvement after which the learning rate is reduced. `null` disables the reduction.
    Any other value requires `schedule=constant`. A value that can't end before the last epoch causes a warning."""
    factor: float = setting(0.1, gt=0, lt=1)
    """Factor by which the learning rate is multiplied at each reduction."""
    monitor: str = setting("loss/val", choices=MONITORS)
    """Metric to monitor. A loss improves when it decreases, an accuracy when it increases. If `patience` is not `null`,
    `loss/val` and `accuracy/val` require validation images, for example `dataset.validation_fraction` above 0."""
    min_delta: float = setting(0.0001, ge=0)
    """Minimum change of the monitored metric that counts as an improvement."""
    cooldown: int = setting(0, ge=0)
    """Number of epochs to wait after a reduction before epochs without improvement are counted again."""
    min_learning_rate: float = setting(0.0, ge=0)
    """Lower bound of the learning rate. A value that is not less than `optimizer.learning_rate` causes a warning,
    because the learning rate is then never reduced."""


@dataclass(kw_only=True, slots=True)
class TrainingConfig:
    """Epochs, batches, numerics, checkpoints and class weights of the training."""

    epochs: int = setting(10, ge=1)
    """Number of epochs to train. An epoch is one pass over all training images."""
    batch_size: int = setting(32, ge=1)
    """Number of images per batch. The last batch of an epoch can be smaller and is also used for training."""
    engine: str = setting("auto", choices=("auto", "compiled", "fit"))
    """Training loop. `compiled` runs an epoch as one compiled program, `fit` uses Keras's `model.fit`. `auto` uses
    `compiled` if possible, else `fit`; the run records which one, and why."""
    xla: str = setting("auto", choices=("auto", "on", "off"))
    """Whether to compile the training step with XLA. `auto` estimates which choice takes less time, from the operations
    of the model, their sizes, the number of steps and the device. It measures nothing, so that the choice is the same
    in each process. A resumed run and a rerun use the choice of the original run."""
    precision: str = setting("float32", choices=("float32", "mixed_bfloat16", "mixed_float16"))
    """Keras dtype policy. The mixed policies compute in 16 bits, and keep weights, loss and probabilities in
    float32. `activity_regularizer` of a layer requires `float32`."""
    determinism: str = setting("seeded", choices=("off", "seeded", "strict"))
    """What is the same in runs with the same config and seed. `off`: only the validation split and the images of
    `dataset.limit`. `seeded`: all random numbers; on a CPU, weights are bit-identical on the same machine with the same
    versions, number of threads, engine and XLA setting. `strict`: on a CPU, weights are bit-identical on the same
    machine with the same versions, for any number of threads and both engines; training is slower (one thread per
    operation, no XLA, no graph optimizer)."""
    threads: int | None = setting(None, ge=1, identity=False)
    """Number of TensorFlow threads, within an operation and across operations. `null` uses one per available CPU
    core."""
    start_from: str | None = setting(None)
    """Initial weights: a `.keras` or `.h5` file, or the ID or folder of a run with the same architecture. `null`
    initializes the weights randomly."""
    checkpoint: bool = setting(False, identity=False)
    """Whether to save a checkpoint after each epoch, so that an interrupted run can be resumed with `resume=RUN_ID`.
    The last two checkpoints are kept."""
    keep_best: str | None = setting(None, choices=MONITORS, identity=False)
    """Metric that selects the best epoch, whose model is saved as `best.keras` in addition to the final model. `null`
    saves only the final model."""
    class_weights: list[float] | None = setting(None, ge=0, nonempty=True)
    """Weight of each class in the training loss, one number per class in label order. `null` weights all classes
    equally."""
    balance_classes: bool = setting(False)
    """Whether to weight classes by their inverse frequency, so that each class has the same total weight in the
    training loss. Cannot be combined with `class_weights`."""
    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    plateau: PlateauConfig = field(default_factory=PlateauConfig)

    def __post_init__(self) -> None:
        """Converts `on` and `off`, which YAML parses as booleans if they are not quoted, back to strings."""
        names = {"True": "on", "False": "off"}
        self.xla = names.get(str(self.xla), self.xla)
        self.determinism = names.get(str(self.determinism), self.determinism)

    def monitored_metrics(self) -> Iterator[tuple[str, str]]:
        """Yields (path within the section, metric) for each field that selects a metric to monitor."""
        for name, section in (("early_stopping", self.early_stopping), ("plateau", self.plateau)):
            if section.patience is not None:
                yield f"{name}.monitor", section.monitor
        if self.keep_best is not None:
            yield "keep_best", self.keep_best


@dataclass(kw_only=True, slots=True)
class EvaluationConfig:
    """Metrics and plots that are computed on the test set."""

    first_predictions: int = setting(10, ge=1, le=100)
    """Number of test images, starting with the first, whose predicted and true labels are listed and plotted."""
    mistakes: int = setting(24, ge=1, le=200)
    """Number of misclassified test images to plot, starting with the highest confidence."""
    top_k: int = setting(5, ge=2)
    """Number of classes `k` for the top-k accuracy: the share of test images whose label is among the `k` most probable
    classes. Only computed if the data set has more than `k` classes."""
    calibration_bins: int = setting(15, ge=2, le=100)
    """Number of confidence bins of equal width for the expected calibration error and the reliability diagram."""
    metrics: list[str] = setting([], elements="metrics")
    """Names of additional metrics to compute on the test set."""


@dataclass(kw_only=True, slots=True)
class SweepConfig:
    """Parameters, search and failure handling of a sweep. A single run uses only `sweep.name`, as a tag."""

    name: str | None = setting(None, nonempty=True)
    """Name of the sweep. It is used for the folder `sweeps/NAME` and for the tag `sweep_id`. `null` uses the recipe
    name followed by a hash of the command."""
    objective: str = setting(
        "accuracy/val",
        choices=("accuracy/val", "loss/val", "off"),
        rejected=("accuracy/test", "loss/test", "f1_macro/test"),
        rejection="A test metric is not accepted: if the test images selected the winner, its test score would be "
        "biased. Use accuracy/val with dataset.validation_fraction=0.1. The test score of the winner is logged anyway",
    )
    """Metric of the final model by which trials are ranked. `off` does not rank the trials. The others require
    validation images, for example `dataset.validation_fraction` above 0."""
    params: dict[str, Any] = setting({})
    """Parameters to vary: a mapping of dotted paths or config groups to values. Values are a YAML list, or a string in
    Hydra's sweep syntax, such as `range(1,5)`, or `interval(0.0,0.5)` for samplers."""
    seeds: int | None = setting(None, ge=1)
    """Number of seeds with which each combination of values is trained: `seed`, `seed`+1, and so on. `null` trains each
    combination once."""
    sampler: str = setting("grid", choices=("grid", "random", "tpe", "gp", "cmaes", "qmc"))
    """Search algorithm. `grid` trains all combinations; the others are Optuna samplers, which draw `points`
    combinations. `gp` requires PyTorch."""
    points: int = setting(20, ge=1)
    """Number of combinations that a sampler draws. It can be increased when a sweep is resumed. Has no effect if
    `sampler` is `grid`."""
    sampler_seed: int = setting(0, ge=0, le=2**32 - 1)
    """Random seed of the sampler. If trials run one at a time, the same seed draws the same combinations. Has no effect
    if `sampler` is `grid`."""
    warm_start: list[str] = setting([])
    """Names or folders of earlier sweeps whose results the sampler uses from the start. Supported by `tpe`, `gp` and
    `cmaes`."""
    pruner: str = setting("off", choices=("off", "median", "halving", "hyperband"))
    """Optuna pruner that stops trials early if their objective is poor compared with other trials; `off` disables
    pruning. `halving` is Optuna's successive halving. With several seeds, points are judged by the mean of their
    seeds."""
    min_epochs: int = setting(1, ge=1)
    """Minimum number of epochs before a trial can be pruned. Has no effect if `pruner` is `off`. A value that is so
    large that no trial can be pruned causes a warning."""
    on_error: str = setting("continue", choices=("continue", "stop"))
    """What to do after a failed trial. `continue` starts the remaining trials; `stop` starts no further trials."""
    retries: int = setting(0, ge=0)
    """Number of times a failed trial is repeated. Repetitions start after all other trials."""
    max_failures: int | None = setting(None, ge=1)
    """Number of failed trials after which no further trials start. `null` sets no limit."""

    def __post_init__(self) -> None:
        """Converts `off`, which YAML parses as a boolean if it is not quoted, back to a string."""
        self.objective = "off" if str(self.objective) == "False" else self.objective
        self.pruner = "off" if str(self.pruner) == "False" else self.pruner
