"""The display of a sweep in a notebook: one progress bar over the trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from trainyard.evaluation import Trial
from trainyard.sweep.listener import SweepCounts, SweepListener
from trainyard.sweep.recorder import TrialOutcomes
from trainyard.system import is_notebook, open_progress_bar


class SweepBar(SweepListener):
    """Shows the ended trials of a sweep as a progress bar in a notebook, and nothing elsewhere."""

    def __init__(
        self,
        trials: Sequence[Trial],
        objective: str | None,
        *,
        slots: int,  # noqa: ARG002 - the interface `run.OpenDisplay`
        outcomes: TrialOutcomes,
    ) -> None:
        """Prepares the bar of all trials, of which `slots` run in parallel, with the outcomes of earlier sessions."""
        self._objective = objective
        self._total = len(trials)
        self._ended = len(outcomes.done) + len(outcomes.pruned)
        self._bar: Any = None

    def __enter__(self) -> Self:
        if is_notebook():
            self._bar = open_progress_bar(self._total, "trials")
            self._bar.update(self._ended)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def on_trial_done(self, *event: Any, **_: object) -> None:  # noqa: ANN401 - the arguments of three events
        """Shows the number of ended trials and the best value of the objective."""
        if self._bar is None:
            return
        counts: SweepCounts = event[2]
        best = {} if counts.best is None else {f"best {self._objective}": f"{counts.best:.4f}"}
        failed = {"failed": counts.failed} if counts.failed else {}
        self._bar.set_postfix({**best, **failed}, refresh=False)
        self._bar.update(counts.done + counts.failed + counts.pruned - self._bar.n)

    on_trial_pruned = on_trial_failed = on_trial_done
