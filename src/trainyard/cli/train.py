"""``trainyard train``: check the config ourselves, then hand over to Hydra.

Hydra keeps its conventions (override grammar, ``--cfg``, ``--config-dir``, ``--multirun``, run folders), but answers a
mistake with exit code 1, and only after it has begun. So everything is composed and checked here first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra._internal.utils import get_args_parser

from trainyard.cli.help import print_train_help
from trainyard.cli.jobs import RunTask
from trainyard.cli.screen import print_error, print_heading
from trainyard.compose import PRIMARY, VERSION_BASE, compose_trees, expand_sweep, to_run_config
from trainyard.conffiles import groups, prepare_hydra, shipped_conf
from trainyard.errors import ConfigError, TrainyardError
from trainyard.interrupts import signals_raise
from trainyard.rejections import find_path
from trainyard.runtime import available_cores
from trainyard.safety import refuse_doors
from trainyard.sweep.places import share_out
from trainyard.xla_cache import prepare_cache

if TYPE_CHECKING:
    from argparse import Namespace

    from trainyard.schema import RunConfig

FORK_LAUNCHER = "hydra_plugins.trainyard_fork_launcher.ForkLauncher"


def train_command(arguments: Sequence[str]) -> int:
    """Runs ``trainyard train``.

    Args:
        arguments: What stands after the word, in Hydra's grammar.

    Returns:
        The exit code.

    Raises:
        ConfigError: If the config is wrong; nothing was run.
    """
    arguments = repeat_interrupted(arguments)
    options = check_arguments(arguments)
    if options.help:
        print_train_help(_config_dir(options))
        return 0
    flags = list(arguments)
    for override in reversed(options.overrides):  # from the end: a flag's value may read the same
        del flags[len(flags) - 1 - flags[::-1].index(override)]
    return _hand_over([*flags, *options.overrides, *options.added], multirun=options.multirun)


def repeat_interrupted(arguments: Sequence[str]) -> list[str]:
    """Adds to ``resume=RUN_ID`` the overrides of that run, except those that are given anew.

    Raises:
        ConfigError: If there is no such run here.
    """
    options = _parse(arguments)
    given = {_key(override): override for override in options.overrides}
    if "resume" not in given:
        return list(arguments)
    reference = given["resume"].partition("=")[2].strip("'\"")
    if reference.lower() == "null":
        return list(arguments)
    from trainyard.resume import find_folder, recorded_overrides

    if options.multirun:
        raise ConfigError("resume: goes on with one run, and --multirun has several. Leave one of them out")
    tracking = [override for override in options.overrides if _key(override).partition(".")[0] == "tracking"]
    tree, _ = compose_trees(tracking, config_name=options.config_name or PRIMARY, config_dir=_config_dir(options))
    uri = to_run_config(tree).tracking.resolve_uri(os.environ, Path.cwd())
    repeated = [override for override in recorded_overrides(find_folder(reference, uri)) if _key(override) not in given]
    kept = [argument for argument in arguments if argument != given["resume"]]
    return [*kept, *repeated, f"resume='{reference}'"]  # in quotes, or an id of digits would be taken for a number


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def check_arguments(arguments: Sequence[str]) -> Namespace:
    """Parses the arguments, and composes and checks every job, so that a mistake is found before the first begins.

    Args:
        arguments: What stands after ``trainyard train``.

    Returns:
        The arguments, parsed as Hydra does; ``added`` are overrides that go with them.

    Raises:
        ConfigError: If a flag is refused or a config is wrong.
    """
    options = _parse(arguments)
    if options.help:  # --info and --hydra-help compose too, so they are checked
        prepare_hydra(_config_dir(options))
        return options
    options.added = []
    threads, strict = set(), set()
    jobs = expand_sweep(options.overrides) if options.multirun else [options.overrides]
    for overrides in jobs:
        tree, hydra_section = compose_trees(
            overrides, config_name=options.config_name or PRIMARY, config_dir=_config_dir(options)
        )
        refuse_doors(hydra_section)
        config = to_run_config(tree)
        config.tracking.resolve_uri(os.environ, Path.cwd())
        if not options.cfg and not options.info:
            _look_for_data(config)
        threads.add(config.training.threads)
        strict.add(config.training.determinism == "strict")
    if options.multirun and hydra_section.launcher.get("_target_") == FORK_LAUNCHER:
        options.added = _share_cores(threads, hydra_section.launcher.n_jobs, len(jobs))
        return options
    for path, values in (("training.threads", threads), ("training.determinism=strict", strict)):
        if len(values) > 1:
            raise ConfigError(f"{path}: expected the same for all runs of a command, which share a process")
    return options


def _share_cores(threads: set[int | None], n_jobs: int | None, jobs: int) -> list[str]:
    """Prepares for jobs that run side by side, each in a process of its own, forked from one.

    Where nothing was said of threads the cores are shared out. Where all jobs use as many, what XLA compiles is kept,
    for which the place must be said before that one process imports TensorFlow.

    Returns:
        The overrides that say how many threads each has.
    """
    side_by_side = min(len(share_out(n_jobs, os.environ)), jobs)
    added = []
    if threads == {None}:
        threads = {max(1, available_cores() // side_by_side)}
        added = [f"training.threads={number}" for number in threads]
    if len(threads) == 1:
        prepare_cache(*filter(None, threads))
    return added


def _unknown_flag(flag: str, known_groups: Sequence[str]) -> str:
    """Returns the message for a flag that is not there; most are fields, written as other programs want them."""
    key = flag.partition("=")[0].lstrip("-").replace("-", "_")
    message = f"{flag}: there is no such flag. Groups and fields are set without dashes"
    if path := key if key in known_groups else find_path(key):
        return f"{message}: {path}=..."
    return f"{message}: training.epochs=5. All there are: trainyard train --help"


def _look_for_data(config: RunConfig) -> None:
    """Refuses a place of the data that is not there, before a run is begun."""
    path = getattr(config.dataset, "path", None)
    if path and not Path(path).expanduser().exists():
        raise ConfigError(f"dataset.path: expected {path} to be there, and there is no such file or folder")


def _config_dir(options: Namespace) -> Path | None:
    return Path(options.config_dir) if options.config_dir else None


def _parse(arguments: Sequence[str]) -> Namespace:
    parser = get_args_parser()
    parser.prog = "trainyard train"
    parser.allow_abbrev = False  # or --experiment would be --experimental-rerun
    # intermixed, as Hydra itself wants all flags in one place
    options, unknown = parser.parse_known_intermixed_args(list(arguments))
    if unknown:
        raise ConfigError(_unknown_flag(unknown[0], groups(_config_dir(options))))
    if options.shell_completion:
        raise ConfigError('--shell-completion: Trainyard has its own: eval "$(trainyard completion bash)"')
    if options.experimental_rerun:
        raise ConfigError(
            "--experimental-rerun: refused, it unpickles a file. Run the config again: trainyard train ..."
        )
    if options.config_path:
        raise ConfigError(
            "--config-path: Trainyard's own configs are always found. Add yours by ./conf or --config-dir"
        )
    if options.cfg and options.multirun:
        raise ConfigError("--cfg: shows one config, and --multirun has several. Leave one of them out")
    if options.resolve and not options.cfg:
        raise ConfigError("--resolve: goes with --cfg job")
    if options.config_dir and not Path(options.config_dir).is_dir():
        raise ConfigError(f"--config-dir: expected a folder with configs, got {options.config_dir!r}, which is none")
    return options


def _hand_over(arguments: Sequence[str], *, multirun: bool) -> int:
    """Lets Hydra run the jobs, and returns the exit code that they came to."""
    task = RunTask()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # what Hydra raises comes to us, not to the screen
    sys.argv = ["trainyard train", *arguments]
    main: Any = hydra.main(version_base=VERSION_BASE, config_path=str(shipped_conf()), config_name=PRIMARY)(task)
    with signals_raise():
        main()
    if multirun and task.done:
        print_heading("Test accuracy, run by run")
        sys.stdout.write("\n".join(task.done) + "\n")
    if multirun and task.failed:
        print_error(TrainyardError("\n".join([f"{len(task.failed)} of the runs failed:", *task.failed])))
    return task.exit_code
