"""A run as it is compared, wherever it was found: in a store, or in its folder."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from trainyard.tracking import download_files, read_account
from trainyard.tracking.runs import RESTORED_TAG
from trainyard.tracking.search import StoredRun, stored_history

_OF_EPOCHS = ("/val", "/train")
DIGEST = 36
"""Characters of a digest that MLflow holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """A run.

    Attributes:
        reference: What names it: its id, or its folder.
        run_id: MLflow's id, or None where no store has it.
        name: Of the run.
        experiment: The name of its experiment.
        status: RUNNING, FINISHED, FAILED or KILLED.
        started: In milliseconds since 1970.
        params: Its resolved config by dotted path.
        metrics: The last value of each.
        tags: All.
        test_digest: The beginning of the sha256 of its test images; None: not known.
        uri: The store that it was found in, or None.
        folder: Which it was found in, or None.
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
    def config(self) -> str:
        """What is the same for runs that compute the same with other seeds; its own where nothing tells."""
        return self.tags.get("config_hash", self.reference)

    @property
    def identity(self) -> str:
        """What it is told by, whether it was named by its id or by its folder."""
        return self.run_id or self.reference

    @property
    def short(self) -> str:
        """A few characters that tell it from others."""
        return self.run_id[:8] if self.run_id else Path(self.reference).name

    def as_restored(self, name: str) -> ComparedRun:
        """Returns the run with a metric of an epoch as it was in the epoch whose weights the model has.

        Raises:
            TrackingError: If its store can't be reached.
        """
        epoch = self.tags.get(RESTORED_TAG)
        if epoch is None or not name.endswith(_OF_EPOCHS):
            return self
        found = [measured[name] for measured in self.history([name])[: int(epoch)] if name in measured]
        return replace(self, metrics={**self.metrics, name: found[-1]}) if found else self

    @property
    def seed(self) -> int:
        """Of the run; 0 where nothing tells."""
        text = self.tags.get("drawn_seed") or self.tags.get("seed") or str(self.params.get("seed", ""))
        return int(text) if text.isdigit() else 0

    def history(self, names: Sequence[str]) -> list[dict[str, float]]:
        """Returns these metrics epoch by epoch, first to last; an epoch may lack some.

        Raises:
            TrackingError: If its store can't be reached.
        """
        if self.folder is None:
            known = [name for name in names if name in self.metrics]
            return stored_history(self.uri or "", self.reference, known)
        epochs: dict[int, dict[str, float]] = {}
        for metrics, step, _ in read_account(self.folder).metrics:
            if kept := {name: metrics[name] for name in names if name in metrics}:
                epochs.setdefault(step, {}).update(kept)
        return [epochs[step] for step in sorted(epochs)]

    @contextmanager
    def files(self, *names: str) -> Iterator[Path]:
        """Gives a folder that holds files and folders which the run logged, under their paths.

        Raises:
            TrackingError: If its store can't be reached, or lacks one of them.
        """
        if self.folder is not None:
            yield self.folder
            return
        with TemporaryDirectory(prefix="trainyard-compare-") as place:
            download_files(self.uri or "", self.reference, names, Path(place))
            yield Path(place)


def from_store(run: StoredRun, uri: str) -> ComparedRun:
    """Returns a run of a store."""
    return ComparedRun(
        reference=run.run_id,
        run_id=run.run_id,
        name=run.name,
        experiment=run.experiment,
        status=run.status,
        started=run.started,
        params={path: _value(text) for path, text in run.params.items()},
        metrics=run.metrics,
        tags=run.tags,
        test_digest=run.test_digest,
        uri=uri,
    )


def from_folder(folder: Path) -> ComparedRun:
    """Returns a run from its folder.

    Raises:
        ConfigError: If it is not the folder of a run.
    """
    account = read_account(folder)
    digests = (split.digest[:DIGEST] for split in account.inputs if split.context == "test")
    return ComparedRun(
        reference=str(folder),
        run_id=next(iter(account.stores.values()), None),
        name=account.name,
        experiment=account.experiment,
        status=account.status or "RUNNING",
        started=account.started,
        params=account.params,
        metrics={name: value for metrics, _, _ in account.metrics for name, value in metrics.items()},
        tags=account.tags,
        test_digest=next(digests, None),
        folder=folder.absolute(),
    )


def _value(text: str) -> Any:  # noqa: ANN401 - any value of a config
    """Returns a value from how it was logged: as it is where it is text, else as JSON."""
    with contextlib.suppress(ValueError):
        return json.loads(text)
    return text
