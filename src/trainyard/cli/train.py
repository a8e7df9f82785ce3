"""``trainyard train``: validates the config, then lets Hydra run the training.

Hydra's conventions apply (override grammar, ``--cfg``, ``--config-dir``, ``--multirun``, run folders). But Hydra
reports a mistake with exit code 1, and only after it has started. So everything is composed and validated here first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import hydra

from trainyard.cli.hydra_arguments import get_config_dir, parse_arguments, uses_trainyard_sweeper
from trainyard.config import (
    PRIMARY_CONFIG,
    VERSION_BASE,
    build_run_config,
    check_files_exist,
    compose_trees,
    expand_sweep,
    find_shipped_config_folder,
    forbid_code_execution,
    get_override_key,
    normalize_overrides,
    prepare_hydra,
)
from trainyard.errors import ConfigError, TrainyardError
from trainyard.system import raise_on_signals

if TYPE_CHECKING:
    from argparse import Namespace


def train_command(arguments: Sequence[str]) -> int:
    """Runs ``trainyard train``.

    Args:
        arguments: The arguments after the command, in Hydra's grammar.

    Returns:
        The exit code.

    Raises:
        ConfigError: If the config is wrong; nothing was run.
    """
    arguments = add_recorded_overrides(normalize_overrides(arguments))
    options = parse_arguments(arguments)
    if uses_trainyard_sweeper(options):
        from trainyard.cli.sweep.command import run_sweep

        return run_sweep(options)
    check_arguments(options)
    if options.help:
        from trainyard.cli.help import print_train_help

        print_train_help(get_config_dir(options))
        return 0
    return _run_with_hydra(arguments, options)


def add_recorded_overrides(arguments: Sequence[str]) -> list[str]:
    """Adds the recorded overrides of the run in ``resume=RUN_ID``, except those that the arguments set.

    Raises:
        ConfigError: If there is no such run.
    """
    options = parse_arguments(arguments)
    overrides_by_key = {get_override_key(override): override for override in options.overrides}
    if "resume" not in overrides_by_key:
        return list(arguments)
    reference = overrides_by_key["resume"].partition("=")[2].strip("'\"")
    if reference.lower() == "null":
        return list(arguments)
    from trainyard.runs import find_run_folder, load_recorded_overrides
    from trainyard.tracking import TrackingStore

    if options.multirun:
        raise ConfigError("resume: resumes a single run, but --multirun has several. Remove one of the two")
    tracking = [
        override for override in options.overrides if get_override_key(override).partition(".")[0] == "tracking"
    ]
    tree, _ = compose_trees(
        tracking, config_name=options.config_name or PRIMARY_CONFIG, config_dir=get_config_dir(options)
    )
    store = TrackingStore.from_config(build_run_config(tree).tracking)
    recorded = [
        override
        for override in load_recorded_overrides(find_run_folder(reference, store))
        if get_override_key(override) not in overrides_by_key
    ]
    other_arguments = [argument for argument in arguments if argument != overrides_by_key["resume"]]
    quoted = f"resume='{reference}'"  # because an id of digits would be parsed as a number
    return [*other_arguments, *recorded, quoted]


def check_arguments(options: Namespace) -> None:
    """Composes and validates the config of every job, before the first job starts.

    Args:
        options: The parsed arguments of ``trainyard train``.

    Raises:
        ConfigError: If a config is invalid.
    """
    from trainyard.tracking import TrackingStore

    folder = get_config_dir(options)
    if options.help:  # --info and --hydra-help compose too, so they are checked
        prepare_hydra(folder)
        return
    for overrides in expand_sweep(options.overrides) if options.multirun else [options.overrides]:
        tree, hydra_section = compose_trees(
            overrides, config_name=options.config_name or PRIMARY_CONFIG, config_dir=folder
        )
        forbid_code_execution(hydra_section, overrides)
        config = build_run_config(tree)
        TrackingStore.from_config(config.tracking)
        if not options.cfg and not options.info:
            check_files_exist(config)


def _run_with_hydra(arguments: Sequence[str], options: Namespace) -> int:
    """Trains with `hydra.main`: one job, or several if another sweeper than Trainyard's is selected.

    `options` are the parsed `arguments`, which replace `sys.argv`. Returns the exit code of a single job; a failure in
    a multirun is raised.
    """
    from trainyard.cli.jobs import RunTask

    flags = list(arguments)
    for override in reversed(options.overrides):  # from the end, because a flag's value may be the same text
        del flags[len(flags) - 1 - flags[::-1].index(override)]
    task = RunTask()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors instead of printing them
    sys.argv = ["trainyard train", *flags, *options.overrides]
    main: Any = hydra.main(
        version_base=VERSION_BASE, config_path=str(find_shipped_config_folder()), config_name=PRIMARY_CONFIG
    )(task)
    try:
        with raise_on_signals():
            main()
    except OSError as error:  # Hydra creates the run's folder before it calls the task
        raise TrainyardError(
            f"the run's folder can't be created: {error}. Change to a directory that you can write to"
        ) from error
    return task.exit_code
