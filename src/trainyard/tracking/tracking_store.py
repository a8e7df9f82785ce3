"""A tracking store: MLflow's database or server, with its runs, experiments and registered models."""

from __future__ import annotations

import contextlib
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from trainyard.config import TrackingConfig, format_suggestion
from trainyard.errors import ConfigError, TrackingError
from trainyard.system import (
    MIGRATE_FILES,
    find_uri_problem,
    gc_paused,
    get_sqlite_path,
    is_database_uri,
    make_uri_absolute,
    redact_credentials,
)
from trainyard.tracking import names
from trainyard.tracking.artifact_location import build_location, find_distant_artifacts
from trainyard.tracking.connection import check_reachable, connect, iterate_pages, lock_store, tracking_errors
from trainyard.tracking.failures import is_missing_endpoint, is_transient_failure
from trainyard.tracking.operations import MAX_TAG_LENGTH, MODEL_FOLDER
from trainyard.tracking.retrying_client import RETRY_SECONDS, RetryingClient
from trainyard.tracking.run_record import RunRecord, build_run_record
from trainyard.tracking.schema import check_schema
from trainyard.tracking.stores import ARTIFACTS, URI_VARIABLE, LocalStore
from trainyard.tracking.ui_views import build_experiment_tags

if TYPE_CHECKING:
    from mlflow.entities import Run

_LATEST_RUNS = 20
PROCESS_DIED = "the process ended without an error report, for example by SIGKILL or because memory ran out"
"""The tag `error` of a RUNNING run whose process no longer exists."""

NO_LOGGED_MODELS = (
    "the tracking server has no logged models (it is older than MLflow 3, or another service): the servable model is "
    "logged as artifacts of the run, below model/"
)


@dataclass(frozen=True, slots=True)
class StoredModel:
    """The servable model of a run: a logged model, or plain artifacts of the run in stores without logged models.

    Attributes:
        location: The URI of the folder of the model.
        uri: The URI that MLflow's loaders accept, ``models:/ID`` or ``runs:/ID/model``.
        model_id: MLflow's id of the logged model; None for plain artifacts.
    """

    location: str
    uri: str
    model_id: str | None = None


@dataclass(frozen=True)
class TrackingStore:
    """An MLflow tracking store, with its absolute URI. It is connected on the first use, and can be pickled.

    Requests are made with `client`, in a block of `translate_errors`. All methods except `find_run` and
    `iterate_runs` contain one: they raise a TrackingError if the store can't be reached.
    """

    uri: str
    """The absolute MLflow tracking URI. It may contain credentials."""
    retry_seconds: float = field(default=RETRY_SECONDS, compare=False)
    """Time for which requests are repeated after a failure; see `RetryingClient`."""
    notices: list[str] = field(default_factory=list, compare=False, repr=False)
    """What the user should know about the store, for example that its schema was upgraded."""

    def __reduce__(self) -> tuple[type[TrackingStore], tuple[str, float]]:
        return TrackingStore, (self.uri, self.retry_seconds)  # without the client

    @classmethod
    def default(cls) -> TrackingStore:
        """Returns the default store of the working directory; a ConfigError reports an invalid MLFLOW_TRACKING_URI."""
        return cls(LocalStore().resolve_uri(os.environ, Path.cwd()))

    @classmethod
    def from_config(cls, config: TrackingConfig) -> TrackingStore | None:
        """Returns the store of a config; None if tracking is off. For errors, see `TrackingConfig.resolve_uri`."""
        uri = config.resolve_uri(os.environ, Path.cwd())
        return None if uri is None else cls(uri, config.retry_seconds)

    @classmethod
    def from_option(cls, uri: str | None, option: str = "--uri") -> TrackingStore:
        """Returns the store that a command line option names, else the default store. Raises a ConfigError."""
        if uri is None:
            return cls.default()
        if problem := find_uri_problem(uri):
            raise ConfigError(f"{option}: {problem}")
        return cls(make_uri_absolute(uri, Path.cwd()))

    @property
    def name(self) -> str:
        """The URI without credentials."""
        return redact_credentials(self.uri)

    @property
    def sqlite_file(self) -> Path | None:
        """The file of a SQLite store; None for servers and other databases."""
        return get_sqlite_path(self.uri)

    @property
    def is_server(self) -> bool:
        """Whether the store is a tracking server or the service of an MLflow plugin, and not a database."""
        return not is_database_uri(self.uri)

    @property
    def artifact_folder(self) -> Path:
        """The artifact folder of a database: next to the SQLite file, or in the working directory."""
        return (self.sqlite_file.parent if self.sqlite_file else Path.cwd()) / ARTIFACTS

    @cached_property
    def client(self) -> RetryingClient:
        """MLflow's client of the store. It never creates a SQLite file or upgrades a schema, unlike `lock`.

        Raises:
            ConfigError: If another version of MLflow wrote the database.
        """
        if self.sqlite_file and not self.sqlite_file.exists():
            raise TrackingError(
                f"{self.sqlite_file}: there are no runs here yet. Change to the folder with your runs, or specify "
                "their store (tracking.uri, or --uri of a command)"
            )
        if not self.is_server:
            check_schema(self.uri)
        return connect(self.uri, self.retry_seconds)

    @cached_property
    def has_logged_models(self) -> bool:
        """Whether the store has logged models, which servers of MLflow 2 and some services lack. Sends one request."""
        if not self.is_server:
            return True
        try:
            self.client.search_logged_models(["0"], max_results=1)
        except Exception as error:
            if is_missing_endpoint(error):
                return False
            if is_transient_failure(error):
                raise
        return True

    def find_file_store(self) -> str | None:
        """Returns a message if the SQLite file does not exist yet, but other programs log to ``mlruns`` next to it."""
        file = self.sqlite_file
        if not file or file.exists() or not any(file.parent.glob("mlruns/*/meta.yaml")):
            return None
        return (
            f"{file.parent / 'mlruns'} contains runs of other programs; runs of Trainyard are logged to {file}. To "
            f"have all runs in one place, first run {MIGRATE_FILES}, and set {URI_VARIABLE}={self.uri} for the other "
            "programs"
        )

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Locks the store for the block, after creating a SQLite file that does not exist or upgrading its schema."""
        file_store = self.find_file_store()
        with lock_store(self.uri) as upgrade:
            self.notices.extend(filter(None, (file_store, upgrade)))
            yield

    def is_reachable(self) -> bool:
        """Returns, within some seconds, whether the server or the database of the store answers."""
        try:
            with self.translate_errors():
                check_reachable(self.uri)
        except TrackingError:
            return False
        return True

    def translate_errors(self) -> AbstractContextManager[None]:
        """Converts exceptions of MLflow and database drivers in the block to a TrackingError without passwords."""
        return tracking_errors(self.uri)

    def open_experiment(self, name: str, notes: str) -> str:
        """Returns the id of an experiment; creates the store, and the experiment with `notes`, if they do not exist.

        Raises a TrackingError if the experiment was deleted.
        """
        with self.lock():
            experiment = self.client.get_experiment_by_name(name)
            if experiment is None:
                location = None if self.is_server else build_location(self.artifact_folder / name)
                tags = build_experiment_tags(name, notes)
                find = partial(self.client.get_experiment_by_name, name)
                created = self.client.create_once("create_experiment", find, name, location, tags)
                return str(getattr(created, "experiment_id", created))
        notice = self.sqlite_file and find_distant_artifacts(name, experiment.artifact_location, self.sqlite_file)
        if notice and notice not in self.notices:
            self.notices.append(notice)
        if experiment.lifecycle_stage != "active":
            raise TrackingError(
                f"{self.name}: the experiment {name!r} has been deleted in this store. Restore it (mlflow experiments "
                f"restore --experiment-id {experiment.experiment_id}), or set tracking.experiment"
            )
        return str(experiment.experiment_id)

    def create_run(self, experiment_id: str, name: str, tags: Mapping[str, str], started: int | None = None) -> Run:
        """Creates a run that starts at a time in milliseconds since 1970, or now, and returns MLflow's `Run` entity.

        If the experiment has a run with this name, a number is appended to the name: ``64 relu seed3 #2``. Names of
        runs that are created at the same time can be equal. The run is created once, even if the request must be
        repeated, if its tags contain a key.
        """
        key = tags.get(names.RUN_KEY)

        def find() -> Run | None:
            return self.find_run_by_key(key, [experiment_id]) if key else None

        unique = self._make_unique(name, experiment_id)
        return self.client.create_once("create_run", find, experiment_id, started, dict(tags), unique)

    def _make_unique(self, name: str, experiment_id: str) -> str:
        """Returns a name that no run of the experiment has: the given one, or with a number from 2 appended."""
        latest = self._find_run_names(f"= '{name}'", experiment_id) if "'" not in name else []
        if name not in latest:
            return name
        numbered = re.compile(re.escape(name) + r" #(\d+)")
        matches = map(numbered.fullmatch, self._find_run_names(f"LIKE '{name} #%'", experiment_id))
        number = max((int(match[1]) for match in matches if match), default=1)
        return f"{name} #{number + 1}"

    def _find_run_names(self, condition: str, experiment_id: str) -> list[str]:
        """Returns the names that meet a condition, of the latest runs of an experiment."""
        runs = self.client.search_runs(
            [experiment_id],
            f"attributes.run_name {condition}",
            order_by=["attributes.start_time DESC"],
            max_results=_LATEST_RUNS,
        )
        return [run.info.run_name for run in runs]

    def find_run_by_key(self, key: str, experiment_ids: Sequence[str] | None = None) -> Run | None:
        """Returns the run with a key; None if there is none. Searches all experiments, which may have been renamed."""
        return next(self.iterate_runs(f"tags.`{names.RUN_KEY}` = '{key}'", experiment_ids), None)

    def find_run(self, run_id: str) -> Run | None:
        """Returns MLflow's `Run` entity; None if the store does not contain it."""
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    def load_run(self, run_id: str) -> RunRecord:
        """Loads a run. Raises a TrackingError if the store does not contain it."""
        with self.translate_errors():
            run = self.find_run(run_id)
            if run is None:
                raise TrackingError(
                    f"{self.name} has no run {run_id!r}. Copy the id from the MLflow UI or from the output of the run, "
                    "or specify another store (tracking.uri, or --uri of a command)"
                )
            return build_run_record(run, self.client.get_experiment(run.info.experiment_id).name, self)

    def search_runs(self, experiment: str | None, filter_string: str) -> list[RunRecord]:
        """Returns the runs that match a filter in MLflow's search syntax and were not deleted, latest first.

        `experiment` is the name of an experiment; None searches all experiments. An empty filter selects all runs.
        Raises a ConfigError if there is no such experiment, or the filter is invalid.
        """
        from mlflow.exceptions import MlflowException

        with self.translate_errors():
            experiments = self._load_experiment_names(experiment)
            try:
                with gc_paused():  # MLflow creates hundreds of objects per run, which slows the collector down
                    runs = self.iterate_runs(filter_string, list(experiments), order_by=["attributes.start_time DESC"])
                    return [build_run_record(run, experiments[run.info.experiment_id], self) for run in runs]
            except MlflowException as error:
                if error.error_code != "INVALID_PARAMETER_VALUE":
                    raise
                raise ConfigError(
                    "--filter: expected an MLflow filter string, such as 'params.`optimizer.name` = \"adam\"', "
                    f"got {filter_string!r}: {error.message}"
                ) from error

    def find_experiment_id(self, name: str | None) -> str | None:
        """Returns MLflow's id of an experiment, without a name that of the latest run; None if there are no runs."""
        with self.translate_errors():
            ids = list(self._load_experiment_names(name))
            if name is not None:
                return ids[0]
            runs = self.client.search_runs(ids, order_by=["attributes.start_time DESC"], max_results=1)
            return str(runs[0].info.experiment_id) if runs else None

    def iterate_runs(
        self, filter_string: str, experiment_ids: Sequence[str] | None = None, order_by: Sequence[str] = ()
    ) -> Iterator[Run]:
        """Yields MLflow's `Run` entities that match a filter, page by page. None searches all experiments."""
        ids = list(self._load_experiment_names()) if experiment_ids is None else experiment_ids
        if ids:  # else there is no experiment that this user may read
            yield from iterate_pages(self.client.search_runs, ids, filter_string, order_by=list(order_by))

    def find_sibling_accuracies(self, run: RunRecord, excluded_run_id: str | None = None) -> dict[str, float]:
        """Returns the test accuracy, by seed, of finished runs with the same config as a run but another seed."""
        config_hash, seed = run.tags.get(names.CONFIG_HASH, ""), run.tags[names.SEED]
        others = self.search_runs(None, f"tags.config_hash = '{config_hash}' and attributes.status = 'FINISHED'")
        return {
            other.tags[names.SEED]: other.metrics["accuracy/test"]
            for other in others
            if other.experiment == run.experiment
            and other.run_id != excluded_run_id
            and "accuracy/test" in other.metrics
            and other.tags.get(names.SEED, seed) != seed
        }

    def load_metric_history(self, run_id: str, metric_names: Sequence[str]) -> dict[int, dict[str, float]]:
        """Loads the values of metrics of a run by step, first to last; a metric may be missing in a step."""
        steps: dict[int, dict[str, float]] = defaultdict(dict)
        with self.translate_errors():
            for name in metric_names:
                for metric in self.client.get_metric_history(run_id, name):
                    steps[metric.step][name] = metric.value
        return dict(sorted(steps.items()))

    def download_files(self, run_id: str, paths: Sequence[str], folder: Path) -> None:
        """Downloads files and folders of a run's artifacts to a folder. Raises a TrackingError if one is missing."""
        with self.translate_errors():
            location = self.client.get_run(run_id).info.artifact_uri
            existing = self._list_files(location)
            if missing := [path for path in paths if path not in existing]:
                raise TrackingError(f"the run {run_id} in the tracking store {self.name} has no artifact {missing[0]}")
            for path in paths:
                self._download(f"{location}/{path}", folder)

    def mark_killed(self, run_id: str, reason: str = PROCESS_DIED) -> None:
        """Closes a run whose process no longer exists, as KILLED, with the reason in the tag `error`."""
        with self.translate_errors():
            self.client.set_tag(run_id, names.ERROR, reason[:MAX_TAG_LENGTH])
            self.client.set_terminated(run_id, "KILLED")

    def find_model(self, run_id: str) -> StoredModel | None:
        """Returns the model that a run logged, or None if there is no complete one."""
        with self.translate_errors():
            info = self.client.get_run(run_id).info
            if self.has_logged_models:
                models = self.client.search_logged_models([info.experiment_id], f"source_run_id = '{run_id}'")
                if ready := [model for model in models if model.status.name == "READY"]:
                    return StoredModel(ready[0].artifact_location, f"models:/{ready[0].model_id}", ready[0].model_id)
            location = f"{info.artifact_uri}/{MODEL_FOLDER}"
            if "MLmodel" in self._list_files(location):
                return StoredModel(location, f"runs:/{run_id}/{MODEL_FOLDER}")
            return None

    def download_model(self, model: StoredModel, folder: Path) -> Path:
        """Downloads the Keras file of a model into a folder, and returns the path of the file."""
        with self.translate_errors():
            return self._download(f"{model.location}/data/model.keras", folder)

    def _list_files(self, location: str) -> set[str]:
        """Returns the names of the files and folders in a folder of artifacts, which may not exist.

        The functions of `MlflowClient` for the artifacts of a run fail if the store has no logged models.
        """
        from mlflow.artifacts import list_artifacts

        found = self.client.call(list_artifacts, artifact_uri=location, tracking_uri=self.uri)
        return {PurePosixPath(file.path).name for file in found}

    def _download(self, location: str, folder: Path) -> Path:
        """Downloads a file or a folder of artifacts into a folder, and returns its path."""
        from mlflow.artifacts import download_artifacts

        download = self.client.call(
            download_artifacts, artifact_uri=location, dst_path=str(folder), tracking_uri=self.uri
        )
        return Path(download)

    def _load_experiment_names(self, name: str | None = None) -> dict[str, str]:
        """Returns the names of all experiments by id, or of one. Raises a ConfigError if it does not exist."""
        experiments = {entity.experiment_id: entity.name for entity in iterate_pages(self.client.search_experiments)}
        if name is None:
            return experiments
        if found := {key: found_name for key, found_name in experiments.items() if found_name == name}:
            return found
        available = sorted(experiments.values())
        raise ConfigError(
            f"--experiment: {self.name} has no experiment {name!r}."
            f"{format_suggestion(name, available)} Available: {', '.join(available)}"
        )
