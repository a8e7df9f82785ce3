"""Runs a planned sweep in its locked folder: remaining trials, tracking, progress, ledger and summary."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from trainyard.cli.jobs import TrialTask
from trainyard.cli.sweep.live_display import SweepScreen
from trainyard.cli.sweep.tables import SweepReport, build_ranking_table, print_summary
from trainyard.cli.terminal import build_ui_command
from trainyard.evaluation import Trial
from trainyard.sweep import (
    OFF,
    EpochFile,
    Ledger,
    PriorSweep,
    SearchQueue,
    SweepFolder,
    SweepPlan,
    SweepResult,
    SweepScheduler,
    SweepTracker,
    TrialOutcomes,
    TrialPruner,
    TrialState,
    build_architecture_key,
    build_status,
    smoke_test_architectures,
    start_fork_server,
    summarize_sweep,
)
from trainyard.system import collect_process_info


def run_planned_sweep(
    plan: SweepPlan,
    folder: SweepFolder,
    ledger: Ledger,
    slots: int,
    run_trials: Callable[[SweepScheduler], None],
    *,
    prior_sweeps: Sequence[PriorSweep] = (),
) -> int:
    """Runs the trials of a sweep that are not done yet, and prints a summary of the sweep.

    Also logs the sweep to the tracking store, and writes the files of its result. If the sweep is already complete,
    only writes the files again and prints the summary.

    Args:
        plan: The plan, as returned by `SweepFolder.append_missing_trials`.
        folder: The folder of the sweep; this process holds its lock.
        ledger: The ledger of the sweep.
        slots: The number of trials that run in parallel.
        run_trials: Lets Hydra run the scheduler.
        prior_sweeps: Earlier sweeps whose results the sampler starts from.

    Returns:
        The exit code: 1 if a trial failed, or was not started because other trials failed, else 0.
    """
    task = TrialTask(plan.name, plan.objective, prunes=plan.policy.pruner != OFF)
    sweep = SweepScheduler(plan.trials, plan.policy, folder, ledger, task)
    run = SweepTracker(plan, sweep.outcomes, sweep.note)
    sweep.is_finished, sweep.upload_run = run.is_finished, run.upload_run
    sweep.load_ledger()
    if plan.search and plan.objective:
        sweep.build_queue = partial(SearchQueue, plan.search, plan.objective, folder, ledger, prior_sweeps)
    if plan.policy.pruner != OFF and plan.objective:
        sweep.build_pruner = partial(
            TrialPruner, plan.policy.pruner, plan.objective, plan.epochs, ledger, plan.policy.min_epochs
        )
    if ledger.is_complete and not sweep.outcomes.waiting:
        _print_summary(
            plan, folder, sweep, summarize_sweep(folder, ledger, plan.objective, sweep.trials, sweep.outcomes)
        )
        return 0
    if sweep.outcomes.waiting:
        start_fork_server()  # the server imports TensorFlow while the store is opened
    with _record_session(ledger, sweep.outcomes, slots), run.open_run(ledger.parent_run_id):
        sweep.adopt_finished()
        if sweep.outcomes.waiting:
            with SweepScreen(
                sweep.trials, plan.objective, slots=slots, done=sweep.outcomes.done, pruned=sweep.outcomes.pruned
            ) as screen:
                sweep.listeners += [screen, run, EpochFile(folder.epochs)]
                sweep.prepare = lambda: _prepare_trials(sweep, run, task, ledger, slots)
                run_trials(sweep)
        if plan.search:
            folder.write_overview(folder.read_header(), sweep.trials)
        result = summarize_sweep(folder, ledger, plan.objective, sweep.trials, sweep.outcomes)
        run.log_result(result)
    _print_summary(plan, folder, sweep, result)
    return 1 if sweep.outcomes.failed or sweep.outcomes.waiting else 0


@contextmanager
def _record_session(ledger: Ledger, outcomes: TrialOutcomes, slots: int) -> Iterator[None]:
    """Records in the ledger that this process starts to work on the sweep, and with which status it ends."""
    ledger.repair()
    ledger.record_session_start(collect_process_info(), slots)
    try:
        yield
    except BaseException as error:
        ledger.record_session_end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    ledger.record_session_end("FAILED" if outcomes.failed or outcomes.waiting else "FINISHED")


def _prepare_trials(sweep: SweepScheduler, run: SweepTracker, task: TrialTask, ledger: Ledger, slots: int) -> None:
    """Waits for the parent run, and runs a smoke test of each new architecture, before the first trial starts."""
    untested: dict[str, Trial] = {}
    for trial in sweep.trials:
        if trial.number not in sweep.outcomes.waiting or ledger.get_trial_record(trial.number).attempts:
            continue  # it is done, or an attempt has already tested its architecture
        if (architecture := build_architecture_key(trial)) not in ledger.tested_architectures:
            untested.setdefault(architecture, trial)

    def wait_for_parent_run() -> None:
        """Waits until the sweep's parent run exists, and passes its ID to the trials and to the ledger."""
        task.parent_run_id = run.wait_until_created()
        if task.parent_run_id:
            ledger.record_parent(task.parent_run_id)

    smoke_test_architectures(
        untested,
        ledger.record_smoke_test,
        sweep.folder.logs,
        slots,
        sweep.folder.trials_lock_file,
        after_start=wait_for_parent_run,
    )


def _print_summary(plan: SweepPlan, folder: SweepFolder, sweep: SweepScheduler, result: SweepResult) -> None:
    """Prints the ranking, the winner and the failed trials of a sweep."""
    failed = []
    for trial in sweep.trials:
        if reason := sweep.outcomes.failed.get(trial.number):
            status = build_status(trial, plan.objective, log=_make_path_relative(folder.get_log_file(trial.number)))
            status.state, status.reason = TrialState.FAILED, reason
            failed.append(status)
    columns, rows = build_ranking_table(result.ranking)
    print_summary(
        SweepReport(
            name=plan.name,
            folder=_make_path_relative(folder.path),
            columns=columns,
            ranking=rows,
            verdict=result.ranking.format_verdict(),
            winner=result.winner,
            failed=failed,
            ui=None if plan.store is None else build_ui_command(plan.store.uri, plan.name),
        )
    )


def _make_path_relative(path: Path) -> str:
    """Returns a path relative to the working directory."""
    return os.path.relpath(path)
