"""The current epochs of the running trials, in a file that `trainyard sweep --status` reads.

The file is a snapshot for display, not a permanent log like the ledger. It is written at most once a second. Which
trials are running is read from the ledger.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from trainyard.evaluation import Trial
from trainyard.sweep.listener import SweepListener
from trainyard.system import atomic_write

_INTERVAL_SECONDS = 1.0


class LatestEpoch(NamedTuple):
    """The last epoch of a running trial, counted from 1, of at most `epochs`, with its metrics by logged name."""

    epoch: int
    epochs: int
    metrics: Mapping[str, float]


class EpochFile(SweepListener):
    """Keeps the file up to date while a sweep runs. The constructor deletes the file of an earlier session."""

    def __init__(self, file: Path) -> None:
        file.unlink(missing_ok=True)  # of an earlier session
        self._file = file
        self._epochs: dict[int, LatestEpoch] = {}
        self._written = 0.0

    def on_epoch_end(self, trial: Trial, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Updates the last epoch of a trial, and writes the file if the last write was more than a second ago."""
        self._epochs[trial.number] = LatestEpoch(epoch, epochs, metrics)
        if time.monotonic() - self._written > _INTERVAL_SECONDS:
            with contextlib.suppress(OSError), atomic_write(self._file) as partial:  # the file is not essential
                partial.write_text(json.dumps(self._epochs))
            self._written = time.monotonic()

    def on_trial_done(self, trial: Trial, *_: object, **__: object) -> None:
        """Forgets a trial that has ended; the next write omits it."""
        self._epochs.pop(trial.number, None)

    on_trial_pruned = on_trial_failed = on_trial_done


def load_epochs(file: Path) -> dict[int, LatestEpoch]:
    """Returns the last epochs of the running trials, by trial number; empty if the file is missing or damaged."""
    try:
        content: dict[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return {int(number): LatestEpoch(*epoch) for number, epoch in content.items()}
