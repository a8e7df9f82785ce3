"""``trainyard sweep``: plans all trials, then lets Hydra run them with Trainyard's sweeper, or resumes a sweep."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra

from trainyard.cli.hydra_arguments import SWEEPER_GROUP, get_config_dir, parse_arguments, uses_trainyard_sweeper
from trainyard.config import (
    BASIC_LAUNCHER,
    FORK_LAUNCHER,
    PRIMARY_CONFIG,
    VERSION_BASE,
    find_shipped_config_folder,
    get_override_key,
    normalize_overrides,
    prepare_hydra,
)
from trainyard.errors import ConfigError
from trainyard.sweep import (
    RAY_LAUNCHER,
    SLURM_LAUNCHER,
    SWEEPS,
    Ledger,
    PriorSweep,
    SweepFolder,
    SweepPlan,
    allocate_slots,
    check_definition,
    check_folder,
    load_prior_sweeps,
    lock_sweep,
    make_plan,
    move_aside,
)
from trainyard.system import configure_xla_cache, count_available_cores, gc_paused, raise_on_signals

if TYPE_CHECKING:
    from argparse import Namespace


def sweep_command(arguments: Sequence[str]) -> int:
    """Runs ``trainyard sweep``, and returns the exit code; see `train.train_command`."""
    options = parse_arguments(["--multirun", *normalize_overrides(arguments)])
    if options.help:
        from trainyard.cli.help import print_sweep_help

        prepare_hydra(get_config_dir(options))
        print_sweep_help(get_config_dir(options))
        return 0
    if not uses_trainyard_sweeper(options):
        raise ConfigError(
            f"{SWEEPER_GROUP}: trainyard sweep uses Trainyard's sweeper. For another one: trainyard train --multirun"
        )
    return run_sweep(options)


def run_sweep(options: Namespace) -> int:
    """Plans a sweep, and runs the trials that are not done yet. ``--plan`` and ``--status`` only print.

    Args:
        options: The parsed arguments of the command.

    Returns:
        The exit code.

    Raises:
        ConfigError: If the config of a trial is invalid, or the sweep is already running; nothing was run.
    """
    if options.status is not None:
        if options.overrides:
            raise ConfigError(f"--status: expected only the name of a sweep, but also got {options.overrides[0]!r}")
        from trainyard.cli.sweep.status import show_status

        show_status(options.status)
        return 0
    with gc_paused():  # composing creates many objects, and none of them is garbage
        plan = make_plan(options.overrides, options.config_name, get_config_dir(options))
    slots, threads = _allocate_slots_and_threads(plan)
    _check_store_is_server(plan)
    folder = SweepFolder(_find_folder(options.overrides, plan))
    check_folder(folder)
    if options.plan:
        from trainyard.cli.sweep.tables import print_plan

        print_plan(plan.trials, plan.duplicates, plan.name, slots, threads)
        for prior_sweep in _load_prior_sweeps(plan):
            print(prior_sweep.describe())  # noqa: T201 - part of the plan
        return 0
    from trainyard.cli.sweep.run import run_planned_sweep

    with raise_on_signals(), lock_sweep(folder, print):
        resumes = not options.fresh and folder.plan.exists() and Ledger(folder.ledger).has_started
        prior_sweeps = [] if resumes else _load_prior_sweeps(plan)
        if options.fresh and (aside := move_aside(folder)):
            print(f"earlier files of this sweep: moved to {os.path.relpath(aside)}")  # noqa: T201 - no screen yet
        ledger = Ledger(folder.ledger)
        if resumes:
            check_definition(folder, plan)
        else:
            folder.write_plan(plan, threads)
        folder.repair()
        plan = folder.append_missing_trials(plan)
        match [*{threads_of or folder.threads for threads_of in plan.threads}]:
            case [int(number)]:  # the XLA cache depends on it, and must be configured before TensorFlow is imported
                configure_xla_cache(number)
        return run_planned_sweep(
            plan,
            folder,
            ledger,
            slots,
            lambda sweep: _run_with_hydra(options, folder, sweep),
            prior_sweeps=prior_sweeps,
        )


def _load_prior_sweeps(plan: SweepPlan) -> list[PriorSweep]:
    """Returns the earlier sweeps whose results the sampler starts from (``sweep.warm_start``)."""
    if plan.search is None or plan.objective is None:
        return []
    return load_prior_sweeps(plan.policy.warm_start, plan.objective, plan.search.space.axes, plan.search.sampler)


def _find_folder(overrides: Sequence[str], plan: SweepPlan) -> Path:
    """Returns the folder of a sweep: ``hydra.sweep.dir`` if the overrides set it, else ``sweeps/NAME``."""
    named = any(get_override_key(override) == "hydra.sweep.dir" for override in overrides)
    return Path(str(plan.hydra_section.sweep.dir)) if named else SWEEPS / plan.name


def _allocate_slots_and_threads(plan: SweepPlan) -> tuple[int, int | None]:
    """Returns the number of trials that run in parallel, and the default number of threads of a trial.

    The first is 1 if a cluster decides; the second is None if TensorFlow chooses.

    Raises:
        ConfigError: If a setting of the launcher is invalid, or does not fit the sweep.
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
    if launcher._target_ != FORK_LAUNCHER and plan.policy.pruner != "off":
        raise ConfigError("sweep.pruner: requires hydra/launcher=fork. Use that launcher, or set sweep.pruner=off")
    if launcher._target_ == FORK_LAUNCHER:
        slots = min(len(allocate_slots(launcher.n_jobs, os.environ)), len(plan.trials))
        return slots, max(1, count_available_cores() // slots)
    if launcher._target_ == RAY_LAUNCHER:
        return launcher.n_jobs or 1, max(1, int(launcher.num_cpus))  # the cluster decides how many fit
    if launcher._target_ == BASIC_LAUNCHER:
        strict = {trial.config["training"]["determinism"] == "strict" for trial in plan.trials}
        for path, values in (("training.threads", plan.threads), ("training.determinism=strict", strict)):
            if len(values) > 1:
                raise ConfigError(
                    f"{path}: expected the same for all trials, because they share a process. Use hydra/launcher=fork"
                )
    return 1, None


def _check_store_is_server(plan: SweepPlan) -> None:
    """Raises ConfigError if trials run on several machines, and the tracking store is a file."""
    launcher = plan.hydra_section.launcher
    cluster = launcher._target_ == RAY_LAUNCHER and (launcher.address or os.environ.get("RAY_ADDRESS"))
    if (cluster or launcher._target_ == SLURM_LAUNCHER) and plan.store and plan.store.sqlite_file:
        raise ConfigError(
            "tracking.uri: expected the URI of a server, because trials run on several machines, got the SQLite file "
            f"{plan.store.sqlite_file}. Start a server (mlflow server --backend-store-uri ... --host ...), and set "
            "its address: tracking=server tracking.uri=http://HOST:PORT"
        )


def _run_with_hydra(options: Namespace, folder: SweepFolder, task: Any) -> None:  # noqa: ANN401 - a task function
    """Calls `hydra.main` with Trainyard's sweeper, which runs `task`, the scheduler.

    Replaces `sys.argv`, and sets the environment variable HYDRA_FULL_ERROR. The sweeper and the sweep folder replace
    those in the overrides.
    """
    flags = ["--multirun"]
    for flag in ("config_name", "config_dir"):
        if value := getattr(options, flag):
            flags += [f"--{flag.replace('_', '-')}", value]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors instead of printing them
    escaped = str(folder.path).replace("'", "\\'")
    fixed = [f"{SWEEPER_GROUP}=trainyard", f"hydra.sweep.dir='{escaped}'"]
    other_overrides = [
        override
        for override in options.overrides
        if get_override_key(override) not in (SWEEPER_GROUP, "hydra.sweep.dir")
    ]
    sys.argv = ["trainyard sweep", *flags, *other_overrides, *fixed]
    main: Any = hydra.main(
        version_base=VERSION_BASE, config_path=str(find_shipped_config_folder()), config_name=PRIMARY_CONFIG
    )(task)
    main()
