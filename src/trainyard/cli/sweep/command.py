"""``trainyard sweep``: plan all trials, then have Hydra run them through our sweeper; go on where it was ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra

from trainyard.cli.hydra_arguments import SWEEPER, config_dir, parse_arguments, wants_our_sweeper
from trainyard.config.compose import PRIMARY, VERSION_BASE, key_of
from trainyard.config.search_path import prepare_hydra, shipped_conf
from trainyard.config.security import BASIC_LAUNCHER, FORK_LAUNCHER
from trainyard.errors import ConfigError
from trainyard.sweep.folder import (
    SWEEPS,
    SweepFolder,
    refuse_other_definition,
    refuse_strange_folder,
    set_aside,
    take_over,
)
from trainyard.sweep.launch.devices import RAY_LAUNCHER, SLURM_LAUNCHER, share_out
from trainyard.sweep.ledger import Ledger
from trainyard.sweep.plan import Plan, make_plan
from trainyard.sweep.warm_start import Experience, read_experience
from trainyard.system.garbage import collector_paused
from trainyard.system.signals import signals_raise
from trainyard.system.tensorflow_setup import available_cores
from trainyard.system.uris import sqlite_path
from trainyard.system.xla_cache import prepare_cache

if TYPE_CHECKING:
    from argparse import Namespace


def sweep_command(arguments: Sequence[str]) -> int:
    """Runs ``trainyard sweep``; see `train.train_command`."""
    options = parse_arguments(["--multirun", *arguments])
    if options.help:
        from trainyard.cli.help import print_sweep_help

        prepare_hydra(config_dir(options))
        print_sweep_help(config_dir(options))
        return 0
    if not wants_our_sweeper(options):
        raise ConfigError(f"{SWEEPER}: trainyard sweep is that of Trainyard. For another: trainyard train --multirun")
    return run_sweep(options)


def run_sweep(options: Namespace) -> int:
    """Plans a sweep, and runs what of it is not done yet.

    Args:
        options: What stands after the command, parsed.

    Returns:
        The exit code.

    Raises:
        ConfigError: If a trial is wrong, or the sweep runs already; nothing was run.
    """
    if options.status is not None:
        if options.overrides:
            raise ConfigError(f"--status: expected the name of a sweep alone, got {options.overrides[0]!r} beside it")
        from trainyard.cli.sweep.status import show_status

        show_status(options.status)
        return 0
    with collector_paused():  # composing makes many objects, which all are needed
        plan = make_plan(options.overrides, options.config_name, config_dir(options))
    places, threads = _share_cores(plan)
    _refuse_file_for_many_machines(plan)
    folder = SweepFolder(_folder_of(options.overrides, plan))
    refuse_strange_folder(folder)
    if options.plan:
        from trainyard.cli.sweep.tables import print_plan

        print_plan(plan.trials, plan.duplicates, plan.name, places, threads)
        for earlier in _read_experience(plan):
            print(earlier.describe())  # noqa: T201 - as the plan is
        return 0
    from trainyard.cli.sweep.run import carry_out

    with signals_raise(), take_over(folder, print):
        goes_on = not options.fresh and folder.plan.exists() and Ledger(folder.ledger).has_begun
        experience = [] if goes_on else _read_experience(plan)
        if options.fresh and (aside := set_aside(folder)):
            print(f"what was there of this sweep is kept in {os.path.relpath(aside)}")  # noqa: T201 - no screen yet
        ledger = Ledger(folder.ledger)
        if goes_on:
            refuse_other_definition(folder, plan)
        else:
            folder.write_plan(plan, threads)
        folder.repair()
        plan = folder.restore(plan)
        match [*{threads_of or folder.threads for threads_of in plan.threads}]:
            case [int(number)]:  # what XLA compiles depends on it; its place is said before TensorFlow is imported
                prepare_cache(number)
        return carry_out(
            plan, folder, ledger, places, lambda sweep: _hand_over(options, folder, sweep), experience=experience
        )


def _read_experience(plan: Plan) -> list[Experience]:
    """Returns what the sampler knows from earlier sweeps."""
    if plan.search is None or plan.objective is None:
        return []
    return read_experience(plan.policy.warm_start, plan.objective, plan.search.space.axes, plan.search.sampler)


def _folder_of(overrides: Sequence[str], plan: Plan) -> Path:
    """Returns the folder of a sweep: the one that is named, or its own among all sweeps."""
    named = any(key_of(override) == "hydra.sweep.dir" for override in overrides)
    return Path(str(plan.hydra_section.sweep.dir)) if named else SWEEPS / plan.name


def _share_cores(plan: Plan) -> tuple[int, int | None]:
    """Returns how many trials run side by side, and how many threads those have that don't say so themselves."""
    launcher = plan.hydra_section.launcher
    for path, value in (
        ("launcher.time_limit_seconds", launcher.get("time_limit_seconds")),
        ("sweeper.max_batch_size", plan.hydra_section.sweeper.get("max_batch_size")),
    ):
        if value is not None and not value > 0:
            raise ConfigError(f"hydra.{path}: expected a number above 0, or null, got {value}")
    if plan.hydra_section.job.chdir:
        raise ConfigError("hydra.job.chdir: expected false, as trials work where the sweep was started, got true")
    if launcher._target_ != FORK_LAUNCHER and plan.policy.pruner != "off":
        raise ConfigError("sweep.pruner: hears of a trial's epochs under hydra/launcher=fork alone. Leave one out")
    if launcher._target_ == FORK_LAUNCHER:
        places = min(len(share_out(launcher.n_jobs, os.environ)), len(plan.trials))
        return places, max(1, available_cores() // places)
    if launcher._target_ == RAY_LAUNCHER:
        return launcher.n_jobs or 1, max(1, int(launcher.num_cpus))  # how many there is room for the cluster tells
    if launcher._target_ == BASIC_LAUNCHER:
        strict = {trial.config["training"]["determinism"] == "strict" for trial in plan.trials}
        for path, values in (("training.threads", plan.threads), ("training.determinism=strict", strict)):
            if len(values) > 1:
                raise ConfigError(f"{path}: expected the same for all trials, which share a process: hydra/launcher")
    return 1, None


def _refuse_file_for_many_machines(plan: Plan) -> None:
    """Checks that the store is a server where the trials run on several machines."""
    launcher = plan.hydra_section.launcher
    cluster = launcher._target_ == RAY_LAUNCHER and (launcher.address or os.environ.get("RAY_ADDRESS"))
    if (cluster or launcher._target_ == SLURM_LAUNCHER) and plan.uri and sqlite_path(plan.uri):
        raise ConfigError(
            f"tracking.uri: expected that of a server, got the file {sqlite_path(plan.uri)}: trials run on several "
            "machines, and a sqlite file takes writers from one. Start a server (mlflow server --backend-store-uri "
            "... --host ...), and give its address: tracking=server tracking.uri=http://HOST:PORT"
        )


def _hand_over(options: Namespace, folder: SweepFolder, task: Any) -> None:  # noqa: ANN401 - a task function
    """Lets Hydra run the trials, through our sweeper."""
    flags = ["--multirun"]
    for flag in ("config_name", "config_dir"):
        if value := getattr(options, flag):
            flags += [f"--{flag.replace('_', '-')}", value]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # what Hydra raises comes to us, not to the screen
    escaped = str(folder.path).replace("'", "\\'")
    ours = [f"{SWEEPER}=trainyard", f"hydra.sweep.dir='{escaped}'"]
    given = [override for override in options.overrides if key_of(override) not in (SWEEPER, "hydra.sweep.dir")]
    sys.argv = ["trainyard sweep", *flags, *given, *ours]
    main: Any = hydra.main(version_base=VERSION_BASE, config_path=str(shipped_conf()), config_name=PRIMARY)(task)
    main()
