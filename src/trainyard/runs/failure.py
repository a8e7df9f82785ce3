"""Reports why a run failed or was interrupted: in its description in the store, and on a page in its folder."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from trainyard.config import describe_error, find_recipe
from trainyard.errors import TrainyardError
from trainyard.reporting import FailurePage, format_time, plots, write_failure_report
from trainyard.runs import artifacts
from trainyard.runs.context import STAGE_TITLES, find_run_changes
from trainyard.runs.provenance import describe_run_provenance, has_loaded_data, load_dataset_summary
from trainyard.runs.report import is_report_written
from trainyard.runs.resume import build_resume_command
from trainyard.runs.warning_log import WarningLog
from trainyard.tracking import RunRecord, load_run_record, make_writable, names

if TYPE_CHECKING:
    from trainyard.runs.context import RunContext


def report_failure(run: RunContext, error: BaseException) -> None:
    """Sets the description of a run that an exception ended, and writes its report, unless the config disables it.

    The file ``error.txt`` must have been written. If the report can't be written, for example because the
    disk is full, it is left out.
    """
    warnings = WarningLog(run.folder, run.progress.detail)
    report = run.folder / names.REPORT_FILE
    with contextlib.suppress(MemoryError, OSError, TrainyardError), warnings.catch(report):
        page = _build_page(run, load_run_record(run.folder), error)
        note = f"**{page.summary}.** {page.error}\n\n{run.notes}"
        run.tracker.set_tags({names.NOTE: note.strip()})
        if is_report_written(run.config.tracking, is_trial=run.trial is not None):
            files = _draw_curves(run, page.history, warnings)
            write_failure_report(report, replace(page, plots=files, warnings=warnings.messages))


def _build_page(run: RunContext, record: RunRecord, error: BaseException) -> FailurePage:
    """Returns the content of the report without its plot. `record` is what the run has logged."""
    config, folder = run.config, run.folder
    history = [metrics for epoch, metrics in record.load_history().items() if epoch]
    summary, parameters = folder / artifacts.MODEL_SUMMARY, record.params.get("model.parameters")
    is_interrupted, is_unexpected = isinstance(error, KeyboardInterrupt), not isinstance(error, TrainyardError)
    message = _describe_interrupt(error) if is_interrupted else describe_error(error) if is_unexpected else str(error)
    return FailurePage(
        title=config.model.label,
        experiment=config.experiment,
        ended=format_time(datetime.now(UTC)),
        recipe=find_recipe(config, run.overrides),
        recipe_changes=find_run_changes(config, run.overrides),
        notes=run.notes,
        config=config,
        dataset=load_dataset_summary(record, folder) if has_loaded_data(record, folder) else None,
        model_summary=summary.read_text() if summary.is_file() else None,
        parameters=parameters,
        engine=None,
        history=history,
        best_epoch=None,
        timings=run.timer.seconds,
        provenance=describe_run_provenance(
            folder, record.tags, run.tracker.status.run_name or run.name, run.tracker.run_id
        ),
        status="KILLED" if is_interrupted else "FAILED",
        activity=_describe_activity(run.timer.seconds, len(history), config.training.epochs),
        error=make_writable(message),
        traceback=(folder / names.ERROR_FILE).read_text(encoding="utf-8"),
        is_unexpected=is_unexpected and not is_interrupted,
        resume_command=build_resume_command(folder),
    )


def _describe_activity(timings: Mapping[str, float], completed: int, epochs: int) -> str:
    """Returns what the run did when it ended: ``training, in epoch 3 of 20``.

    `timings` are the seconds by stage, the current one last; `completed` is the number of completed epochs.
    """
    stage = list(timings)[-1] if timings else "open"
    title = STAGE_TITLES[stage]
    epoch = f", in epoch {completed + 1} of {epochs}" if stage == "train" and completed < epochs else ""
    return f"{title[0].lower()}{title[1:]}{epoch}"


def _describe_interrupt(error: BaseException) -> str:
    """Returns which signal stopped the run."""
    return f"The run received {str(error) or 'SIGINT (Ctrl-C)'} and stopped."


def _draw_curves(run: RunContext, history: Sequence[Mapping[str, float]], warnings: WarningLog) -> dict[str, Path]:
    """Draws the learning curves of the completed epochs, if any. Returns the file by its caption."""
    file = run.folder / "learning_curves.png"
    if history:
        with warnings.catch(file):
            plots.draw_learning_curves(history, file)
            return {"Learning curves": file}
    return {}
