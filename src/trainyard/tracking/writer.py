"""Who writes to the store: opens one run, and does one operation after the other on it until the store fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Concatenate, Protocol, TypeVar

from trainyard.errors import TrackingError
from trainyard.tracking.connection import connect, open_store, tracking_errors
from trainyard.tracking.operations import OpenRun, cut_tags
from trainyard.tracking.runs import reopen_run

Operation = Callable[Concatenate[OpenRun, ...], None]
"""A function of `operations`, or another that does something with a run."""

T = TypeVar("T")
Question = Callable[Concatenate[OpenRun, ...], T]
"""A function that tells something about a run, as plain data."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a run is created with.

    Attributes:
        uri: The tracking URI.
        experiment: The name of its experiment.
        notes: What the experiment is about, used when it is created.
        name: The run's name.
        tags: Its first tags.
        earlier_run_id: A run of the experiment that is reopened instead, if it is there and was not deleted.
        logs_model: Whether a model will be logged to it, for which much is imported ahead.
    """

    uri: str
    experiment: str
    notes: str
    name: str
    tags: Mapping[str, str]
    earlier_run_id: str | None = None
    logs_model: bool = True


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a writer is.

    Attributes:
        run_id: MLflow's id of the run, once it is created.
        experiment_id: MLflow's id of its experiment.
        failure: The first failure of the store, if there was one.
        reopened: Whether the run is the earlier one that was asked for, not a new one.
    """

    run_id: str | None = None
    experiment_id: str | None = None
    failure: TrackingError | None = None
    reopened: bool = False


class Writer(Protocol):
    """Writes to one run, at once or later, always in order."""

    @property
    def standing(self) -> Standing:
        """What is known by now."""

    @property
    def lost(self) -> bool:
        """Whether this writer can do no more, so that another has to."""

    def create(self, request: RunRequest) -> None:
        """Creates the run, in its experiment, in the store, or reopens it. Comes first."""

    def perform(self, operation: Operation, *arguments: Any, although_failed: bool = False) -> None:  # noqa: ANN401
        """Does something with the run, unless the store failed before; with `although_failed`, tries in any case."""

    def query(self, question: Question[T], *arguments: Any) -> T:  # noqa: ANN401
        """Returns what a question is answered with when all before it is done; asked although the store failed before.

        Raises:
            TrackingError: If the store fails now. That is no part of the standing.
        """

    def settle(self) -> Standing:
        """Returns how things stand when all that was asked for is done."""

    def close(self, *, wait: bool = True) -> None:
        """Lets go of what the writer holds, when or before it has done everything. Comes last."""


class StoreWriter:
    """Writes at once, in this process."""

    lost = False

    def __init__(self) -> None:
        self.standing = Standing()
        self._run: OpenRun | None = None
        self._uri = ""

    def take_over(self, uri: str, standing: Standing) -> None:
        """Goes on with a run that another writer created and can't go on with."""
        self.standing, self._uri = standing, uri
        if standing.run_id and standing.experiment_id:
            with contextlib.suppress(TrackingError), tracking_errors(uri):
                self._run = OpenRun(connect(uri), uri, standing.experiment_id, standing.run_id)

    def create(self, request: RunRequest) -> None:
        """Creates the run or reopens it, RUNNING; a failure is part of the standing."""
        self._uri = request.uri
        tags, run_id = cut_tags(request.tags), request.earlier_run_id
        try:
            client, experiment_id = open_store(request.uri, request.experiment, request.notes)
            with tracking_errors(request.uri):
                reopened = run_id is not None and reopen_run(client, experiment_id, run_id, tags)
                if run_id is None or not reopened:
                    run_id = str(client.create_run(experiment_id, run_name=request.name, tags=tags).info.run_id)
        except TrackingError as error:
            self.standing = Standing(failure=error)
            return
        self._run = OpenRun(client, request.uri, experiment_id, run_id)
        self.standing = Standing(run_id, experiment_id, reopened=reopened)

    def perform(self, operation: Operation, *arguments: Any, although_failed: bool = False) -> None:  # noqa: ANN401
        """Does something with the run; the first failure is kept, and after it nothing more is tried."""
        if self._run is None or (self.standing.failure and not although_failed):
            return
        try:
            with tracking_errors(self._uri):
                operation(self._run, *arguments)
        except TrackingError as error:
            self.standing = replace(self.standing, failure=self.standing.failure or error)

    def query(self, question: Question[T], *arguments: Any) -> T:  # noqa: ANN401
        """Returns what a question is answered with; a failure is raised."""
        if self._run is None:
            raise self.standing.failure or TrackingError("there is no run to ask about")
        with tracking_errors(self._uri):
            return question(self._run, *arguments)

    def settle(self) -> Standing:
        """Returns the standing: everything is done."""
        return self.standing

    def close(self, *, wait: bool = True) -> None:
        """Holds nothing."""
