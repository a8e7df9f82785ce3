"""The output of a running sweep: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from trainyard.cli.sweep.trial_table import STATE_STYLES, TrialTable, format_time_left
from trainyard.evaluation import Trial, TrialResult
from trainyard.reporting import format_duration, format_metric
from trainyard.sweep import NO_OBJECTIVE, SweepListener, SweepProgress, TrialOutcomes, TrialState, build_status

_REFRESHES_PER_SECOND = 4
_LINES_AROUND_THE_ROWS = 7
"""Two empty lines, the header, the counts of hidden trials, the overall bar, the best trial, and one earlier line."""


class SweepScreen(SweepListener):
    """Shows a sweep while it runs. As a context manager, it always restores the terminal.

    In a terminal, a table is updated in place, and failures and messages are printed above it. The table is removed
    when the sweep has finished, because the summary contains all of it; it remains if the sweep is interrupted.
    Without a terminal, one line is printed at the start, one when a trial starts, and one when it ends.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        objective: str | None,
        *,
        slots: int,
        outcomes: TrialOutcomes | None = None,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepares the screen; see `SweepBar`. Nothing is printed yet. `clock` returns monotonic time in seconds.

        `slots` is 0 if it is not known how many trials run at the same time.
        """
        earlier = outcomes or TrialOutcomes()
        statuses = [build_status(trial, objective, earlier.done.get(trial.number)) for trial in trials]
        for status in statuses:
            if reason := earlier.pruned.get(status.trial.number):
                status.state, status.reason = TrialState.PRUNED, reason
        self._console = console or Console(highlight=False)
        self._progress = SweepProgress(statuses, objective, slots=slots, clock=clock)
        self._table = TrialTable(self._progress)
        self._number_width = max([len(str(trial.number)) for trial in trials], default=1)
        self._slots = slots
        self._done_earlier = len(earlier.done)
        self._clock = clock
        self._start = clock()
        self._lock = threading.RLock()  # a separate thread draws the table
        self._live: Live | None = None
        if self._console.is_interactive and self._console.file.isatty():  # with FORCE_COLOR, a log file is interactive
            self._live = Live(
                get_renderable=self._draw, console=self._console, refresh_per_second=_REFRESHES_PER_SECOND
            )

    def __enter__(self) -> Self:
        self._start = self._clock()
        if self._done_earlier:
            self._print_line(Text(f"already done: {self._done_earlier:,} of {self._progress.total:,} trials"))
        if self._live:
            self._live.start(refresh=True)
        else:
            at_once = f", at the same time: {self._slots:,}" if self._slots else ""
            self._print_line(Text(f"trials to run: {self._progress.total - self._progress.ended_count:,}{at_once}"))
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        with self._lock:
            self._progress.mark_interrupted()
        finished = not error_type and self._progress.ended_count == self._progress.total
        if self._live:
            self._live.transient = finished
            self._live.stop()
        duration = format_duration(self._clock() - self._start)
        self._print_line(
            Text(f"{'finished' if finished else 'stopped'} after {duration}: {self._progress.counts}", style="bold")
        )

    def on_message(self, text: str) -> None:
        """Prints a message of the sweep."""
        self._print_line(Text(text))

    def on_trial_begin(self, trial: Trial, attempt: int) -> None:
        """Shows that a trial has started."""
        with self._lock:
            if self._progress.update_trial(trial):
                self._table = TrialTable(self._progress)
            self._progress.start_trial(trial.number, attempt)
        if not self._live:
            suffix = f", attempt {attempt}" if attempt > 1 else ""
            time_left = format_time_left(self._progress).removeprefix(", ")
            of_sweep = f"  (sweep: {time_left})" if time_left else ""
            self._print_event(trial, "started", f"{trial.label}{suffix}{of_sweep}")

    def on_epoch_end(self, trial: Trial, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Updates a trial's bar."""
        with self._lock:
            self._progress.update_epoch(trial.number, epoch, epochs, metrics)

    def on_trial_done(self, trial: Trial, result: TrialResult, counts: object) -> None:  # noqa: ARG002
        """Shows the result of a trial."""
        with self._lock:
            status = self._progress.finish_trial(trial.number, result)
        if self._live:
            return
        metrics = {self._progress.shown_metric: status.value, NO_OBJECTIVE: result.metrics.get(NO_OBJECTIVE)}
        parts = [f"{name} {format_metric(name, value)}" for name, value in metrics.items() if value is not None]
        best = self._progress.best
        best_text = ""
        if best:
            value = format_metric(self._progress.shown_metric, best.value)
            best_text = f", {self._progress.best_title} {value}: {best.label}"
        parts.append(
            f"{format_duration(result.seconds)}  ({self._progress.counts}{format_time_left(self._progress)}{best_text})"
        )
        self._print_event(trial, "done", ", ".join(parts), STATE_STYLES[TrialState.DONE])

    def on_trial_pruned(self, trial: Trial, reason: str, counts: object) -> None:  # noqa: ARG002
        """Shows that a trial was pruned."""
        with self._lock:
            if self._progress.update_trial(trial):  # drawn, but pruned before it started
                self._table = TrialTable(self._progress)
            self._progress.prune_trial(trial.number, reason)
        if not self._live:
            self._print_event(trial, "pruned", f"{reason}  ({self._progress.counts})", STATE_STYLES[TrialState.PRUNED])

    def on_trial_failed(self, trial: Trial, reason: str, counts: object, *, will_retry: bool) -> None:  # noqa: ARG002
        """Prints why a trial failed, in a permanent line."""
        with self._lock:
            self._progress.fail_trial(trial.number, reason, will_retry=will_retry)
        label = f"{trial.label}: " if self._live else ""  # without a terminal, the line of its start has the label
        text = f"{label}{reason}{'; it will be retried' if will_retry else ''}"
        self._print_event(trial, "failed", text, STATE_STYLES[TrialState.FAILED])

    def _print_event(self, trial: Trial, event: str, text: str, style: str = "") -> None:
        """Prints a permanent line: number of the trial, event in the given Rich style, and text."""
        number = f"trial {trial.number:<{self._number_width}}  "
        self._print_line(Text(number) + Text(f"{event:8}", style=style) + Text(text))

    def _print_line(self, line: Text) -> None:
        """Prints a line. It is wrapped in a terminal, and not elsewhere."""
        self._console.print(line, soft_wrap=not self._console.is_terminal)

    def _draw(self) -> Group:
        """Returns what Rich shows at each refresh: the progress of the sweep, with as many trials as fit."""
        width, height = self._console.size
        with self._lock:
            return Group("", self._table.draw(width, limit=max(1, height - _LINES_AROUND_THE_ROWS)))
