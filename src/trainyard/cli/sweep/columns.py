"""Tables of trials, with a column per swept setting, or a single column of labels if the terminal is too narrow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from trainyard.evaluation import Trial
from trainyard.reporting import format_value
from trainyard.sweep import SweepProgress, TrialState, TrialStatus

R = TypeVar("R")

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
_BARS = (20, 10)
"""Widths of a trial's progress bar in a wide and in a narrow terminal."""
_MAX_SETTING_WIDTH = 28
_MAX_LABEL_WIDTH = 48
_MIN_LABEL_WIDTH = 14
"""Width of a label below which other columns are removed."""


@dataclass(frozen=True, slots=True)
class Column(Generic[R]):
    """A column of a table: its title, a function that returns the cell of a row, its width, and its alignment."""

    title: str
    cell: Callable[[R], RenderableType]
    width: int
    align_right: bool = False


def build_column(title: str, cell: Callable[[R], str], rows: Iterable[R], *, max_width: int | None = None) -> Column[R]:
    """Returns a column of plain text that is as wide as its longest cell. Numbers are aligned to the right.

    Args:
        title: The title of the column.
        cell: Returns the text of a row's cell.
        rows: All rows, also those that are not shown, so that the width does not change.
        max_width: Maximum width in characters, at which longer cells are cut; None disables the limit.
    """
    cells = [cell(row) for row in rows]
    width = max([cell_len(title), *map(cell_len, cells)])
    align_right = all(_is_number(text) for text in cells if text)
    return Column(
        title,
        lambda row: Text(cell(row)),
        width if max_width is None else min(width, max_width),
        align_right=align_right,
    )


def build_table(columns: Sequence[Column[R]], rows: Iterable[R], style: Callable[[R], str] = lambda _: "") -> Table:
    """Returns a table that is as wide as its columns."""
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold", collapse_padding=True)
    for column in columns:
        table.add_column(
            column.title, width=column.width, no_wrap=True, justify="right" if column.align_right else "left"
        )
    for row in rows:
        table.add_row(*(column.cell(row) for column in columns), style=style(row))
    return table


def print_table(console: Console, columns: Sequence[Column[R]], rows: Iterable[R]) -> None:
    """Prints a table of texts. A terminal shows as much of a line as fits; elsewhere, lines are complete."""
    if console.is_terminal:
        console.print(build_table(columns, rows))
        return
    lines = [_build_line(columns, [column.title for column in columns])]
    lines += [_build_line(columns, [str(column.cell(row)) for column in columns]) for row in rows]
    console.out("\n".join(lines), highlight=False)


def _build_line(columns: Sequence[Column[R]], cells: Sequence[str]) -> str:
    """Returns a line of a table. Rich needs half a millisecond for this, too much for ten thousand lines."""
    padded = []
    for column, text in zip(columns, cells, strict=True):
        padding = " " * (column.width - cell_len(text))
        padded.append(padding + text if column.align_right else text + padding)
    return (" " * _GAP).join(padded).rstrip()


def compute_table_width(columns: Sequence[Column[R]]) -> int:
    """Returns the width of a table with these columns, in characters."""
    return sum(column.width for column in columns) + _GAP * (len(columns) - 1)


def build_setting_columns(
    trials: Sequence[Trial], *, max_width: int | None = _MAX_SETTING_WIDTH
) -> list[Column[Trial]]:
    """Returns a column per swept setting, and one for the seed if trials have different seeds."""
    paths = list(dict.fromkeys(path for trial in trials for path in trial.varied))
    columns = [
        build_column(title, partial(_format_setting, path), trials, max_width=max_width)
        for path, title in zip(paths, shorten_paths(paths), strict=True)
    ]
    if "seed" not in paths and len({trial.seed for trial in trials}) > 1:
        columns.append(build_column("seed", lambda trial: str(trial.seed), trials))
    return columns


def build_label_column(trials: Sequence[Trial]) -> Column[Trial]:
    """Returns the column of labels, which replaces the columns of settings if they are too wide."""
    return build_column("settings", lambda trial: trial.label, trials, max_width=_MAX_LABEL_WIDTH)


def shorten_paths(paths: Sequence[str]) -> list[str]:
    """Returns the shortest ends of dotted paths that are unique among these paths."""
    titles = []
    for path in paths:
        parts = path.split(".")
        ends = [".".join(parts[start:]) for start in reversed(range(len(parts)))]
        titles.append(next((end for end in ends if sum(f".{o}".endswith(f".{end}") for o in paths) == 1), path))
    return titles


class TrialColumns:
    """The columns of a table of trial statuses. They depend on all trials, so they are built once."""

    def __init__(self, trials: Sequence[Trial], progress: SweepProgress) -> None:
        self._settings = [_to_status_column(column) for column in build_setting_columns(trials)]
        self._label = _to_status_column(build_label_column(trials))
        self._number = _to_status_column(build_column("trial", lambda trial: str(trial.number), trials))
        longest = max([len(str(trial.config["training"]["epochs"])) for trial in trials], default=1)
        self._state = _build_status_column("state", _format_state, 7, style=lambda status: STATE_STYLES[status.state])
        self._end = (
            _build_status_column("epoch", _format_epoch, max(5, 2 * longest + 1), align_right=True),
            _build_status_column(
                progress.shown_metric, _format_value, max(8, len(progress.shown_metric)), align_right=True
            ),
            _build_status_column("time", partial(_format_time, progress), 7, align_right=True),
        )

    def fit(self, width: int) -> list[Column[TrialStatus]]:
        """Returns the columns that fit into a width.

        Each setting has a separate column if these fit. Otherwise a label replaces them, and if the label is still too
        narrow, first the bars, then time and state are removed.
        """
        for settings, bar in ((self._settings, _BARS[0]), (self._settings, _BARS[1]), ([self._label], _BARS[1])):
            columns = self._arrange_columns(settings, bar)
            if compute_table_width(columns) <= width:
                return columns
        columns = self._arrange_columns(self._settings, 0)
        if compute_table_width(columns) <= width:
            return columns
        columns = self._arrange_columns([self._label], 0)
        for removed in ("", "time", "state"):
            columns = [column for column in columns if column.title != removed]
            room = self._label.width - (compute_table_width(columns) - width)
            if room >= min(_MIN_LABEL_WIDTH, self._label.width):
                break
        cut = Column(self._label.title, self._label.cell, max(1, min(room, self._label.width)))
        return [cut if column is self._label else column for column in columns]

    def _arrange_columns(self, settings: Sequence[Column[TrialStatus]], bar: int) -> list[Column[TrialStatus]]:
        """Returns all columns from left to right, with a progress bar of `bar` characters; 0 removes the bar."""
        progress = [Column("progress", partial(_render_progress, bar), bar)] if bar else []
        return [self._number, *settings, self._state, *progress, *self._end]


def build_plain_columns(statuses: Sequence[TrialStatus], progress: SweepProgress) -> list[Column[TrialStatus]]:
    """Returns the columns for a file or a pipe: nothing is cut, and the last column has the reasons of failures."""
    trials = [status.trial for status in statuses]
    return [
        build_column("trial", lambda status: str(status.trial.number), statuses),
        *(_to_status_column(column) for column in build_setting_columns(trials, max_width=None)),
        build_column("state", _format_state, statuses),
        build_column("epoch", _format_epoch, statuses),
        build_column(progress.shown_metric, _format_value, statuses),
        build_column("time", partial(_format_time, progress), statuses),
        build_column("reason", lambda status: status.reason, statuses),
    ]


def format_four_decimals(value: float | None) -> str:
    """Returns a metric with four decimals, or in scientific notation if it is too small; empty for None."""
    if value is None:
        return ""
    return f"{value:.2e}" if 0 < abs(value) < 0.001 else f"{value:.4f}"  # noqa: PLR2004


def _build_status_column(
    title: str,
    cell: Callable[[TrialStatus], str],
    width: int,
    *,
    align_right: bool = False,
    style: Callable[[TrialStatus], str] = lambda _: "",
) -> Column[TrialStatus]:
    """Returns a column of trial statuses. `cell` and `style` return the text and the Rich style of a row."""
    return Column(title, lambda status: Text(cell(status), style(status)), width, align_right)


def _to_status_column(column: Column[Trial]) -> Column[TrialStatus]:
    """Converts a column of trials to a column of trial statuses."""
    return Column(column.title, lambda status: column.cell(status.trial), column.width, column.align_right)


def _format_setting(path: str, trial: Trial) -> str:
    """Returns the value of a swept setting as text; empty if the trial does not have the setting."""
    return format_value(trial.varied[path]) if path in trial.varied else ""


def _format_state(status: TrialStatus) -> str:
    """Returns the state of a trial; ``try 2`` if a later attempt is running."""
    is_retry = status.state is TrialState.RUNNING and status.attempt > 1
    return f"try {status.attempt}" if is_retry else status.state.value


def _render_progress(width: int, status: TrialStatus) -> RenderableType:
    """Returns the bar of a running trial, or the reason of a failed one if the column is wide enough."""
    if status.state is TrialState.RUNNING:
        return ProgressBar(max(status.epochs, 1), status.epoch, width, complete_style="cyan", finished_style="cyan")
    shows_reason = width == _BARS[0] and status.state in (TrialState.FAILED, TrialState.RETRY)
    return Text(status.reason if shows_reason else "", style="red")


def _format_time(progress: SweepProgress, status: TrialStatus) -> str:
    """Returns the duration of a trial so far, in a short form: ``12.3 s``, ``2:05``, ``1:02:05``."""
    seconds = progress.compute_seconds_run(status)
    if seconds is None or status.state in (TrialState.WAITING, TrialState.RETRY):
        return ""
    if seconds < 59.95:  # noqa: PLR2004 - larger values round to 60.0
        return f"{seconds:.0f} s" if status.state is TrialState.RUNNING else f"{seconds:.1f} s"
    minutes, remainder = divmod(round(seconds), 60)
    return f"{minutes}:{remainder:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{remainder:02}"  # noqa: PLR2004


def _format_epoch(status: TrialStatus) -> str:
    """Returns the finished and the total number of epochs: ``3/10``; empty for a waiting trial."""
    return "" if status.state is TrialState.WAITING else f"{status.epoch}/{status.epochs}"


def _format_value(status: TrialStatus) -> str:
    """Returns the trial's value of the shown metric; empty while the trial waits for its first or next attempt."""
    return "" if status.state in (TrialState.WAITING, TrialState.RETRY) else format_four_decimals(status.value)


def _is_number(text: str) -> bool:
    """Returns whether a text is a number, possibly with commas between thousands."""
    try:
        float(text.replace(",", ""))
    except ValueError:
        return False
    return True
