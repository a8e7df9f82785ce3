"""Who writes to the store: creates one run, and does one operation after the other on it until the store fails.

Before it: store, operations. After it: worker, which is such a writer in another process; tracker.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Concatenate, Protocol

from trainyard.errors import TrackingError
from trainyard.tracking.operations import OpenRun, cut_tags
from trainyard.tracking.store import connect, open_store, tracking_errors

Operation = Callable[Concatenate[OpenRun, ...], None]
"""A function of `operations`."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a run is created with.

    Attributes:
        uri: The tracking URI.
        experiment: The name of its experiment.
        notes: What the experiment is about, used when it is created.
        name: The run's name.
        tags: Its first tags.
    """

    uri: str
    experiment: str
    notes: str
    name: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a writer is.

    Attributes:
        run_id: MLflow's id of the run, once it is created.
        experiment_id: MLflow's id of its experiment.
        failure: The first failure of the store, if there was one.
    """

    run_id: str | None = None
    experiment_id: str | None = None
    failure: TrackingError | None = None


class Writer(Protocol):
    """Writes to one run, at once or later, always in order."""

    @property
    def standing(self) -> Standing:
        """What is known by now."""

    @property
    def lost(self) -> bool:
        """Whether this writer can do no more, so that another has to."""

    def create(self, request: RunRequest) -> None:
        """Creates the run, in its experiment, in the store. Comes first."""

    def perform(self, operation: Operation, *arguments: Any, although_failed: bool = False) -> None:  # noqa: ANN401
        """Does something with the run, unless the store failed before; with `although_failed`, tries in any case."""

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
        """Creates the run, RUNNING; a failure is part of the standing."""
        self._uri = request.uri
        try:
            client, experiment_id = open_store(request.uri, request.experiment, request.notes)
            with tracking_errors(request.uri):
                created = client.create_run(experiment_id, run_name=request.name, tags=cut_tags(request.tags))
        except TrackingError as error:
            self.standing = Standing(failure=error)
            return
        self._run = OpenRun(client, request.uri, experiment_id, created.info.run_id)
        self.standing = Standing(created.info.run_id, experiment_id)

    def perform(self, operation: Operation, *arguments: Any, although_failed: bool = False) -> None:  # noqa: ANN401
        """Does something with the run; the first failure is kept, and after it nothing more is tried."""
        if self._run is None or (self.standing.failure and not although_failed):
            return
        try:
            with tracking_errors(self._uri):
                operation(self._run, *arguments)
        except TrackingError as error:
            self.standing = replace(self.standing, failure=self.standing.failure or error)

    def settle(self) -> Standing:
        """Returns the standing: everything is done."""
        return self.standing

    def close(self, *, wait: bool = True) -> None:
        """Holds nothing."""
