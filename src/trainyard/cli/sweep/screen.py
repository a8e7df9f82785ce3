"""What a person sees of a sweep that runs: a live table in a terminal, lines of plain text elsewhere."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from trainyard.cli.sweep.columns import (
    STYLES,
    TrialColumns,
    build_table,
    show_metric,
)
from trainyard.evaluation.trials import SweepListener, Trial, TrialResult
from trainyard.reporting.formatting import show_seconds
from trainyard.sweep.progress import NO_OBJECTIVE, Standing, State, status_of

REFRESHES_PER_SECOND = 4

_LINES_AROUND_THE_ROWS = 7
"""Two empty ones, the head of the table, what it leaves out, the overall bar, the best, and one of what came before."""

_OVERALL_BAR = 30
_LEAST_BAR = 8


class SweepScreen(SweepListener):
    """Shows a sweep while it runs. Use it as a context: whatever ends the sweep, the terminal is as it was before.

    In a terminal a table moves; only failures and notes stay above it. When the sweep comes to its end the table goes,
    since the summary tells all of it; when it is interrupted the table stays. Where there is no terminal each trial has
    a line when it begins and when it ends.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        objective: str | None,
        *,
        places: int,
        done: Mapping[int, TrialResult] | None = None,
        pruned: Mapping[int, str] | None = None,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepares the screen; nothing is printed yet.

        Args:
            trials: All of the sweep, in the order of the plan.
            objective: What it compares; None: nothing.
            places: How many run at a time.
            done: What trials came to, by number, that were done by an earlier start of the sweep.
            pruned: Why trials were pruned, by number, that were by an earlier start.
            console: Where to print; else to stdout.
            clock: Seconds that never go back.
        """
        earlier, given_up = done or {}, pruned or {}
        statuses = [status_of(trial, objective, earlier.get(trial.number)) for trial in trials]
        for status in statuses:
            if reason := given_up.get(status.trial.number):
                status.state, status.reason = State.PRUNED, reason
        self._console = console or Console(highlight=False)
        self._standing = Standing(statuses, objective, places=places, clock=clock)
        self._columns = TrialColumns(trials, self._standing)
        self._number_width = max([len(str(trial.number)) for trial in trials], default=1)
        self._earlier = len(earlier)
        self._clock = clock
        self._start = clock()
        self._lock = threading.RLock()  # the table is drawn by a thread of its own
        self._live: Live | None = None
        if self._console.is_interactive and self._console.file.isatty():  # FORCE_COLOR makes no terminal of a log file
            self._live = Live(get_renderable=self._draw, console=self._console, refresh_per_second=REFRESHES_PER_SECOND)

    def __enter__(self) -> Self:
        self._start = self._clock()
        if self._earlier:
            self._say(Text(f"done earlier: {self._earlier:,} of {self._standing.total:,} trials"))
        if self._live:
            self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._standing.stop()
        whole = not error and self._standing.ended == self._standing.total
        if self._live:
            self._live.transient = whole
            self._live.stop()
        took = show_seconds(self._clock() - self._start)
        self._say(Text(f"{'finished' if whole else 'stopped'} after {took}: {self._standing.counts}", style="bold"))

    def note(self, text: str) -> None:
        """Prints a line."""
        self._say(Text(text))

    def began(self, trial: Trial, attempt: int) -> None:
        """Shows that a trial runs."""
        with self._lock:
            if self._standing.take_in(trial):
                self._columns = TrialColumns(self._standing.trials, self._standing)
            self._standing.began(trial.number, attempt)
        if not self._live:
            again = f", attempt {attempt}" if attempt > 1 else ""
            self._tell(trial, "began", f"{trial.label}{again}")

    def epoch(self, trial: Trial, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Moves a trial's bar."""
        with self._lock:
            self._standing.epoch(trial.number, epoch, epochs, metrics)

    def done(self, trial: Trial, result: TrialResult) -> None:
        """Shows what a trial came to."""
        with self._lock:
            status = self._standing.done(trial.number, result)
        if self._live:
            return
        shown = {self._standing.shown: status.value, NO_OBJECTIVE: result.metrics.get(NO_OBJECTIVE)}
        told = [f"{name} {show_metric(value)}" for name, value in shown.items() if value is not None]
        best = self._standing.best
        so_far = self._standing.counts + (f", best {show_metric(best.value)}: {best.label}" if best else "")
        told.append(f"{show_seconds(result.seconds)}  ({so_far})")
        self._tell(trial, "done", ", ".join(told), STYLES[State.DONE])

    def pruned(self, trial: Trial, reason: str) -> None:
        """Shows that a trial was ended before its time."""
        with self._lock:
            self._standing.pruned_for(trial.number, reason)
        if not self._live:
            self._tell(trial, "pruned", f"{reason}  ({self._standing.counts})", STYLES[State.PRUNED])

    def failed(self, trial: Trial, reason: str, *, again: bool) -> None:
        """Tells why a trial failed, in a line that stays."""
        with self._lock:
            self._standing.failed_for(trial.number, reason, again=again)
        label = f"{trial.label}: " if self._live else ""  # elsewhere the line of its beginning has it
        text = f"{label}{reason}{'; it will be tried again' if again else ''}"
        self._tell(trial, "failed", text, STYLES[State.FAILED])

    def _tell(self, trial: Trial, what: str, text: str, style: str = "") -> None:
        number = f"trial {trial.number:<{self._number_width}}  "
        self._say(Text(number) + Text(f"{what:8}", style=style) + Text(text))

    def _say(self, line: Text) -> None:
        self._console.print(line, soft_wrap=not self._console.is_terminal)

    def _draw(self) -> Group:
        width, height = self._console.size
        limit = max(1, height - _LINES_AROUND_THE_ROWS)
        with self._lock:
            return Group("", draw_standing(self._standing, self._columns, width=width, limit=limit))


def draw_standing(standing: Standing, columns: TrialColumns, *, width: int, limit: int) -> Group:
    """Returns how a sweep stands: a table of its trials, an overall bar, and the best so far.

    Args:
        standing: The sweep.
        columns: Of its trials.
        width: Of the terminal.
        limit: How many trials are shown at most; then a line tells what is left out.
    """
    rows, left_out = standing.rows(limit)
    best = standing.best
    lines: list[RenderableType] = [
        build_table(
            columns.fit(width),
            rows,
            lambda status: "bold" if best and status.trial.point == best.point and status.state is State.DONE else "",
        )
    ]
    if left_out:
        counts = ", ".join(f"{count:,} {state}" for state, count in left_out.items())
        lines.append(Text(f"not shown: {counts}", style="dim", no_wrap=True, overflow="ellipsis"))
    lines += ["", _overall(standing, width)]
    if best:
        told = Text.assemble(
            ("best ", "dim"), (f"{standing.shown} {show_metric(best.value)}", "bold"), f", {best.label} ({best.origin})"
        )
        told.no_wrap, told.overflow = True, "ellipsis"
        lines.append(told)
    return Group(*lines)


def _overall(standing: Standing, width: int) -> RenderableType:
    left = standing.seconds_left()
    text = standing.counts + ("" if left is None else f", about {_roughly(left)} left")
    room = min(_OVERALL_BAR, width - len(text) - 2)
    if room < _LEAST_BAR:
        return Text(text, no_wrap=True, overflow="ellipsis")
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_row(ProgressBar(1.0, standing.fraction, room, complete_style="green", finished_style="green"), Text(text))
    return line


def _roughly(seconds: float) -> str:
    """Returns an estimate in whole seconds: ``'12 s'``, ``'2 min 05 s'``."""
    whole = math.ceil(seconds)
    return f"{whole} s" if whole < 60 else show_seconds(whole)  # noqa: PLR2004 - a minute
