"""The names of tags, metrics and artifacts that packages from `tracking` upwards log to MLflow, and read.

``docs/logged.md`` lists them with their meaning, and all other names that are logged. A test compares that page with
these constants, and with what a real run and a real sweep log.
"""

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
WARNINGS_FILE = "warnings.txt"
REPORT_FILE = "report.html"
SWEEP_FOLDER = "sweep"
