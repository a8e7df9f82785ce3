"""Every name that Trainyard logs to MLflow: tags, params, metrics and artifacts, with their meaning.

Packages from `tracking` upwards use the constants. Packages below (`system`, `training`, `evaluation`) produce some of
the names themselves. Tests compare the tables with what a real run and a real sweep log, and with ``docs/logged.md``.
A part in angle brackets varies: ``f1_by_class/<class>``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Tags of MLflow
RUN_NAME = "mlflow.runName"
PARENT_RUN_ID = "mlflow.parentRunId"
NOTE = "mlflow.note.content"
USER = "mlflow.user"
SOURCE_NAME = "mlflow.source.name"
SOURCE_TYPE = "mlflow.source.type"
GIT_COMMIT = "mlflow.source.git.commit"
GIT_BRANCH = "mlflow.source.git.branch"
LOGGED_TABLES = "mlflow.loggedArtifacts"
EXPERIMENT_KIND = "mlflow.experimentKind"
SHARED_VIEW = "mlflow.sharedViewState"

# Tags of Trainyard
ROLE = "trainyard.role"
TRIAL_NUMBER = "trainyard.trial"
FOLDER = "trainyard.folder"
RUN_KEY = "trainyard.key"
VERSION = "trainyard.version"
GIT_DIRTY = "git.dirty"
COMMAND = "command"
HOST = "host"
PID = "pid"
STARTED = "started"
CONFIG_HASH = "config_hash"
DATASET_DIGEST = "dataset_digest"
INITIAL_WEIGHTS_DIGEST = "initial_weights_digest"
WEIGHTS_DIGEST = "weights_digest"
ENGINE = "engine"
XLA = "xla"
SEED = "seed"
DRAWN_SEED = "drawn_seed"
THREADS = "threads"
DETERMINISM = "determinism"
RESUMED_FROM = "resumed_from"
STARTED_FROM = "started_from"
RESTORED_EPOCH = "restored_epoch"
BEST_EPOCH = "best_epoch"
RERUN_OF = "rerun_of"
SWEEP_ID = "sweep_id"
BEST_RUN_ID = "best_run_id"
PRUNED = "pruned"
ERROR = "error"

# Metrics of a sweep's parent run
TRIALS_FINISHED = "trials/finished"
TRIALS_FAILED = "trials/failed"
TRIALS_PRUNED = "trials/pruned"
BEST_PREFIX = "best/"

# Artifacts
CONFIG_FILE = "config.yaml"
PER_CLASS_TABLE = "evaluation/per_class.json"
ERROR_FILE = "error.txt"
SWEEP_FOLDER = "sweep"


@dataclass(frozen=True, slots=True)
class LoggedName:
    """One logged name, or a pattern with parts in angle brackets.

    `logged` is when the value is logged, and `unit` its unit or range (empty for text). `sweep` and `run` are whether
    the parent run of a sweep has the name, and whether runs and trials have it.
    """

    name: str
    meaning: str
    logged: str
    unit: str = ""
    sweep: bool = False
    run: bool = True


_START, _DATA, _BUILT, _END = "at the start", "after the data is loaded", "after the model is built", "at the end"
_EPOCH, _FAILURE = "after each epoch", "on failure"

TAGS: Sequence[LoggedName] = (
    LoggedName(ROLE, "`run`, `sweep` (a sweep's parent run) or `trial`", _START, sweep=True),
    LoggedName(VERSION, "version of Trainyard", _START, sweep=True),
    LoggedName(CONFIG_HASH, "SHA-256 of the config without its seed; equal for repetitions of an experiment", _START),
    LoggedName(SEED, "the seed in the config", _START),
    LoggedName(DRAWN_SEED, "the seed that was drawn, with `training.determinism=off`", _START),
    LoggedName(DETERMINISM, "`training.determinism`", _START),
    LoggedName(THREADS, "number of TensorFlow threads", _START),
    LoggedName(COMMAND, "the command line, with credentials masked", _START, sweep=True),
    LoggedName(HOST, "name of the machine", _START, sweep=True),
    LoggedName(PID, "process ID", _START, sweep=True),
    LoggedName(STARTED, "start of the process, ISO 8601 with time zone", _START, sweep=True),
    LoggedName(FOLDER, "the run's folder, an absolute path", _START),
    LoggedName(RUN_KEY, "a random key that identifies the run after a lost connection", _START),
    LoggedName(RESUMED_FROM, "the run or folder in `resume`", _START),
    LoggedName(STARTED_FROM, "the file, run or folder in `training.start_from`", _START),
    LoggedName(RERUN_OF, "the run that `trainyard rerun` repeats", _START),
    LoggedName(SWEEP_ID, "name of the sweep", _START, sweep=True),
    LoggedName(TRIAL_NUMBER, "number of the trial in the sweep's plan, from 1", _START),
    LoggedName(DATASET_DIGEST, "SHA-256 of all images and labels", _END),
    LoggedName(INITIAL_WEIGHTS_DIGEST, "SHA-256 of the weights before training", _BUILT),
    LoggedName(WEIGHTS_DIGEST, "SHA-256 of the weights after training", _END),
    LoggedName(ENGINE, "`compiled` or `fit`, and the reason", _END),
    LoggedName(XLA, "`on` or `off`, and the reason", _END),
    LoggedName(BEST_EPOCH, "the epoch of `best.keras` and its metric, with `training.keep_best`", _END),
    LoggedName(RESTORED_EPOCH, "the epoch whose weights early stopping restored", _END),
    LoggedName(PRUNED, "why the pruner stopped the trial", "when the trial is pruned"),
    LoggedName(BEST_RUN_ID, "run ID of the best trial", _END, sweep=True, run=False),
    LoggedName(ERROR, "type and message of the exception", _FAILURE, sweep=True),
    LoggedName(GIT_DIRTY, "whether the checkout has uncommitted changes", _START, sweep=True),
    LoggedName(GIT_COMMIT, "commit of the checkout in the working directory", _START, sweep=True),
    LoggedName(GIT_BRANCH, "branch of that checkout", _START, sweep=True),
    LoggedName(RUN_NAME, "name of the run", _START, sweep=True),
    LoggedName(USER, "user name", _START, sweep=True),
    LoggedName(SOURCE_NAME, "`trainyard`", _START, sweep=True),
    LoggedName(SOURCE_TYPE, "`LOCAL`", _START, sweep=True),
    LoggedName(PARENT_RUN_ID, "run ID of the sweep's parent run", _START),
    LoggedName(NOTE, "description in Markdown: `notes`, and at the end the result", "at the start and end", sweep=True),
    LoggedName(LOGGED_TABLES, "tables that MLflow's artifact viewer shows", _END, sweep=True),
)

PARAMS: Sequence[LoggedName] = (
    LoggedName("<field>", "every field of the resolved config by its dotted path, except `notes`", _START),
    LoggedName("model.layers", "number of layers with a kernel", _BUILT, "count"),
    LoggedName("model.parameters", "number of parameters of the model", _BUILT, "count"),
    LoggedName("sweep.name", "name of the sweep", _START, sweep=True, run=False),
    LoggedName("sweep.objective", "the metric by which trials are compared, or `off`", _START, sweep=True, run=False),
    LoggedName("sweep.trials", "number of planned trials", _START, "count", sweep=True, run=False),
    LoggedName("sweep.points", "number of planned points; trials are points times seeds", _START, "count", True, False),
    LoggedName("sweep.sampler", "the sampler, in a sweep that draws its points", _START, sweep=True, run=False),
    LoggedName("sweep.sampler_seed", "the sampler's seed", _START, sweep=True, run=False),
    LoggedName("sweep.params.<field>", "the values or the interval of a swept field", _START, sweep=True, run=False),
)

METRICS: Sequence[LoggedName] = (
    LoggedName("loss/train", "mean training loss of the epoch", _EPOCH, "nats for cross-entropy"),
    LoggedName("accuracy/train", "training accuracy of the epoch", _EPOCH, "0..1"),
    LoggedName("loss/val", "validation loss after the epoch", _EPOCH, "nats for cross-entropy"),
    LoggedName("accuracy/val", "validation accuracy after the epoch", _EPOCH, "0..1"),
    LoggedName("learning_rate/value", "learning rate of the epoch's last step", _EPOCH, "> 0"),
    LoggedName("time/epoch_seconds", "duration of the epoch", _EPOCH, "s"),
    LoggedName("loss/test", "test loss", _END, "nats for cross-entropy"),
    LoggedName("accuracy/test", "test accuracy", _END, "0..1"),
    LoggedName("f1_macro/test", "mean F1 score over the classes", _END, "0..1"),
    LoggedName("precision_macro/test", "mean precision over the classes", _END, "0..1"),
    LoggedName("recall_macro/test", "mean recall over the classes", _END, "0..1"),
    LoggedName("ece/test", "expected calibration error", _END, "0..1"),
    LoggedName("roc_auc/test", "area under the ROC curve, one-vs-rest, mean over the classes", _END, "0..1"),
    LoggedName("accuracy_top<k>/test", "share of test images whose label is among the k most probable", _END, "0..1"),
    LoggedName("<metric>/test", "a metric of `evaluation.metrics`", _END),
    LoggedName("f1_by_class/<class>", "F1 score of a class", _END, "0..1"),
    LoggedName("precision_by_class/<class>", "precision of a class", _END, "0..1"),
    LoggedName("recall_by_class/<class>", "recall of a class", _END, "0..1"),
    LoggedName("time/start_seconds", "import and start-up of TensorFlow", _END, "s"),
    LoggedName("time/load_seconds", "loading the data", _END, "s"),
    LoggedName("time/build_seconds", "building the model", _END, "s"),
    LoggedName("time/compile_seconds", "compiling the training program", _END, "s"),
    LoggedName("time/train_seconds", "training, without compilation", _END, "s"),
    LoggedName("time/evaluate_seconds", "evaluation on the test set", _END, "s"),
    LoggedName("time/log_seconds", "writing and logging the artifacts", _END, "s"),
    LoggedName("time/total_seconds", "the whole run", _END, "s"),
    LoggedName("best/<objective>", "best value among the finished trials", "when a trial ends", sweep=True, run=False),
    LoggedName(TRIALS_FINISHED, "number of finished trials", "when a trial ends", "count", sweep=True, run=False),
    LoggedName(TRIALS_FAILED, "number of failed trials", "when a trial ends", "count", sweep=True, run=False),
    LoggedName(TRIALS_PRUNED, "number of pruned trials", "when a trial is pruned", "count", sweep=True, run=False),
)

ARTIFACTS: Sequence[LoggedName] = (
    LoggedName(CONFIG_FILE, "the resolved config; composes to an equal config", _START),
    LoggedName("environment/overrides.yaml", "the overrides of the command line", _START),
    LoggedName("environment/versions.txt", "versions of all installed packages", _START),
    LoggedName("environment/machine.json", "processor, memory, GPUs, platform, threads", _START),
    LoggedName("environment/git.diff", "uncommitted changes of the checkout, if there are any", _START),
    LoggedName("model_summary.txt", "Keras's `model.summary()`", _BUILT),
    LoggedName("model.keras", "the trained model, for Keras", _END),
    LoggedName("model.h5", "the trained model in HDF5, for older tools", _END),
    LoggedName("best.keras", "the model of the best epoch, with `training.keep_best`", _END),
    LoggedName("preprocessing.json", "image shape, scaling, class names and typical background", _END),
    LoggedName("checksums.txt", "SHA-256 of the model files", _END),
    LoggedName("classification_report.txt", "scikit-learn's classification report", _END),
    LoggedName("report.html", "the run on one self-contained page", _END),
    LoggedName("learning_curves.png", "loss and accuracy by epoch", _END),
    LoggedName("confusion_matrix.png", "the confusion matrix", _END),
    LoggedName("predictions.png", "the first test images with predicted and actual class", _END),
    LoggedName("evaluation/metrics.json", "all test metrics, by name", _END),
    LoggedName(PER_CLASS_TABLE, "F1, precision, recall and support of each class, as a table", _END),
    LoggedName("evaluation/confusion_matrix.json", "the confusion matrix as numbers", _END),
    LoggedName("evaluation/first_predictions.json", "predictions of the first test images", _END),
    LoggedName("evaluation/test_predictions.npz", "predicted class and its probability for each test image", _END),
    LoggedName("evaluation/mistakes.png", "the most confident mistakes", _END),
    LoggedName("evaluation/calibration.png", "reliability diagram", _END),
    LoggedName("profile/<file>", "the profile of the training steps, with `debug=profile`", _END),
    LoggedName(ERROR_FILE, "the traceback", _FAILURE),
    LoggedName("sweep/plan.json", "the trials and their values", _END, sweep=True, run=False),
    LoggedName("sweep/leaderboard.json", "the ranking, as a table", _END, sweep=True, run=False),
    LoggedName("sweep/card.html", "the sweep on one self-contained page", _END, sweep=True, run=False),
    LoggedName("sweep/winner.yaml", "the best point as a recipe", _END, sweep=True, run=False),
    LoggedName("sweep/<figure>.png", "figures of the sweep card", _END, sweep=True, run=False),
)

EXPERIMENT_TAGS: Sequence[LoggedName] = (
    LoggedName(NOTE, "description of the experiment", "with its first run", sweep=True),
    LoggedName(EXPERIMENT_KIND, "makes MLflow open the view for model training", "with its first run", sweep=True),
    LoggedName(
        f"{SHARED_VIEW}.<view>",
        "saved columns, order and charts of MLflow's run table",
        "with the first run, and with each sweep",
        sweep=True,
    ),
)
