"""How far the trials of a sweep are that run now, in a file that another terminal can read.

It is of the moment and worth nothing later, so it is not kept as the ledger is; it is written once a second at most.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from trainyard.evaluation.trials import SweepListener, Trial, TrialResult
from trainyard.system.files import whole_file

_SECONDS = 1.0


class Epoch(NamedTuple):
    """The last epoch of a trial that runs: its number, of how many, and what it came to."""

    epoch: int
    epochs: int
    metrics: Mapping[str, float]


class EpochFile(SweepListener):
    """Keeps the file up to date."""

    def __init__(self, file: Path) -> None:
        file.unlink(missing_ok=True)  # of an earlier start
        self._file = file
        self._epochs: dict[int, Epoch] = {}
        self._written = 0.0

    def epoch(self, trial: Trial, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Writes how far the trials are."""
        self._epochs[trial.number] = Epoch(epoch, epochs, metrics)
        if time.monotonic() - self._written > _SECONDS:
            with contextlib.suppress(OSError), whole_file(self._file) as partial:  # a full disk is not the sweep's end
                partial.write_text(json.dumps(self._epochs))
            self._written = time.monotonic()

    def done(self, trial: Trial, result: TrialResult) -> None:  # noqa: ARG002
        """Forgets a trial, as it has ended."""
        self._epochs.pop(trial.number, None)

    def pruned(self, trial: Trial, reason: str) -> None:  # noqa: ARG002
        """Forgets a trial, as it has ended."""
        self._epochs.pop(trial.number, None)

    def failed(self, trial: Trial, reason: str, *, again: bool) -> None:  # noqa: ARG002
        """Forgets a trial, as it has ended."""
        self._epochs.pop(trial.number, None)


def read_epochs(file: Path) -> dict[int, Epoch]:
    """Returns the last epochs of the trials that run, by number, as far as they are known."""
    try:
        content: dict[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return {int(number): Epoch(*epoch) for number, epoch in content.items()}
