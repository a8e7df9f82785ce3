"""Writes the reports of the best points of a sweep, in parallel processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cloudpickle

from trainyard.evaluation import Ranking, Trial, TrialResult
from trainyard.runs import write_missing_report
from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.launch.job import report
from trainyard.sweep.launch.process_pool import Job, Message, ProcessPool
from trainyard.sweep.recorder import TrialOutcomes

_REPORTED_POINTS = 3
"""The number of best points for which the plots and the report of a run are written, with ``tracking.plots=best``."""


def find_best_results(ranking: Ranking, trials: Sequence[Trial], outcomes: TrialOutcomes) -> list[TrialResult]:
    """Returns the results of the best points, each with its first seed, whose reports the sweep writes."""
    if ranking.objective is None:
        return []
    plots = {trial.number: trial.config["tracking"]["plots"] for trial in trials}
    best = [point.runs[0].number for point in ranking.points[:_REPORTED_POINTS]]
    return [outcomes.done[number] for number in best if plots[number] != "none"]


@contextmanager
def write_reports_in_parallel(
    results: Sequence[TrialResult], folder: SweepFolder, n_jobs: int, notify: Callable[[str], None]
) -> Iterator[None]:
    """Draws the plots and writes the reports of finished trials during the block, as far as they are missing.

    `folder` is that of the sweep, which ran `n_jobs` trials at the same time. If these are several, all reports are
    written at the same time, because a core that has written one would wait for the last one. `notify` is called with
    each warning, for example that a plot can't be drawn. A report that can't be written is still missing after the
    block.
    """
    slots: list[dict[str, str]] = [{}] * (len(results) if n_jobs > 1 else 1)  # drawing does not use a GPU
    with ProcessPool(slots, lock_file=folder.trials_lock_file) as pool:
        waiting = list(enumerate(results, start=1))

        def fill_slots() -> None:
            """Starts jobs until no slot is free or none is waiting."""
            while waiting and pool.has_free_slot:
                number, result = waiting.pop(0)
                work = cloudpickle.dumps(partial(write_missing_report, Path(result.folder), report))
                pool.submit(Job(number, work, folder.logs / f"report-{number}.log"))

        fill_slots()
        yield
        while len(pool):
            for event in pool.poll():
                if isinstance(event, Message):
                    notify(event.content)
            fill_slots()
