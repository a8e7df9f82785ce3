"""``trainyard sweep``: plans all trials and runs them, or resumes a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainyard.cli.hydra_arguments import SWEEPER_GROUP, parse_arguments, uses_trainyard_sweeper
from trainyard.cli.sweep.next_steps import build_result_commands, build_sweep_command
from trainyard.config import normalize_overrides, prepare_hydra
from trainyard.errors import ConfigError
from trainyard.sweep import (
    SweepFolder,
    SweepPlan,
    SweepResult,
    allocate_slots_and_threads,
    check_plan,
    find_prior_sweeps,
    make_plan,
    run_plan,
)
from trainyard.system import print_next_steps, print_styled

if TYPE_CHECKING:
    from argparse import Namespace


def sweep_command(arguments: Sequence[str]) -> int:
    """Runs ``trainyard sweep``, and returns the exit code; see `train.train_command`."""
    options = parse_arguments(["--multirun", *normalize_overrides(arguments)])
    if options.help:
        from trainyard.cli.help import print_sweep_help

        prepare_hydra(options.config_dir)
        print_sweep_help(options.config_dir)
        return 0
    if not uses_trainyard_sweeper(options):
        raise ConfigError(
            f"{SWEEPER_GROUP}: trainyard sweep uses Trainyard's sweeper. For another one: trainyard train --multirun"
        )
    return run_sweep_command(options)


def run_sweep_command(options: Namespace) -> int:
    """Plans a sweep, runs the trials that are not done yet, and prints a summary.

    ``--plan`` and ``--status`` only print. Returns the exit code: 1 if a trial failed, or was not started because other
    trials failed, else 0. Raises ConfigError if the sweep cannot be run; nothing was run then.
    """
    if options.status is not None:
        if options.overrides:
            raise ConfigError(f"--status: expected only the name of a sweep, but also got {options.overrides[0]!r}")
        from trainyard.cli.sweep.status import show_status

        show_status(options.status)
        return 0
    plan = make_plan(options.overrides, options.config_name, options.config_dir)
    command = build_sweep_command(options.config_name, options.config_dir, options.overrides)
    if options.plan:
        from trainyard.cli.sweep.tables import print_plan

        slots, threads = allocate_slots_and_threads(plan)
        check_plan(plan, fresh=options.fresh)
        print_plan(plan.trials, plan.duplicates, plan.name, slots, threads)
        for prior_sweep in find_prior_sweeps(plan):
            print_styled(prior_sweep.describe())
        print_next_steps({"run it": command})
        return 0
    result = run_and_print_sweep(plan, fresh=options.fresh)
    print_next_steps(_list_next_steps(result, command))
    return 0 if result.is_complete else 1


def run_and_print_sweep(plan: SweepPlan, *, fresh: bool) -> SweepResult:
    """Runs a planned sweep, and prints its progress and its summary."""
    from trainyard.cli.sweep.live_display import SweepScreen
    from trainyard.cli.sweep.tables import print_summary

    try:
        result = run_plan(plan, fresh=fresh, display=SweepScreen)
    except KeyboardInterrupt as interrupt:
        interrupt.add_note("the same command resumes the sweep")
        raise
    print_summary(plan.name, result)
    return result


def _list_next_steps(result: SweepResult, command: str) -> dict[str, str]:
    """Returns the commands that use the results of a sweep; `command` repeats the trials that failed."""
    steps = {} if result.is_complete else {"retry": command}
    if result.winner:
        steps["train it"] = result.winner.command
    return {**steps, **(build_result_commands(SweepFolder(result.folder)) if result.ranking.points else {})}
