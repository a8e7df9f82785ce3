"""A run that is compared, loaded from a tracking store or from its folder."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from trainyard.tracking import StoredRun, download_files, load_metric_history, load_run_record, names

_EPOCH_METRICS = ("/val", "/train")
DIGEST_LENGTH = 36
"""MLflow stores the first 36 characters of a digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """A run that is compared.

    Attributes:
        reference: Run ID or folder, as given by the user.
        run_id: MLflow run ID, or None if the run is in no store.
        name: Name of the run.
        experiment: Name of the run's MLflow experiment.
        status: RUNNING, FINISHED, FAILED or KILLED.
        started: Start time in milliseconds since 1970.
        params: Values of the resolved config by dotted path.
        metrics: Last value of each metric.
        tags: Tags of the run.
        test_digest: First characters of the SHA-256 digest of the test images, or None if unknown.
        uri: URI of the store that the run was loaded from, or None.
        folder: Folder that the run was loaded from, or None.
    """

    reference: str
    run_id: str | None
    name: str
    experiment: str
    status: str
    started: int
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    test_digest: str | None
    uri: str | None = None
    folder: Path | None = None

    @property
    def config_key(self) -> str:
        """Config hash: equal for runs that differ only in their seed. Without a hash, the run's reference."""
        return self.tags.get(names.CONFIG_HASH, self.reference)

    @property
    def identity(self) -> str:
        """The run ID, otherwise the reference. Identifies a run that is given both by its ID and by its folder."""
        return self.run_id or self.reference

    @property
    def short_name(self) -> str:
        """The first characters of the run ID, or the name of the folder."""
        return self.run_id[:8] if self.run_id else Path(self.reference).name

    def restore_metric(self, name: str) -> ComparedRun:
        """Returns the run with an epoch metric replaced by its value in the epoch whose weights were restored.

        Returns the run unchanged if no weights were restored, or if the metric is not one of an epoch.

        Raises:
            TrackingError: If the tracking store cannot be reached.
        """
        epoch = self.tags.get(names.RESTORED_EPOCH)
        if epoch is None or not name.endswith(_EPOCH_METRICS):
            return self
        values = [measured[name] for measured in self.load_history([name])[: int(epoch)] if name in measured]
        return replace(self, metrics={**self.metrics, name: values[-1]}) if values else self

    @property
    def seed(self) -> int:
        """Seed of the run, or 0 if unknown."""
        text = self.tags.get(names.DRAWN_SEED) or self.tags.get(names.SEED) or str(self.params.get("seed", ""))
        return int(text) if text.isdigit() else 0

    def load_history(self, metric_names: Sequence[str]) -> list[dict[str, float]]:
        """Loads the values of metrics for each epoch, first to last; a metric may be missing in an epoch.

        Raises:
            TrackingError: If the tracking store cannot be reached.
        """
        if self.folder is None:
            logged_names = [name for name in metric_names if name in self.metrics]
            return load_metric_history(self.uri or "", self.reference, logged_names)
        epochs: dict[int, dict[str, float]] = {}
        for metrics, step, _ in load_run_record(self.folder).metrics:
            if epoch_metrics := {name: metrics[name] for name in metric_names if name in metrics}:
                epochs.setdefault(step, {}).update(epoch_metrics)
        return [epochs[step] for step in sorted(epochs)]

    @contextmanager
    def open_files(self, *paths: str) -> Iterator[Path]:
        """Yields a folder that contains the given artifacts of the run; downloads them if the run has no folder.

        Args:
            paths: Artifact paths of files and folders.

        Raises:
            TrackingError: If the tracking store cannot be reached, or does not have one of the artifacts.
        """
        if self.folder is not None:
            yield self.folder
            return
        with TemporaryDirectory(prefix="trainyard-compare-") as temporary:
            download_files(self.uri or "", self.reference, paths, Path(temporary))
            yield Path(temporary)


def build_run_from_store(run: StoredRun, uri: str) -> ComparedRun:
    """Converts a run that was found in a tracking store to a `ComparedRun`."""
    return ComparedRun(
        reference=run.run_id,
        run_id=run.run_id,
        name=run.name,
        experiment=run.experiment,
        status=run.status,
        started=run.started,
        params={path: _parse_param(text) for path, text in run.params.items()},
        metrics=run.metrics,
        tags=run.tags,
        test_digest=run.test_digest,
        uri=uri,
    )


def load_run_from_folder(folder: Path) -> ComparedRun:
    """Loads a run from its folder.

    Raises:
        ConfigError: If `folder` is not the folder of a run.
    """
    record = load_run_record(folder)
    digests = (split.digest[:DIGEST_LENGTH] for split in record.inputs if split.context == "test")
    return ComparedRun(
        reference=str(folder),
        run_id=next(iter(record.stores.values()), None),
        name=record.name,
        experiment=record.experiment,
        status=record.status or "RUNNING",
        started=record.started,
        params=record.params,
        metrics={name: value for metrics, _, _ in record.metrics for name, value in metrics.items()},
        tags=record.tags,
        test_digest=next(digests, None),
        folder=folder.absolute(),
    )


def _parse_param(text: str) -> Any:  # noqa: ANN401 - any value of a config
    """Returns the value of a logged parameter: parsed as JSON if it is valid JSON, otherwise the text."""
    with contextlib.suppress(ValueError):
        return json.loads(text)
    return text
