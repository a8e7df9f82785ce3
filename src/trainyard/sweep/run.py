"""Runs a sweep from its plan to its result, or resumes it: lock, ledger, parent run, trials, ranking and files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

from trainyard.config import BASIC_LAUNCHER, FORK_LAUNCHER, get_override_key
from trainyard.errors import ConfigError, TrackingError
from trainyard.evaluation import Trial
from trainyard.sweep.best_reports import find_best_results, write_reports_in_parallel
from trainyard.sweep.folder import SWEEPS, SweepFolder, lock_sweep, move_aside
from trainyard.sweep.folder_checks import check_definition, check_folder, check_ledger
from trainyard.sweep.launch.devices import RAY_LAUNCHER, SLURM_LAUNCHER, allocate_slots
from trainyard.sweep.launch.process_pool import start_fork_server
from trainyard.sweep.ledger import Ledger
from trainyard.sweep.listener import SweepBar, SweepListener
from trainyard.sweep.plan import SweepPlan, make_plan
from trainyard.sweep.pruner import OFF, TrialPruner
from trainyard.sweep.recorder import TrialOutcomes, TrialRecorder
from trainyard.sweep.scheduler import SweepScheduler
from trainyard.sweep.smoke_test import smoke_test_architectures
from trainyard.sweep.summary import SweepResult, rank_trials, summarize_sweep
from trainyard.sweep.tracking import SweepTracker
from trainyard.sweep.trial_queue import SearchQueue, TrialQueue
from trainyard.sweep.trial_runner import open_trial_runner
from trainyard.sweep.trial_task import TrialTask
from trainyard.sweep.warm_start import PriorSweep, load_prior_sweeps
from trainyard.system import (
    collect_process_info,
    configure_xla_cache,
    count_available_cores,
    explain_disk_full,
    raise_on_signals,
)


class OpenDisplay(Protocol):
    """Opens a display that follows the trials of a sweep while they run."""

    def __call__(
        self, trials: Sequence[Trial], objective: str | None, *, slots: int, outcomes: TrialOutcomes
    ) -> AbstractContextManager[SweepListener]:
        """Returns a display of all `trials`, of which `slots` run in parallel, or 0 if the launcher decides.

        `outcomes` are those of earlier sessions.
        """


def run_sweep(
    overrides: Sequence[str] = (),
    *,
    config_name: str | None = None,
    config_dir: Path | str | None = None,
    fresh: bool = False,
    display: OpenDisplay = SweepBar,
) -> SweepResult:
    """Plans a sweep, and runs its trials in parallel, each in a separate process. An interrupted sweep is resumed.

    Args:
        overrides: Overrides in Hydra's grammar, with several values for the settings to vary. As in
            ``trainyard sweep``, ``sweep.seeds`` repeats each point, and ``hydra.launcher.n_jobs`` limits the trials
            that run at the same time.
        config_name: The name of the primary config; None uses the default.
        config_dir: An additional folder with configs.
        fresh: Whether to start over. Files of an earlier start are kept in another folder.
        display: Opens a display that follows the sweep. The default is a progress bar in a notebook, and nothing
            elsewhere.

    Returns:
        The ranking, the winner, and the outcomes of all trials. Failed trials raise no exception.

    Raises:
        ConfigError: If the config of a trial is invalid, or the sweep is already running. Nothing was run.
        TrackingError: If the tracking store failed. The folder of the sweep contains all results.
        KeyboardInterrupt: If a signal interrupted the sweep. The same call resumes it.

    Example:
        >>> from trainyard import run_sweep
        >>> result = run_sweep(["experiment=quickstart", "optimizer.learning_rate=0.01,0.001"])  # doctest: +SKIP
        >>> print(result.ranking.format_verdict())  # doctest: +SKIP
    """
    plan = make_plan(overrides, config_name, Path(config_dir) if config_dir else None)
    return run_plan(plan, fresh=fresh, display=display)


def run_plan(plan: SweepPlan, *, fresh: bool = False, display: OpenDisplay = SweepBar) -> SweepResult:
    """Runs the trials of a planned sweep that are not done yet; see `run_sweep`."""
    folder = find_folder(plan)
    slots, threads = allocate_slots_and_threads(plan)
    check_plan(plan, fresh=fresh)
    resumes_later = "and run the same command again, which resumes the sweep"
    with raise_on_signals(), explain_disk_full(folder.path, resumes_later), lock_sweep(folder, print):
        resumes = not fresh and folder.plan.exists() and folder.has_started
        prior_sweeps = [] if resumes else find_prior_sweeps(plan)
        if fresh and (aside := move_aside(folder)):
            print(f"earlier files of this sweep: moved to {os.path.relpath(aside)}")  # noqa: T201 - no display yet
        if resumes:
            check_definition(folder, plan)
        else:
            folder.write_plan(plan, threads)
        plan = folder.append_missing_trials(plan)
        if resumes:
            check_ledger(folder, plan)
        thread_numbers = {number or folder.threads for number in plan.threads}
        if len(thread_numbers) == 1 and (number := thread_numbers.pop()):
            configure_xla_cache(number)  # its location depends on the number, and TensorFlow reads it when imported
        return _run_trials(plan, folder, slots, prior_sweeps=prior_sweeps, display=display)


def find_folder(plan: SweepPlan) -> SweepFolder:
    """Returns the folder of a sweep: ``hydra.sweep.dir`` if the overrides set it, else ``sweeps/NAME``."""
    is_named = any(get_override_key(override) == "hydra.sweep.dir" for override in plan.overrides)
    return SweepFolder(Path(str(plan.hydra_section.sweep.dir)) if is_named else SWEEPS / plan.name)


def find_prior_sweeps(plan: SweepPlan) -> list[PriorSweep]:
    """Returns the earlier sweeps whose results the sampler starts from (``sweep.warm_start``)."""
    if plan.space is None:
        return []
    return load_prior_sweeps(plan.policy.warm_start, plan.policy.objective, plan.space.axes, plan.policy.sampler)


def allocate_slots_and_threads(plan: SweepPlan) -> tuple[int | None, int | None]:
    """Returns the number of trials that run in parallel, and the default number of threads of a trial.

    The first is None if the launcher or its cluster decides; the second is None if TensorFlow chooses. Raises
    ConfigError if a setting of the launcher is invalid, or does not fit the sweep.
    """
    launcher = plan.hydra_section.launcher
    for path, value in (
        ("launcher.time_limit_seconds", launcher.get("time_limit_seconds")),
        ("sweeper.max_batch_size", plan.hydra_section.sweeper.get("max_batch_size")),
    ):
        if value is not None and not value > 0:
            raise ConfigError(f"hydra.{path}: expected a number above 0, or null, got {value}")
    if plan.hydra_section.job.chdir:
        raise ConfigError("hydra.job.chdir: expected false, because trials run in the working directory, got true")
    if launcher._target_ != FORK_LAUNCHER and plan.policy.pruner != OFF:
        raise ConfigError("sweep.pruner: requires hydra/launcher=fork. Use that launcher, or set sweep.pruner=off")
    if launcher._target_ == FORK_LAUNCHER:
        slots = min(len(allocate_slots(launcher.n_jobs, os.environ)), len(plan.trials))
        return slots, max(1, count_available_cores() // slots)
    if launcher._target_ == RAY_LAUNCHER:
        return launcher.n_jobs, max(1, int(launcher.num_cpus))
    if launcher._target_ == BASIC_LAUNCHER:
        strict = {trial.config["training"]["determinism"] == "strict" for trial in plan.trials}
        for path, values in (("training.threads", plan.threads), ("training.determinism=strict", strict)):
            if len(values) > 1:
                raise ConfigError(
                    f"{path}: expected the same for all trials, because they share a process. Use hydra/launcher=fork"
                )
        return 1, None
    return None, None


def check_plan(plan: SweepPlan, *, fresh: bool) -> None:
    """Raises ConfigError unless all machines can reach the tracking store and the folder can be used."""
    launcher = plan.hydra_section.launcher
    cluster = launcher._target_ == RAY_LAUNCHER and (launcher.address or os.environ.get("RAY_ADDRESS"))
    if (cluster or launcher._target_ == SLURM_LAUNCHER) and plan.store and plan.store.sqlite_file:
        raise ConfigError(
            "tracking.uri: expected the URI of a server, because trials run on several machines, got the SQLite file "
            f"{plan.store.sqlite_file}. Start a server (mlflow server --backend-store-uri ... --host ...), and set "
            "its address: tracking=server tracking.uri=http://HOST:PORT"
        )
    check_folder(find_folder(plan), fresh=fresh)


def _run_trials(
    plan: SweepPlan, folder: SweepFolder, slots: int | None, *, prior_sweeps: Sequence[PriorSweep], display: OpenDisplay
) -> SweepResult:
    """Runs the remaining trials, if any, logs the sweep to the tracking store, and writes the files of its result."""
    recorder = TrialRecorder(plan.trials, folder, plan.objective)
    ledger, outcomes = folder.ledger, recorder.outcomes

    tracker = SweepTracker(plan, folder, recorder.notify)
    if ledger.is_complete and not outcomes.waiting and tracker.has_runs(outcomes.done):
        ranking = rank_trials(recorder.trials, outcomes, plan.objective)
        return summarize_sweep(folder, recorder.trials, outcomes, ranking)
    has_fork_server = bool(outcomes.waiting)
    if has_fork_server:
        start_fork_server()  # the server imports TensorFlow while the store is opened
    with _record_session(ledger, outcomes, slots or 1), tracker.open_run():
        recorder.adopt_finished(tracker)
        problem = recorder.reconcile(tracker)
        if outcomes.waiting:
            if problem:
                recorder.notify(problem)
            with display(recorder.trials, plan.objective, slots=slots or 0, outcomes=outcomes) as screen:
                recorder.listeners += [screen, tracker]
                parent_run_id = _prepare_trials(recorder, tracker, folder, slots or 1)
                task = TrialTask(plan.name, plan.objective, plan.policy.pruner != OFF, parent_run_id)
                queue = SearchQueue(plan.space, plan.policy, folder, prior_sweeps) if plan.space else TrialQueue()
                pruner = None
                if plan.policy.pruner != OFF:
                    pruner = TrialPruner(plan.policy, plan.epochs, ledger, recorder.trials)
                    if warning := pruner.find_ineffective_setting():
                        recorder.notify(f"warning: {warning}")
                with open_trial_runner(plan, folder, task) as runner:
                    SweepScheduler(plan.policy, recorder, queue, runner, runs=tracker, pruner=pruner).run()
                problem = recorder.reconcile(tracker)
        else:
            tracker.wait_until_created()
        if plan.space:
            folder.write_overview(folder.read_header(), recorder.trials)
        ranking = rank_trials(recorder.trials, outcomes, plan.objective)
        best = find_best_results(ranking, recorder.trials, outcomes)
        parallel = write_reports_in_parallel(best, folder, slots or 1, recorder.notify)
        with parallel if has_fork_server else nullcontext():
            result = summarize_sweep(folder, recorder.trials, outcomes, ranking)
            tracker.log_result(result)
        tracker.log_reports(best)
        if problem:
            raise TrackingError(problem)
    return result


@contextmanager
def _record_session(ledger: Ledger, outcomes: TrialOutcomes, slots: int) -> Iterator[None]:
    """Records in the ledger that this process starts to work on the sweep, and with which status it ends."""
    ledger.record_session_start(collect_process_info(), slots)
    try:
        yield
    except BaseException as error:
        ledger.record_session_end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    ledger.record_session_end("FAILED" if outcomes.failed or outcomes.waiting else "FINISHED")


def _prepare_trials(recorder: TrialRecorder, tracker: SweepTracker, folder: SweepFolder, slots: int) -> str | None:
    """Runs a smoke test of each new architecture while the parent run is created. Returns the id of the parent run.

    The id is None if tracking is off.
    """
    ledger = folder.ledger
    waiting = map(recorder.get_trial, recorder.outcomes.waiting)
    # an attempt has already tested the architecture of its trial
    untested = [trial for trial in waiting if not ledger.get_trial_record(trial.number).attempts]

    run_id: str | None = None

    def wait_for_parent_run() -> None:
        """Waits until the sweep's parent run exists, and checks that it has no finished runs of waiting trials."""
        nonlocal run_id
        run_id = tracker.wait_until_created()
        recorder.check_untrained(tracker)

    smoke_test_architectures(untested, folder, slots, after_start=wait_for_parent_run)
    return run_id
