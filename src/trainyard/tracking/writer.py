"""A writer that opens one run in a store, and performs operations on it one after the other, until the store fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Concatenate, TypeVar

from trainyard.errors import TrackingError, TrainyardError
from trainyard.tracking import names
from trainyard.tracking.mlflow_internals import clear_end_time
from trainyard.tracking.operations import (
    OpenRun,
    end,
    log_model,
    remove_partial_models,
    set_tags,
    truncate_tags,
)
from trainyard.tracking.tracking_store import NO_LOGGED_MODELS, TrackingStore

if TYPE_CHECKING:
    from mlflow.entities import Run

Operation = Callable[Concatenate[OpenRun, ...], None]
"""A function that changes an open run, such as those in `operations`."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a run is created with: its name and first tags, and its experiment, which is created with `notes`.

    `model_label` describes the architecture of the model that the run logs; None logs no model. With `reopens`, the run
    with the same key, the tag `trainyard.key`, is reopened instead, if the experiment contains one. `parent_run_id` is
    `tracking.parent`, which must exist. `varied` has the dotted paths of settings that become columns of the
    experiment's view.
    """

    experiment: str
    notes: str
    name: str
    tags: Mapping[str, str]
    model_label: str | None = None
    reopens: bool = False
    parent_run_id: str | None = None
    varied: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WriterStatus:
    """MLflow's ids of the run and its experiment, None before the run is created, and the store's first failure.

    `run_name` is the name of the run, which is unique in its experiment; None before the run is created. `notices` are
    messages about the store for the user.
    """

    run_id: str | None = None
    experiment_id: str | None = None
    failure: TrainyardError | None = None
    notices: tuple[str, ...] = ()
    run_name: str | None = None


class StoreWriter:
    """Writes immediately, in this process. `ProcessWriter` has the same methods."""

    is_lost = False

    def __init__(self, store: TrackingStore | None = None, status: WriterStatus | None = None) -> None:
        """Creates a writer without a run, or for the run of another writer that was lost, with its status.

        If that writer has not created a run, all operations are skipped without an error.
        """
        self.is_ended = self._repeats = False
        self._run: OpenRun | None = None
        self.continue_run(store, status or WriterStatus())
        self._repeats = False

    def continue_run(self, store: TrackingStore | None, status: WriterStatus, is_ended: bool = False) -> None:
        """Continues the run of a writer that died, if it was created. Operations may then be repeated."""
        self.status, self.is_ended, self._repeats = status, is_ended, True
        if store and status.run_id and status.experiment_id:
            self._run = OpenRun(store, status.experiment_id, status.run_id, status.run_name or "")

    def create(self, store: TrackingStore, request: RunRequest) -> None:
        """Creates or reopens the run with status RUNNING; also creates the store and the experiment if necessary.

        A failure is stored in `status.failure`.
        """
        tags = truncate_tags(request.tags)
        try:
            experiment_id = store.open_experiment(request.experiment, request.notes)
            with store.translate_errors():
                if request.parent_run_id:
                    store.load_run(request.parent_run_id)  # raises an error if there is no such run
                may_exist = request.reopens or self._repeats
                entity = _reopen_run(store, experiment_id, tags) if may_exist else None
                info = (entity or store.create_run(experiment_id, request.name, tags)).info
                if request.model_label and not store.has_logged_models:
                    store.notices.append(NO_LOGGED_MODELS)
        except TrainyardError as error:  # a ConfigError if the database has the schema of another version of MLflow
            self.status = WriterStatus(failure=error)
            return
        self._run = OpenRun(store, experiment_id, info.run_id, info.run_name)
        self.status = WriterStatus(info.run_id, experiment_id, notices=tuple(store.notices), run_name=info.run_name)

    def perform(
        self,
        operation: Operation,
        *arguments: Any,  # noqa: ANN401
        even_after_failure: bool = False,
        **options: Any,  # noqa: ANN401
    ) -> None:
        """Performs an operation on the run. The first failure is stored in `status.failure`.

        After a failure, later operations are skipped, except with `even_after_failure`.
        """
        self.is_ended |= operation is end
        if self._run is None or (self.status.failure and not even_after_failure):
            return
        try:
            with self._run.store.translate_errors():
                if self._repeats and operation is log_model and remove_partial_models(self._run):
                    return  # the model was logged before
                operation(self._run, *arguments, **options)
        except TrackingError as error:
            self.status = replace(self.status, failure=self.status.failure or error)

    def query(self, run_query: Callable[[OpenRun], T]) -> T:
        """Returns the result, of picklable types, of a function that reads, even if the store has failed before.

        Raises a TrackingError if the store fails or no run was created. This failure is not stored in `status`.
        """
        if self._run is None:
            raise self.status.failure or TrackingError("the query requires a run, but none was created")
        with self._run.store.translate_errors():
            return run_query(self._run)

    def flush(self) -> WriterStatus:
        """Returns `status`, as all operations have been performed."""
        return self.status

    def close(self, *, wait: bool = True) -> None:
        """Does nothing, because this writer has no resources."""


def _reopen_run(store: TrackingStore, experiment_id: str, tags: Mapping[str, str]) -> Run | None:
    """Sets the run with the key in the tags to RUNNING again, with these tags, without end time and error.

    Returns the run; None if the experiment does not contain it.
    """
    earlier = store.find_run_by_key(tags[names.RUN_KEY], [experiment_id])
    if earlier is None:
        return None
    run = OpenRun(store, experiment_id, earlier.info.run_id, earlier.info.run_name)
    set_tags(run, tags)
    if names.ERROR in earlier.data.tags:
        run.client.delete_tag(run.run_id, names.ERROR)
    run.client.update_run(run.run_id, status="RUNNING")
    clear_end_time(run.client, run.run_id)
    return earlier
