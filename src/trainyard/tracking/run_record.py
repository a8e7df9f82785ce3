"""A logged run, loaded from a tracking store or from its folder."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from trainyard.system import is_process_alive
from trainyard.tracking import names
from trainyard.tracking.operation_log import load_operations
from trainyard.tracking.operations import DIGEST_LENGTH, DatasetInput, find_test_split, read_inputs

if TYPE_CHECKING:
    from mlflow.entities import Run

    from trainyard.tracking.tracking_store import TrackingStore


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A logged run: its tags, params and final metrics, and where it is.

    Attributes:
        run_id: MLflow's id of the run; None if no store contains it.
        status: RUNNING, FINISHED, FAILED or KILLED.
        params: The values of the resolved config by dotted path.
        metrics: The last value of each metric.
        started: Start time in milliseconds since 1970.
        ended: End time in milliseconds since 1970; None if the run has not ended.
        inputs: The splits of the data set that the run used; empty if it did not log them.
        folder: The run's folder; None if it is not on this machine.
        store: The store that the record was loaded from. None if it was loaded from `folder`.
    """

    run_id: str | None
    status: str
    tags: Mapping[str, str]
    name: str = ""
    experiment: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    started: int = 0
    ended: int | None = None
    inputs: Sequence[DatasetInput] = ()
    folder: Path | None = None
    store: TrackingStore | None = None

    @property
    def key(self) -> str | None:
        """The unique key that Trainyard gave the run, a UUID in hexadecimal; None for runs of other programs."""
        return self.tags.get(names.RUN_KEY)

    @property
    def test_digest(self) -> str | None:
        """The first 36 characters of the sha256 of the test images; None if the run did not log them."""
        split = find_test_split(self.inputs)
        return split.digest[:DIGEST_LENGTH] if split else None

    @property
    def reference(self) -> str:
        """The id of a run that was loaded from a store, or the folder."""
        return str(self.folder) if self.store is None else str(self.run_id)

    @property
    def identity(self) -> str:
        """The run id, otherwise the folder. Identifies a run that is given both by its id and by its folder."""
        return self.run_id or self.reference

    @property
    def short_name(self) -> str:
        """The first characters of the run id, or the name of the folder."""
        return self.run_id[:8] if self.run_id else Path(self.reference).name

    @property
    def config_key(self) -> str:
        """The config hash: equal for runs that differ only in their seed. Without a hash, the run's reference."""
        return self.tags.get(names.CONFIG_HASH, self.reference)

    @property
    def seed(self) -> int:
        """The seed of the run, or 0 if unknown."""
        text = self.tags.get(names.DRAWN_SEED) or self.tags.get(names.SEED) or str(self.params.get("seed", ""))
        return int(text) if text.isdigit() else 0

    @property
    def is_on_this_host(self) -> bool:
        """Whether the run was started on this host; only processes of this host can be checked."""
        return self.tags.get(names.HOST) == socket.gethostname()

    @property
    def is_alive(self) -> bool:
        """Whether the run has the status RUNNING, and its process exists on this host."""
        return (
            self.status == "RUNNING"
            and self.is_on_this_host
            and is_process_alive(self.tags.get(names.PID, ""), self.tags.get(names.STARTED, ""))
        )

    @property
    def is_orphan(self) -> bool:
        """Whether the run has the status RUNNING, but its process on this host no longer exists."""
        return self.status == "RUNNING" and self.is_on_this_host and not self.is_alive

    def load_history(self, metric_names: Sequence[str] | None = None) -> dict[int, dict[str, float]]:
        """Loads the values of metrics by step, first to last. A metric may be missing in a step.

        The step of metrics that are logged after each epoch is the epoch, from 1; that of test metrics is 0. None as
        `metric_names` loads all metrics. Raises a TrackingError if the tracking store can't be reached.
        """
        logged_names = [name for name in self.metrics if metric_names is None or name in metric_names]
        if self.store:
            return self.store.load_metric_history(self.run_id or "", logged_names)
        steps: dict[int, dict[str, float]] = {}
        for metrics, step, _ in load_operations(self.folder or Path()).metrics:
            if values := {name: metrics[name] for name in logged_names if name in metrics}:
                steps.setdefault(step, {}).update(values)
        return dict(sorted(steps.items()))

    def restore_metric(self, name: str) -> RunRecord:
        """Returns the run with an epoch metric replaced by its value in the epoch whose weights were restored.

        Returns the run unchanged if no weights were restored, or if the metric is not one of an epoch. For errors, see
        `load_history`.
        """
        epoch = self.tags.get(names.RESTORED_EPOCH)
        if epoch is None or not name.endswith(("/val", "/train")):
            return self
        values = [step[name] for step in list(self.load_history([name]).values())[: int(epoch)]]
        return replace(self, metrics={**self.metrics, name: values[-1]}) if values else self

    @contextlib.contextmanager
    def open_files(self, *paths: str) -> Iterator[Path]:
        """Yields a folder that contains artifacts of the run; downloads them if the run was loaded from a store.

        Raises a TrackingError if the tracking store can't be reached, or does not have one of the artifacts.
        """
        if self.store is None:
            yield self.folder or Path()
            return
        with TemporaryDirectory(prefix="trainyard-run-") as temporary:
            self.store.download_files(self.run_id or "", paths, Path(temporary))
            yield Path(temporary)


def load_run_record(folder: Path) -> RunRecord:
    """Loads a run from its folder. A run without a final status is RUNNING, even if its process has died.

    Raises a ConfigError if the folder has no operation log, or the operation log can't be read.
    """
    logged = load_operations(folder)
    return RunRecord(
        run_id=next(iter(logged.stores.values()), None),
        status=logged.status or "RUNNING",
        tags=logged.tags,
        name=logged.name,
        experiment=logged.experiment,
        params=logged.params,
        metrics={name: value for metrics, _, _ in logged.metrics for name, value in metrics.items()},
        started=logged.started,
        ended=logged.updated if logged.status else None,
        inputs=tuple(logged.inputs),
        folder=folder,
    )


def build_run_record(run: Run, experiment: str, store: TrackingStore) -> RunRecord:
    """Returns the record of an MLflow `Run` entity, which is in the experiment with the given name."""
    info, tags = run.info, dict(run.data.tags)
    folder = Path(tags[names.FOLDER]) if names.FOLDER in tags else None
    return RunRecord(
        run_id=info.run_id,
        status=info.status,
        tags=tags,
        name=info.run_name or info.run_id,
        experiment=experiment,
        params={path: _parse_param(text) for path, text in run.data.params.items()},
        metrics=dict(run.data.metrics),
        started=info.start_time,
        ended=info.end_time,
        inputs=tuple(read_inputs(run)),
        folder=folder if folder and folder.is_dir() else None,
        store=store,
    )


def _parse_param(text: str) -> Any:  # noqa: ANN401 - any value of a config
    """Returns the value of a logged parameter: parsed as JSON if it is valid JSON, otherwise the text."""
    with contextlib.suppress(ValueError):
        return json.loads(text)
    return text
