"""The sections of a config that are the same whatever is chosen: training, evaluation, sweeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from trainyard.config.fields import setting

MONITORS = ("loss/val", "accuracy/val", "loss/train", "accuracy/train")

_NO_TEST_METRIC = (
    "Refused, the test images would choose the winner, and its test figure would then say too much of it. Compare by "
    "accuracy/val with dataset.validation_fraction=0.1; the winner's test figure is logged all the same"
)


@dataclass(kw_only=True, slots=True)
class EarlyStoppingConfig:
    """When training ends before its last epoch."""

    patience: int | None = setting(None, ge=0)
    """Epochs without improvement after which training stops; null: early stopping is off."""
    monitor: str = setting("loss/val", choices=MONITORS)
    """The metric watched: a loss must fall, an accuracy must rise."""
    min_delta: float = setting(0.0, ge=0)
    """The smallest change that counts as an improvement."""
    restore_best: bool = setting(True)
    """Whether the weights of the best epoch are put back at the end."""


@dataclass(kw_only=True, slots=True)
class PlateauConfig:
    """When the learning rate is lowered, because nothing improves any more."""

    patience: int | None = setting(None, ge=1)
    """Epochs without improvement after which the learning rate is lowered; null: it is not."""
    factor: float = setting(0.1, gt=0, lt=1)
    """What the learning rate is multiplied by."""
    monitor: str = setting("loss/val", choices=MONITORS)
    """The metric watched: a loss must fall, an accuracy must rise."""
    min_delta: float = setting(0.0001, ge=0)
    """The smallest change that counts as an improvement."""
    cooldown: int = setting(0, ge=0)
    """Epochs after each lowering in which nothing is counted."""
    min_learning_rate: float = setting(0.0, ge=0)
    """The learning rate is not lowered below this."""


@dataclass(kw_only=True, slots=True)
class TrainingConfig:
    """How the model is trained."""

    epochs: int = setting(10, ge=1)
    """Passes over the training images."""
    batch_size: int = setting(32, ge=1)
    """Images per optimizer step; the last, shorter batch of an epoch is trained on too."""
    engine: str = setting("auto", choices=("auto", "compiled", "fit"))
    """What runs the epochs: one compiled program, or fit, Keras's own loop; auto: the program, where it can."""
    xla: str = setting("auto", choices=("auto", "on", "off"))
    """Whether XLA compiles the training; auto decides by the operations of the model and by the device."""
    precision: str = setting("float32", choices=("float32", "mixed_bfloat16", "mixed_float16"))
    """What is computed in; the mixed ones keep weights, loss and probabilities in float32."""
    determinism: str = setting("seeded", choices=("off", "seeded", "strict"))
    """What the seed fixes: off, only the split; seeded, every draw; strict, the bits on any number of cores too."""
    threads: int | None = setting(None, ge=1, identity=False)
    """TensorFlow's threads within and across operations; null: as many as this process may use cores."""
    start_from: str | None = setting(None)
    """Weights to start from: a .keras or .h5 file, or the id or the folder of a run; null: they are drawn."""
    checkpoint: bool = setting(False, identity=False)
    """Whether each epoch leaves a checkpoint, from which ``resume=RUN_ID`` goes on; the last two are kept."""
    keep_best: str | None = setting(None, choices=MONITORS, identity=False)
    """A metric whose best epoch's model is kept beside the last one's, as best.keras; null: none is."""
    class_weights: list[float] | None = setting(None, ge=0, nonempty=True)
    """How much an image of each class counts in the training loss, in label order; null: all alike."""
    balance_classes: bool = setting(False)
    """Whether an image counts the more the rarer its class is, so that all classes weigh alike in the training loss."""
    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    plateau: PlateauConfig = field(default_factory=PlateauConfig)

    def __post_init__(self) -> None:
        """Takes YAML's unquoted on and off, which arrive as truth values, for what they were meant to be."""
        spelled = {"True": "on", "False": "off"}
        self.xla = spelled.get(str(self.xla), self.xla)
        self.determinism = spelled.get(str(self.determinism), self.determinism)

    def watched(self) -> Iterator[tuple[str, str]]:
        """Yields the fields that name a metric to watch, each by its path within the section and with that metric."""
        for name, watch in (("early_stopping", self.early_stopping), ("plateau", self.plateau)):
            if watch.patience is not None:
                yield f"{name}.monitor", watch.monitor
        if self.keep_best is not None:
            yield "keep_best", self.keep_best


@dataclass(kw_only=True, slots=True)
class EvaluationConfig:
    """What is looked at on the test set."""

    first_predictions: int = setting(10, ge=1, le=100)
    """How many test images, from the first on, are drawn with predicted and actual label."""
    mistakes: int = setting(24, ge=1, le=200)
    """How many of the most confident mistakes are drawn."""
    top_k: int = setting(5, ge=2)
    """The label counts as found if it is among so many most probable classes; measured where there are more classes."""
    calibration_bins: int = setting(15, ge=2, le=100)
    """The bins of equal width that confidences are sorted into for the expected calibration error."""
    metrics: list[str] = setting([], holds="metrics")
    """Further metrics to measure on the test set, by name."""


@dataclass(kw_only=True, slots=True)
class SweepConfig:
    """What the trials of a sweep have in common. Of a single run only the name means something."""

    name: str | None = setting(None, nonempty=True)
    """The sweep's name, its folder in sweeps/ and the tag `sweep_id`; null: the recipe's, and a hash of the command."""
    objective: str = setting(
        "accuracy/val",
        choices=("accuracy/val", "loss/val", "off"),
        refuses=dict.fromkeys(("accuracy/test", "loss/test", "f1_macro/test"), _NO_TEST_METRIC),
    )
    """What trials are compared by, of the model that each ends with; off: they are not compared, nobody wins."""
    params: dict[str, Any] = setting({})
    """What is swept: dotted paths or groups to lists of values, or to a sweep in Hydra's grammar as text."""
    seeds: int | None = setting(None, ge=1)
    """How many seeds each point is repeated with, counted up from `seed`; null: each runs once."""
    sampler: str = setting("grid", choices=("grid", "random", "tpe", "gp", "cmaes", "qmc"))
    """What chooses the points: grid, all combinations; else Optuna's sampler of that name, which draws `points`."""
    points: int = setting(20, ge=1)
    """How many points a sampler draws; of a sweep that goes on, more may be asked for. A grid has those it has."""
    sampler_seed: int = setting(0, ge=0, le=2**32 - 1)
    """What a sampler draws by: with one trial at a time, the same seed draws the same points."""
    warm_start: list[str] = setting([])
    """Earlier sweeps, by name or folder, whose points the sampler knows before it draws; tpe, gp and cmaes learn."""
    pruner: str = setting("off", choices=("off", "median", "halving", "hyperband"))
    """Ends trials that fall behind by the objective, epoch by epoch: Optuna's pruner of that name; off: none is."""
    min_epochs: int = setting(1, ge=1)
    """So many epochs each trial is given before the pruner ends it."""
    on_error: str = setting("continue", choices=("continue", "stop"))
    """What a failed trial means for those that wait: continue, they start; stop, they don't."""
    retries: int = setting(0, ge=0)
    """How often a trial that failed is tried again, after all others."""
    max_failures: int | None = setting(None, ge=1)
    """After so many failed trials no other starts; null: however many fail."""

    def __post_init__(self) -> None:
        """Takes YAML's unquoted off, which arrives as a truth value, for what it was meant to be."""
        self.objective = "off" if str(self.objective) == "False" else self.objective
        self.pruner = "off" if str(self.pruner) == "False" else self.pruner
