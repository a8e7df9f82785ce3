"""Tables of trials: a column per swept setting where there is room, else what distinguishes a trial in one."""

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

from trainyard.evaluation.trials import Trial
from trainyard.reporting.formatting import show_value
from trainyard.sweep.progress import Standing, State, TrialStatus

R = TypeVar("R")

STYLES: Mapping[State, str] = {
    State.WAITING: "dim",
    State.RUNNING: "cyan",
    State.DONE: "green",
    State.FAILED: "bold red",
    State.PRUNED: "dim green",
    State.AGAIN: "yellow",
    State.STOPPED: "yellow",
}

_GAP = 2
_BARS = (20, 10)
"""How wide a trial's progress bar is, where there is room and where there is little."""
_WIDEST_SETTING = 28
_WIDEST_LABEL = 48
_LEAST_LABEL = 14
"""How much of what distinguishes a trial is shown before anything else gives way."""


@dataclass(frozen=True, slots=True)
class Column(Generic[R]):
    """A column of a table: its title, what stands in the cell of a row, and how wide it is."""

    title: str
    cell: Callable[[R], RenderableType]
    width: int
    right: bool = False


def column(title: str, cell: Callable[[R], str], rows: Iterable[R], *, widest: int | None = None) -> Column[R]:
    """Returns a column of plain text that is as wide as its longest cell; numbers stand to the right.

    Args:
        title: What stands above it.
        cell: What stands in the cell of a row.
        rows: All that there will be, shown or not, so that the table keeps its shape.
        widest: Where longer cells are cut; None: nowhere.
    """
    cells = [cell(row) for row in rows]
    width = max([cell_len(title), *map(cell_len, cells)])
    right = all(_is_number(text) for text in cells if text)
    return Column(title, lambda row: Text(cell(row)), width if widest is None else min(width, widest), right=right)


def build_table(columns: Sequence[Column[R]], rows: Iterable[R], style: Callable[[R], str] = lambda _: "") -> Table:
    """Returns a table that is as wide as its columns."""
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold", collapse_padding=True)
    for each in columns:
        table.add_column(each.title, width=each.width, no_wrap=True, justify="right" if each.right else "left")
    for row in rows:
        table.add_row(*(each.cell(row) for each in columns), style=style(row))
    return table


def print_table(console: Console, columns: Sequence[Column[R]], rows: Iterable[R]) -> None:
    """Prints a table of texts, cut at the edge of a terminal; elsewhere every line is whole, however long."""
    if console.is_terminal:
        console.print(build_table(columns, rows))
        return
    lines = [_line(columns, [each.title for each in columns])]
    lines += [_line(columns, [str(each.cell(row)) for each in columns]) for row in rows]
    console.out("\n".join(lines), highlight=False)


def _line(columns: Sequence[Column[R]], cells: Sequence[str]) -> str:
    """Returns a line of a table; rich would take half a millisecond, which ten thousand lines make felt."""
    padded = []
    for each, text in zip(columns, cells, strict=True):
        padding = " " * (each.width - cell_len(text))
        padded.append(padding + text if each.right else text + padding)
    return (" " * _GAP).join(padded).rstrip()


def table_width(columns: Sequence[Column[R]]) -> int:
    """Returns how wide a table of these columns is."""
    return sum(each.width for each in columns) + _GAP * (len(columns) - 1)


def setting_columns(trials: Sequence[Trial], *, widest: int | None = _WIDEST_SETTING) -> list[Column[Trial]]:
    """Returns a column per swept setting, and one for the seed where trials differ by it alone."""
    paths = list(dict.fromkeys(path for trial in trials for path in trial.varied))
    columns = [
        column(title, partial(_setting, path), trials, widest=widest)
        for path, title in zip(paths, short_titles(paths), strict=True)
    ]
    if "seed" not in paths and len({trial.seed for trial in trials}) > 1:
        columns.append(column("seed", lambda trial: str(trial.seed), trials))
    return columns


def label_column(trials: Sequence[Trial]) -> Column[Trial]:
    """Returns the one column that stands for those of the settings where they need too much room."""
    return column("what varies", lambda trial: trial.label, trials, widest=_WIDEST_LABEL)


def short_titles(paths: Sequence[str]) -> list[str]:
    """Returns the ends of dotted paths, each as long as it takes to tell it from the others."""
    titles = []
    for path in paths:
        parts = path.split(".")
        ends = [".".join(parts[start:]) for start in reversed(range(len(parts)))]
        titles.append(next((end for end in ends if sum(f".{o}".endswith(f".{end}") for o in paths) == 1), path))
    return titles


class TrialColumns:
    """The columns of a table of trials as they stand; made once, since they depend on all trials."""

    def __init__(self, trials: Sequence[Trial], standing: Standing) -> None:
        self._settings = [_of_trial(each) for each in setting_columns(trials)]
        self._label = _of_trial(label_column(trials))
        self._number = _of_trial(column("trial", lambda trial: str(trial.number), trials))
        longest = max([len(str(trial.config["training"]["epochs"])) for trial in trials], default=1)
        self._state = _column("state", _state, 7, style=lambda status: STYLES[status.state])
        self._end = (
            _column("epoch", _epoch, max(5, 2 * longest + 1), right=True),
            _column(standing.shown, _value, max(8, len(standing.shown)), right=True),
            _column("time", partial(_time, standing), 7, right=True),
        )

    def fit(self, width: int) -> list[Column[TrialStatus]]:
        """Returns the columns that a width has room for.

        Settings have columns of their own where these fit. Else a label tells what varies, and what is left of it
        decides whether bars, time and state give way too.
        """
        for settings, bar in ((self._settings, _BARS[0]), (self._settings, _BARS[1]), ([self._label], _BARS[1])):
            columns = self._columns(settings, bar)
            if table_width(columns) <= width:
                return columns
        columns = self._columns(self._settings, 0)
        if table_width(columns) <= width:
            return columns
        columns = self._columns([self._label], 0)
        for gives_way in ("", "time", "state"):
            columns = [each for each in columns if each.title != gives_way]
            room = self._label.width - (table_width(columns) - width)
            if room >= min(_LEAST_LABEL, self._label.width):
                break
        cut = Column(self._label.title, self._label.cell, max(1, min(room, self._label.width)))
        return [cut if each is self._label else each for each in columns]

    def _columns(self, settings: Sequence[Column[TrialStatus]], bar: int) -> list[Column[TrialStatus]]:
        progress = [Column("progress", partial(_progress, bar), bar)] if bar else []
        return [self._number, *settings, self._state, *progress, *self._end]


def whole_columns(statuses: Sequence[TrialStatus], standing: Standing) -> list[Column[TrialStatus]]:
    """Returns the columns for a file or a pipe, where nothing is cut or moves; why trials failed comes last."""
    trials = [status.trial for status in statuses]
    return [
        column("trial", lambda status: str(status.trial.number), statuses),
        *(_of_trial(each) for each in setting_columns(trials, widest=None)),
        column("state", _state, statuses),
        column("epoch", _epoch, statuses),
        column(standing.shown, _value, statuses),
        column("time", partial(_time, standing), statuses),
        column("reason", lambda status: status.reason, statuses),
    ]


def show_metric(value: float | None) -> str:
    """Returns a metric with four decimals, or in powers of ten where these would show nothing of it."""
    if value is None:
        return ""
    return f"{value:.2e}" if 0 < abs(value) < 0.001 else f"{value:.4f}"  # noqa: PLR2004 - two of four decimals


def _column(
    title: str,
    cell: Callable[[TrialStatus], str],
    width: int,
    *,
    right: bool = False,
    style: Callable[[TrialStatus], str] = lambda _: "",
) -> Column[TrialStatus]:
    return Column(title, lambda status: Text(cell(status), style(status)), width, right)


def _of_trial(each: Column[Trial]) -> Column[TrialStatus]:
    return Column(each.title, lambda status: each.cell(status.trial), each.width, each.right)


def _setting(path: str, trial: Trial) -> str:
    return show_value(trial.varied[path]) if path in trial.varied else ""


def _state(status: TrialStatus) -> str:
    again = status.state is State.RUNNING and status.attempt > 1
    return f"try {status.attempt}" if again else status.state.value


def _progress(width: int, status: TrialStatus) -> RenderableType:
    """Returns the bar of a running trial; of a failed one, the room tells why, where it is wide."""
    if status.state is State.RUNNING:
        return ProgressBar(max(status.epochs, 1), status.epoch, width, complete_style="cyan", finished_style="cyan")
    told = width == _BARS[0] and status.state in (State.FAILED, State.AGAIN)
    return Text(status.reason if told else "", style="red")


def _time(standing: Standing, status: TrialStatus) -> str:
    """Returns how long a trial took or has been running for, in few characters: ``12.3 s``, ``2:05``, ``1:02:05``."""
    seconds = standing.seconds_run(status)
    if seconds is None or status.state in (State.WAITING, State.AGAIN):
        return ""
    if seconds < 59.95:  # noqa: PLR2004 - what would be shown as 60
        return f"{seconds:.0f} s" if status.state is State.RUNNING else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"  # noqa: PLR2004


def _epoch(status: TrialStatus) -> str:
    return "" if status.state is State.WAITING else f"{status.epoch}/{status.epochs}"


def _value(status: TrialStatus) -> str:
    return "" if status.state in (State.WAITING, State.AGAIN) else show_metric(status.value)


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", ""))
    except ValueError:
        return False
    return True
