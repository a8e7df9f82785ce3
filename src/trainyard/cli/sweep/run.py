"""A sweep from the moment its folder is ours to its last line: what is done already, what is left, what came out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from trainyard.cli.jobs import TrialTask
from trainyard.cli.screen import command_to_see
from trainyard.cli.sweep.screen import SweepScreen
from trainyard.cli.sweep.tables import SweepSummary, print_summary, ranking_table
from trainyard.evaluation.trials import Trial
from trainyard.sweep.folder import SweepFolder
from trainyard.sweep.launch.process_pool import start_server
from trainyard.sweep.ledger import Ledger
from trainyard.sweep.plan import Plan
from trainyard.sweep.progress import State, status_of
from trainyard.sweep.progress_file import EpochFile
from trainyard.sweep.pruner import OFF, Pruning
from trainyard.sweep.scheduler import PlannedSweep, Tally
from trainyard.sweep.search import Search
from trainyard.sweep.smoke_test import architecture_of, try_architectures
from trainyard.sweep.summary import Conclusion, conclude
from trainyard.sweep.tracking import SweepRun
from trainyard.sweep.warm_start import Experience
from trainyard.system.environment import describe_process


def carry_out(
    plan: Plan,
    folder: SweepFolder,
    ledger: Ledger,
    places: int,
    hand_over: Callable[[PlannedSweep], None],
    *,
    experience: Sequence[Experience] = (),
) -> int:
    """Runs what of a sweep is not done yet, and tells what came out.

    Args:
        plan: Of the sweep, as its folder has it.
        folder: Of the sweep; ours alone.
        ledger: Of the sweep.
        places: How many trials run side by side.
        hand_over: Has Hydra run the sweep.
        experience: What its sampler knows from earlier sweeps.

    Returns:
        The exit code: 1 if any trial failed, or was not started because others did.
    """
    work = TrialTask(plan.name, plan.objective, prunes=plan.policy.pruner != OFF)
    sweep = PlannedSweep(plan.trials, plan.policy, folder, ledger, work)
    run = SweepRun(plan, sweep.tally, sweep.note)
    sweep.is_finished, sweep.bring_in = run.is_finished, run.bring_in
    sweep.take_up()
    if plan.search and plan.objective:
        sweep.make_queue = partial(Search, plan.search, plan.objective, folder, ledger, experience)
    if plan.policy.pruner != OFF and plan.objective:
        sweep.make_pruning = partial(
            Pruning, plan.policy.pruner, plan.objective, plan.epochs, ledger, plan.policy.min_epochs
        )
    if ledger.is_closed and not sweep.tally.waiting:
        _tell(plan, folder, sweep, conclude(folder, ledger, plan.objective, sweep.trials, sweep.tally))
        return 0
    if sweep.tally.waiting:
        start_server()  # it imports TensorFlow while the store is opened
    with _session(ledger, sweep.tally, places), run.opened(ledger.parent):
        sweep.recover()
        if sweep.tally.waiting:
            with SweepScreen(
                sweep.trials, plan.objective, places=places, done=sweep.tally.done, pruned=sweep.tally.pruned
            ) as screen:
                sweep.listeners += [screen, run, EpochFile(folder.epochs)]
                sweep.prepare = lambda: _prepare(sweep, run, work, ledger, places)
                hand_over(sweep)
        if plan.search:
            folder.write_overview(folder.read_header(), sweep.trials)
        conclusion = conclude(folder, ledger, plan.objective, sweep.trials, sweep.tally)
        run.conclude(conclusion)
    _tell(plan, folder, sweep, conclusion)
    return 1 if sweep.tally.failed or sweep.tally.waiting else 0


@contextmanager
def _session(ledger: Ledger, tally: Tally, places: int) -> Iterator[None]:
    """Writes into the ledger that this process takes the sweep up, and how that ended."""
    ledger.repair()
    ledger.opened(describe_process(), places)
    try:
        yield
    except BaseException as error:
        ledger.closed("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    ledger.closed("FAILED" if tally.failed or tally.waiting else "FINISHED")


def _prepare(sweep: PlannedSweep, run: SweepRun, work: TrialTask, ledger: Ledger, places: int) -> None:
    """Has the store ready, and tries the architectures, before the first trial starts."""
    untried: dict[str, Trial] = {}
    for trial in sweep.trials:
        if trial.number not in sweep.tally.waiting or ledger.account(trial.number).attempts:
            continue  # it is done, or has shown what it does
        if (architecture := architecture_of(trial)) not in ledger.tried:
            untried.setdefault(architecture, trial)

    def confirm() -> None:
        work.parent_run_id = run.confirm()
        if work.parent_run_id:
            ledger.has_parent(work.parent_run_id)

    try_architectures(untried, ledger.works, sweep.folder.logs, places, sweep.folder.held, meanwhile=confirm)


def _tell(plan: Plan, folder: SweepFolder, sweep: PlannedSweep, conclusion: Conclusion) -> None:
    """Prints what the sweep came to, the trials that failed last."""
    failed = []
    for trial in sweep.trials:
        if reason := sweep.tally.failed.get(trial.number):
            status = status_of(trial, plan.objective, log=_shown(folder.log_file(trial.number)))
            status.state, status.reason = State.FAILED, reason
            failed.append(status)
    columns, rows = ranking_table(conclusion.ranking)
    print_summary(
        SweepSummary(
            name=plan.name,
            folder=_shown(folder.path),
            columns=columns,
            ranking=rows,
            verdict=conclusion.ranking.verdict(),
            winner=conclusion.winner,
            failed=failed,
            ui=None if plan.uri is None else command_to_see(plan.uri, plan.name),
        )
    )


def _shown(path: Path) -> str:
    return os.path.relpath(path)
