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

from trainyard.cli.hydra_arguments import config_dir, parse_arguments, wants_our_sweeper
from trainyard.config.compose import PRIMARY, VERSION_BASE, compose_trees, expand_sweep, key_of, to_run_config
from trainyard.config.search_path import prepare_hydra, shipped_conf
from trainyard.config.security import refuse_doors
from trainyard.config.validation import require_files
from trainyard.errors import ConfigError, TrainyardError
from trainyard.system.signals import signals_raise

if TYPE_CHECKING:
    from argparse import Namespace


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
    options = parse_arguments(arguments)
    if wants_our_sweeper(options):
        from trainyard.cli.sweep.command import run_sweep

        return run_sweep(options)
    check_arguments(options)
    if options.help:
        from trainyard.cli.help import print_train_help

        print_train_help(config_dir(options))
        return 0
    return _hand_over(arguments, options)


def repeat_interrupted(arguments: Sequence[str]) -> list[str]:
    """Adds to ``resume=RUN_ID`` the overrides of that run, except those that are given anew.

    Raises:
        ConfigError: If there is no such run here.
    """
    options = parse_arguments(arguments)
    given = {key_of(override): override for override in options.overrides}
    if "resume" not in given:
        return list(arguments)
    reference = given["resume"].partition("=")[2].strip("'\"")
    if reference.lower() == "null":
        return list(arguments)
    from trainyard.runs.resume import find_folder, recorded_overrides

    if options.multirun:
        raise ConfigError("resume: goes on with one run, and --multirun has several. Leave one of them out")
    tracking = [override for override in options.overrides if key_of(override).partition(".")[0] == "tracking"]
    tree, _ = compose_trees(tracking, config_name=options.config_name or PRIMARY, config_dir=config_dir(options))
    uri = to_run_config(tree).tracking.resolve_uri(os.environ, Path.cwd())
    repeated = [
        override for override in recorded_overrides(find_folder(reference, uri)) if key_of(override) not in given
    ]
    kept = [argument for argument in arguments if argument != given["resume"]]
    return [*kept, *repeated, f"resume='{reference}'"]  # in quotes, or an id of digits would be taken for a number


def check_arguments(options: Namespace) -> None:
    """Composes and checks every job, so that a mistake is found before the first begins.

    Args:
        options: What stands after ``trainyard train``, parsed.

    Raises:
        ConfigError: If a config is wrong.
    """
    folder = config_dir(options)
    if options.help:  # --info and --hydra-help compose too, so they are checked
        prepare_hydra(folder)
        return
    for overrides in expand_sweep(options.overrides) if options.multirun else [options.overrides]:
        tree, hydra_section = compose_trees(overrides, config_name=options.config_name or PRIMARY, config_dir=folder)
        refuse_doors(hydra_section, overrides)
        config = to_run_config(tree)
        config.tracking.resolve_uri(os.environ, Path.cwd())
        if not options.cfg and not options.info:
            require_files(config)


def _hand_over(arguments: Sequence[str], options: Namespace) -> int:
    """Lets Hydra run the jobs, and returns the exit code that they came to."""
    from trainyard.cli.jobs import RunTask

    flags = list(arguments)
    for override in reversed(options.overrides):  # from the end: a flag's value may read the same
        del flags[len(flags) - 1 - flags[::-1].index(override)]
    task = RunTask()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # what Hydra raises comes to us, not to the screen
    sys.argv = ["trainyard train", *flags, *options.overrides]
    main: Any = hydra.main(version_base=VERSION_BASE, config_path=str(shipped_conf()), config_name=PRIMARY)(task)
    try:
        with signals_raise():
            main()
    except OSError as error:  # Hydra makes the run's folder before it hands over
        raise TrainyardError(f"the run's folder can't be made: {error}. Work where you may write") from error
    return task.exit_code
