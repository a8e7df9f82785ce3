"""Terminal output of a run: progress, result and errors. Without a terminal, the output is plain lines."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from trainyard.config import RunConfig, describe_error
from trainyard.errors import ConfigError, TrainyardError, TrialPruned
from trainyard.evaluation import MAX_LISTED_CLASSES, EvalResult
from trainyard.reporting import format_metric
from trainyard.runs.context import STAGE_TITLES
from trainyard.runs.experiment import run_experiment
from trainyard.runs.resume import build_resume_command
from trainyard.system import (
    Progress,
    explain_disk_full,
    print_error,
    print_labelled,
    print_next_steps,
    print_styled,
    print_wrapped,
    redact_credentials,
)
from trainyard.tracking import TrackingStore, load_run_record, names

if TYPE_CHECKING:
    from trainyard.runs.context import TrialInfo
    from trainyard.runs.result import RunResult

_SCORE_WIDTH = 10
"""The width of a column of scikit-learn's classification report."""
_EPOCH_METRICS = ("loss/train", "accuracy/train", "loss/val", "accuracy/val")


class ScreenProgress(Progress):
    """Prints a line per stage and per epoch of a run, and in a terminal a bar for the current epoch."""

    def __init__(self) -> None:
        self._console = Console(soft_wrap=True, highlight=False)
        self.downloads = sys.stderr.isatty()
        self._bars = Bars(
            TextColumn("  epoch {task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bars.add_task("", visible=False)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def stage(self, name: str) -> None:
        """Prints the title of the stage that starts."""
        self._bars.update(self._task, visible=False)
        if self._console.is_interactive:  # the bars of downloads and decoding are not visible while Rich draws
            (self._bars.stop if name == "load" else self._bars.start)()
        self._console.print(Text(STAGE_TITLES.get(name, name), style="bold"))

    def detail(self, text: str) -> None:
        """Prints a line about the current stage."""
        print_wrapped(self._console, Text(text), Text("  "))

    def step(self, epoch: int, epochs: int, step: int, steps: int) -> None:
        """Updates the bar of the current epoch."""
        self._bars.update(self._task, description=f"{epoch}/{epochs}", completed=step, total=steps, visible=True)

    def epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Prints the epoch's metrics."""
        metrics_text = "  ".join(f"{name} {metrics[name]:.4f}" for name in _EPOCH_METRICS if name in metrics)
        width = len(str(epochs))
        self.detail(f"epoch {epoch:{width}}/{epochs}  {metrics_text}  {metrics['time/epoch_seconds']:.1f} s")


def run_and_print(
    config: RunConfig,
    folder: Path,
    overrides: Sequence[str],
    progress: ScreenProgress,
    trial: TrialInfo | None = None,
) -> RunResult:
    """Runs an experiment, and prints its progress, its result, and unless it is a trial, what to type next.

    If it fails, prints the error and raises it again. An interrupt is raised with a note on the status of the run.
    """
    try:
        with progress, explain_disk_full(folder):
            result = run_experiment(config, folder=folder, progress=progress, overrides=overrides, trial=trial)
        print_result(result)
        if trial is None:
            print_next_steps(_list_next_steps(result))
    except KeyboardInterrupt as interrupt:
        with contextlib.suppress(ConfigError):  # the run has not started
            run = load_run_record(folder)
            status = run.status if run.ended else "KILLED"  # FAILED, if the run failed before the signal
            command = None if trial else build_resume_command(folder)
            resuming = f". To resume it: {command}" if command else ""
            interrupt.add_note(f"the run is {status}. Its files are in {os.path.relpath(folder)}{resuming}")
        raise
    except TrialPruned as error:
        print_error(TrainyardError(f"pruned {error}. The run's files are in {os.path.relpath(folder)}"))
        raise
    except Exception as error:
        is_unexpected = not isinstance(error, TrainyardError)
        print_error(TrainyardError(describe_error(error)) if is_unexpected else error)
        if (folder / names.ERROR_FILE).exists():
            hint = f"; see {names.REPORT_FILE}" if (folder / names.REPORT_FILE).exists() else ""
            hint += f"; the traceback is in {names.ERROR_FILE}" if is_unexpected else ""
            print_error(TrainyardError(f"the run is FAILED. Its files are in {os.path.relpath(folder)}{hint}"))
        raise
    return result


def print_result(result: RunResult) -> None:
    """Prints the classification report, the first predictions, the metrics, and the locations of files and run."""
    console = Console(soft_wrap=True, highlight=False)
    evaluation, names = result.evaluation, result.dataset.spec.class_names
    count = min(result.config.evaluation.first_predictions, len(evaluation.actual))
    first = zip(evaluation.predicted[:count], evaluation.actual[:count], strict=True)
    pairs = [(names[predicted], names[actual]) for predicted, actual in first]
    predicted, actual = (" ".join(f"{pair[i]:>{max(map(len, pair))}}" for pair in pairs) for i in (0, 1))
    blocks = [
        _shorten_report(evaluation, console.width if console.is_terminal else None),
        f"The first {count} test images\n  predicted {predicted}\n  actual    {actual}",
        *([result.findings] if result.findings else []),
    ]
    for block in blocks:
        print_styled(f"\n{block}", console=console)
    console.print()
    lines = {
        "accuracy": f"{evaluation.accuracy:.4f} on {len(evaluation.actual):,} test images (loss {evaluation.loss:.4f})",
        **({"metrics": _format_metrics(evaluation.extra_metrics)} if evaluation.extra_metrics else {}),
        "time": f"{result.timings['total']:.1f} s, of which training {result.timings['train']:.1f} s",
        **({"best": f"epoch {result.best_model.describe(result.training.history)}"} if result.best_model else {}),
        "files": os.path.relpath(result.folder),
        "run": f"{result.name}, {result.run_id or 'not tracked'}",
    }
    for title, text in lines.items():
        print_labelled(console, title, text, "bold" if title == "accuracy" else "")


def _list_next_steps(result: RunResult) -> dict[str, str]:
    """Returns the commands that compare a run with others and open it in MLflow, or upload it if it is not tracked."""
    if not result.run_id:
        return {"upload": shlex.join(["trainyard", "sync", os.path.relpath(result.folder)])}
    uri = result.tracking_uri
    return {
        "compare": build_store_command("compare", "--experiment", result.config.experiment, uri=uri),
        "see it": build_store_command("ui", uri=uri),
    }


def _format_metrics(metrics: Mapping[str, float]) -> str:
    """Returns metrics by name on one line: ``cohen_kappa 0.9812, worst_recall 0.9021``."""
    return ", ".join(f"{name} {format_metric(name, value)}" for name, value in metrics.items())


def _shorten_report(evaluation: EvalResult, width: int | None = None) -> str:
    """Returns the classification report for a terminal of a width; None does not limit the width.

    If there are too many classes for a terminal, it has only their averages.
    """
    lines, classes = evaluation.report.splitlines(), len(evaluation.per_class)
    if classes > MAX_LISTED_CLASSES:
        lines = [lines[0], *lines[-4:]]
    if width is not None and len(lines[0]) > width:
        lines = _narrow_report(lines)
    if classes > MAX_LISTED_CLASSES:
        lines += ["", f"The scores of all {classes:,} classes are in classification_report.txt"]
    return "\n".join(lines)


def _narrow_report(lines: list[str]) -> list[str]:
    """Returns the lines of a classification report with narrow columns, and without the support."""
    label_width = len(lines[0]) - 4 * _SCORE_WIDTH
    starts = [label_width + _SCORE_WIDTH * column for column in range(3)]
    columns = [[line[start : start + _SCORE_WIDTH].strip() for line in lines] for start in starts]
    widths = [max(map(len, cells)) for cells in columns]
    labels = [line[: label_width - 1] for line in lines]
    rows = zip(labels, *columns, strict=True)
    return [" ".join([label, *map(str.rjust, cells, widths)]).rstrip() for label, *cells in rows]


def build_store_command(*arguments: str, uri: str | None) -> str:
    """Returns a command that uses a store, quoted for a shell: ``build_store_command("ui", uri=uri)``.

    The URI is left out if it is None, or the URI of the default store of the working directory.
    """
    name = TrackingStore.default().name if uri is None else redact_credentials(uri)
    option = [] if name == TrackingStore.default().name else ["--uri", name]
    return shlex.join(["trainyard", *arguments, *option])
