"""The progress of a sweep as a table of its trials, for a terminal, a file or a pipe."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from trainyard.cli.sweep.tables import build_setting_columns, is_numeric, start_table
from trainyard.reporting import format_duration, format_metric
from trainyard.sweep import SweepProgress, TrialState, TrialStatus

STATE_STYLES: Mapping[TrialState, str] = {
    TrialState.WAITING: "dim",
    TrialState.RUNNING: "cyan",
    TrialState.DONE: "green",
    TrialState.FAILED: "bold red",
    TrialState.PRUNED: "dim green",
    TrialState.RETRY: "yellow",
    TrialState.STOPPED: "yellow",
}

_GAP = 2
_MAX_SETTING_WIDTH = 28
_MAX_LABEL_WIDTH = 48
_MIN_LABEL_WIDTH = 14
_WIDE_BAR, _NARROW_BAR = 20, 10
"""The bar of a trial uses the free space between these widths."""
_OVERALL_BAR = 30
_MINUTE = 60


def format_time_left(progress: SweepProgress) -> str:
    """Returns the estimated remaining time of a sweep: ``', about 2 min 20 s left'``; empty if it is not known."""
    seconds_left = progress.estimate_seconds_left()
    if seconds_left is None:
        return ""
    whole = math.ceil(seconds_left)
    return f", about {f'{whole} s' if whole < _MINUTE else format_duration(whole)} left"


class TrialTable:
    """Draws the progress of a sweep in a terminal. The widths of the columns do not change while the sweep runs."""

    def __init__(self, progress: SweepProgress) -> None:
        trials = progress.trials
        settings = build_setting_columns(trials)
        self._progress = progress
        self._settings = {trial.number: row for trial, *row in zip(trials, *settings.values(), strict=True)}
        self._setting_widths = {title: min(_MAX_SETTING_WIDTH, _measure(title, settings[title])) for title in settings}
        self._label_width = min(_MAX_LABEL_WIDTH, _measure("settings", (trial.label for trial in trials)))
        epochs = {trial.config["training"]["epochs"] for trial in trials}
        self._widths = {
            "trial": _measure("trial", (str(trial.number) for trial in trials)),
            "state": len("waiting"),
            "progress": _NARROW_BAR,
            "epoch": _measure("epoch", (f"{count}/{count}" for count in epochs)),
            progress.shown_metric: _measure(progress.shown_metric, ["1.00e-04"]),
            "time": len("1:02:05"),
        }
        self._right_aligned = {"trial", "epoch", progress.shown_metric, "time"}
        self._right_aligned |= {title for title, cells in settings.items() if is_numeric(cells)}

    def fit(self, width: int) -> dict[str, int]:
        """Returns the columns that fit into a terminal of this width, in characters: the width of each by its title.

        Each setting has a separate column if these fit. Otherwise a label replaces them, and other columns are removed.
        """
        columns = {"trial": self._widths["trial"]} | self._setting_widths | self._widths
        if _sum_widths(columns) > width:
            columns = {"trial": self._widths["trial"], "settings": self._label_width} | self._widths
        cuttable = max(0, self._label_width - _MIN_LABEL_WIDTH)
        for title, excess in (("progress", 0), ("time", cuttable), ("state", cuttable)):
            if _sum_widths(columns) <= width + excess:
                break
            del columns[title]
        free = width - _sum_widths(columns)
        if "progress" in columns:
            columns["progress"] = min(_WIDE_BAR, _NARROW_BAR + free)
        elif free < 0:
            columns["settings"] = max(1, self._label_width + free)
        return columns

    def draw(self, width: int, limit: int, *, is_live: bool = True) -> Group:
        """Returns a table with at most `limit` trials, a bar for the sweep, and the best trial so far.

        If it `is_live`, the line of the best trial is cut if it is too long, because each line of a live table is one
        line of the terminal; otherwise, it is wrapped.
        """
        rows, hidden = self._progress.select_rows(limit)
        best = self._progress.best
        lines: list[RenderableType] = [self._draw_rows(rows, self.fit(width))]
        if hidden:
            counts = ", ".join(f"{count:,} {state}" for state, count in hidden.items())
            lines.append(Text(f"not shown: {counts}", style="dim", no_wrap=True, overflow="ellipsis"))
        lines += ["", self._draw_overall_bar(width)]
        if best:
            value = f"{self._progress.shown_metric} {format_metric(self._progress.shown_metric, best.value)}"
            parts = (f"{self._progress.best_title} ", "dim"), (value, "bold"), f", {best.label} ({best.source})"
            lines.append(Text.assemble(*parts, no_wrap=is_live, overflow="ellipsis" if is_live else "fold"))
        return Group(*lines)

    def _draw_rows(self, statuses: Sequence[TrialStatus], columns: Mapping[str, int]) -> Table:
        """Returns the table of some trials. `columns` are the widths by title."""
        table, best = start_table(), self._progress.best
        for title, width in columns.items():
            is_number = title in self._right_aligned
            table.add_column(Text(title), width=width, no_wrap=True, justify="right" if is_number else "left")
        for status in statuses:
            texts = format_status(status, self._progress) | {"settings": status.trial.label}
            texts |= zip(self._setting_widths, self._settings[status.trial.number], strict=True)
            cells: dict[str, RenderableType] = {title: Text(text) for title, text in texts.items()}
            cells["state"] = Text(texts["state"], STATE_STYLES[status.state])
            cells["progress"] = _draw_bar(status, columns.get("progress", 0))
            is_best = best and status.trial.point == best.point and status.state is TrialState.DONE
            table.add_row(*(cells[title] for title in columns), style="bold" if is_best else "")
        return table

    def _draw_overall_bar(self, width: int) -> Table:
        """Returns the bar of the sweep, with the number of finished trials and the remaining time."""
        text = self._progress.counts + format_time_left(self._progress)
        line = Table.grid(padding=(0, _GAP, 0, 0))
        line.add_column(width=max(0, min(_OVERALL_BAR, width - len(text) - _GAP)))
        line.add_column(no_wrap=True, overflow="ellipsis")
        line.add_row(ProgressBar(1.0, self._progress.fraction, complete_style="green", finished_style="green"), text)
        return line


def _sum_widths(columns: Mapping[str, int]) -> int:
    """Returns the width of a row in characters."""
    return sum(columns.values()) + _GAP * (len(columns) - 1)


def _measure(title: str, cells: Iterable[str]) -> int:
    """Returns the width of a column in characters."""
    return max(map(cell_len, [title, *cells]))


def build_plain_columns(progress: SweepProgress) -> dict[str, list[str]]:
    """Returns the columns for a file or a pipe: nothing is cut, and the last column has the reasons of failures."""
    columns: dict[str, list[str]] = {}
    for status in progress.select_rows(progress.total)[0]:
        for title, text in (format_status(status, progress) | {"reason": status.reason}).items():
            columns.setdefault(title, []).append(text)
    numbers = {"trial": columns.pop("trial", [])}
    return numbers | build_setting_columns(progress.trials) | columns


def format_status(status: TrialStatus, progress: SweepProgress) -> dict[str, str]:
    """Returns the number, state, epoch, metric and duration of a trial by column; what is unknown is empty."""
    is_waiting = status.state in (TrialState.WAITING, TrialState.RETRY)
    is_running = status.state is TrialState.RUNNING
    seconds = progress.compute_seconds_run(status)
    return {
        "trial": str(status.trial.number),
        "state": f"try {status.attempt}" if is_running and status.attempt > 1 else status.state.value,
        "epoch": "" if status.state is TrialState.WAITING else f"{status.epoch}/{status.epochs}",
        progress.shown_metric: "" if is_waiting else format_metric(progress.shown_metric, status.value),
        "time": "" if is_waiting or seconds is None else _format_time(seconds, 0 if is_running else 1),
    }


def _format_time(seconds: float, decimals: int) -> str:
    """Returns a duration in at most seven characters: ``12.3 s``, ``2:05``, ``1:02:05``."""
    if round(seconds, 1) < _MINUTE:
        return f"{seconds:.{decimals}f} s"
    minutes, remainder = divmod(round(seconds), _MINUTE)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{remainder:02}" if hours else f"{minutes}:{remainder:02}"


def _draw_bar(status: TrialStatus, width: int) -> RenderableType:
    """Returns the bar of a running trial, or the reason of a failed one if the column is wide enough."""
    if status.state is TrialState.RUNNING:
        return ProgressBar(max(status.epochs, 1), status.epoch, width, complete_style="cyan", finished_style="cyan")
    shows_reason = width == _WIDE_BAR and status.state in (TrialState.FAILED, TrialState.RETRY)
    return Text(status.reason if shows_reason else "", style="red")
