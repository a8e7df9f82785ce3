"""Reports why a run failed or was interrupted: in its description in the store, and on a page in its folder."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from trainyard import errors
from trainyard.config import describe_error, find_recipe, load_config, select_notes
from trainyard.errors import ConfigError, TrainyardError
from trainyard.reporting import CURVES_FILE, FailurePage, format_time, plots, write_failure_report
from trainyard.runs import artifacts
from trainyard.runs.context import STAGE_TITLES, find_run_changes
from trainyard.runs.provenance import describe_run_provenance, has_loaded_data, load_dataset_summary
from trainyard.runs.report import is_report_written
from trainyard.runs.resume import build_resume_command, load_recorded_overrides
from trainyard.runs.warning_log import WarningLog
from trainyard.tracking import PROCESS_DIED, RunRecord, load_operations, load_run_record, make_writable, names

if TYPE_CHECKING:
    from trainyard.config import RunConfig
    from trainyard.runs.context import RunContext

_PARAMETERS = "model.parameters"
_DESCRIPTION = re.compile(r"\*\*(?:Failed|Stopped) while (?P<activity>.+?)\.\*\* (?P<error>.+)", re.DOTALL)
"""The description of a run that `report_failure` sets, without the notes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    """How a run failed or was interrupted.

    Attributes:
        timings: Seconds by stage, the last one unfinished. Empty if they are unknown, because the run did not log them.
        seconds: Seconds from the start of the run to its end.
    """

    status: str
    activity: str
    error: str
    is_unexpected: bool
    ended: datetime
    timings: Mapping[str, float]
    seconds: float


def report_failure(run: RunContext, error: BaseException) -> None:
    """Sets the description of a run that an exception ended, and writes its report, unless the config disables it.

    The file ``error.txt`` must have been written. If the report can't be written, for example because the
    disk is full, it is left out.
    """
    warnings = WarningLog(run.folder, run.progress.detail)
    with contextlib.suppress(MemoryError, OSError, TrainyardError), warnings.catch(run.folder / names.REPORT_FILE):
        record = load_run_record(run.folder)
        name = run.tracker.status.run_name or run.name
        record = replace(record, name=name, run_id=run.tracker.run_id)
        failure = _describe_error(error, run.timer.seconds, record, run.config.training.epochs)
        page = _build_page(run.folder, run.config, run.overrides, record, failure)
        note = f"**{page.summary}.** {page.error}\n\n{run.notes}"
        run.tracker.set_tags({names.NOTE: note.strip()})
        if is_report_written(run.config.tracking, is_trial=run.trial is not None):
            _write_files(run.folder, page, warnings)


def restore_failure_report(run: RunRecord, folder: Path, notify: Callable[[str], None]) -> None:
    """Writes the report of a run that failed or was interrupted, from what it logged, to a folder with its artifacts.

    A run that has no final status was interrupted without the possibility to log it. `notify` is called with each
    warning, for example that the learning curves can't be drawn.

    Raises:
        ConfigError: If the config or the environment of the run can't be read.
    """
    config, warnings = load_config(folder / names.CONFIG_FILE), WarningLog(folder, notify)
    overrides = load_recorded_overrides(folder)
    failure = _restore_failure(run, folder, config, select_notes(config, overrides))
    try:
        page = _build_page(folder, config, overrides, run, failure)
    except (OSError, LookupError, ValueError) as error:
        raise ConfigError(f"report: expected a run with all its files, got {run.identity}: {error}") from error
    with warnings.catch(folder / names.REPORT_FILE):
        _write_files(folder, page, warnings)


def _write_files(folder: Path, page: FailurePage, warnings: WarningLog) -> None:
    """Draws the learning curves of the completed epochs, if any, and writes the report."""
    files, curves = {}, folder / CURVES_FILE
    if page.history:
        with warnings.catch(curves):
            plots.draw_learning_curves(page.history, curves)
            files["Learning curves"] = curves
    write_failure_report(folder / names.REPORT_FILE, replace(page, plots=files, warnings=warnings.messages))


def _build_page(
    folder: Path, config: RunConfig, overrides: Sequence[str], record: RunRecord, failure: _Failure
) -> FailurePage:
    """Returns the content of the report without its plot. `record` is what the run has logged."""
    summary, error_file = folder / artifacts.MODEL_SUMMARY, folder / names.ERROR_FILE
    return FailurePage(
        title=config.model.label,
        experiment=config.experiment,
        ended=format_time(failure.ended),
        recipe=find_recipe(config, overrides),
        recipe_changes=find_run_changes(config, overrides),
        notes=select_notes(config, overrides),
        config=config,
        dataset=load_dataset_summary(record, folder) if has_loaded_data(record, folder) else None,
        model_summary=summary.read_text() if summary.is_file() else None,
        parameters=record.params.get(_PARAMETERS),
        engine=None,
        history=_list_epochs(record),
        best_epoch=None,
        timings=failure.timings,
        provenance=describe_run_provenance(folder, record.tags, record.name, record.run_id),
        status=failure.status,
        activity=failure.activity,
        error=failure.error,
        traceback=error_file.read_text(encoding="utf-8") if error_file.is_file() else "",
        is_unexpected=failure.is_unexpected,
        resume_command=build_resume_command(folder),
        seconds=failure.seconds,
    )


def _list_epochs(record: RunRecord) -> list[Mapping[str, float]]:
    """Returns the metrics of each completed epoch."""
    return [metrics for epoch, metrics in record.load_history().items() if epoch]


def _describe_error(error: BaseException, timings: Mapping[str, float], record: RunRecord, epochs: int) -> _Failure:
    """Returns how an exception has just ended a run. `epochs` is the number of epochs in the config."""
    is_interrupted, is_unexpected = isinstance(error, KeyboardInterrupt), not isinstance(error, TrainyardError)
    message = _describe_interrupt(error) if is_interrupted else describe_error(error) if is_unexpected else str(error)
    stage = list(timings)[-1] if timings else "open"
    return _Failure(
        status="KILLED" if is_interrupted else "FAILED",
        activity=_describe_activity(stage, len(_list_epochs(record)), epochs),
        error=make_writable(message),
        is_unexpected=is_unexpected and not is_interrupted,
        ended=datetime.now(UTC),
        timings=timings,
        seconds=sum(timings.values()),
    )


def _restore_failure(run: RunRecord, folder: Path, config: RunConfig, notes: str) -> _Failure:
    """Returns how a run ended, from its description and its tags. `notes` are the last part of its description.

    Without a description, the activity is derived from what the run has logged.
    """
    described = _DESCRIPTION.fullmatch(run.tags.get(names.NOTE, "").removesuffix(notes).strip())
    error = run.tags.get(names.ERROR, PROCESS_DIED)
    if reason := run.tags.get(names.PRUNED):
        error = f"The sweep pruned the trial {reason}."
    kind = getattr(errors, error.partition(":")[0], Exception)
    ended = run.ended or (load_operations(run.folder).updated if run.folder else run.started)
    return _Failure(
        status="FAILED" if run.status == "FAILED" else "KILLED",
        activity=described["activity"] if described else _find_activity(run, folder, config.training.epochs),
        error=described["error"] if described else error,
        is_unexpected=run.status == "FAILED" and not issubclass(kind, TrainyardError),
        ended=datetime.fromtimestamp(ended / 1000, UTC),
        timings={},
        seconds=(ended - run.started) / 1000,
    )


def _find_activity(run: RunRecord, folder: Path, epochs: int) -> str:
    """Returns what a run did when it ended, derived from what it has logged."""
    completed = len(_list_epochs(run))
    if not has_loaded_data(run, folder):
        stage = "load"
    elif _PARAMETERS not in run.params:
        stage = "build"
    else:
        stage = "train" if completed < epochs else "evaluate"
    return _describe_activity(stage, completed, epochs)


def _describe_activity(stage: str, completed: int, epochs: int) -> str:
    """Returns what a run did when it ended: ``training, in epoch 3 of 20``.

    `completed` is the number of completed epochs.
    """
    title = STAGE_TITLES[stage]
    epoch = f", in epoch {completed + 1} of {epochs}" if stage == "train" and completed < epochs else ""
    return f"{title[0].lower()}{title[1:]}{epoch}"


def _describe_interrupt(error: BaseException) -> str:
    """Returns which signal stopped the run."""
    return f"The run received {str(error) or 'SIGINT (Ctrl-C)'} and stopped."
