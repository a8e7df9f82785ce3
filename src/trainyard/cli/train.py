"""``trainyard train``: composes and validates the config, then trains.

Hydra's conventions apply: override grammar, ``--cfg``, ``--config-dir``, ``--multirun``, run folders.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import configure_log
from omegaconf import DictConfig, open_dict

from trainyard.cli.hydra_arguments import build_parser, parse_arguments, uses_trainyard_sweeper
from trainyard.config import (
    PRIMARY_CONFIG,
    RunConfig,
    build_run_config,
    check_files_exist,
    compose_trees,
    expand_sweep,
    forbid_code_execution,
    get_override_key,
    load_plugins,
    normalize_overrides,
    open_hydra,
    prepare_hydra,
)
from trainyard.errors import ConfigError, find_exit_code
from trainyard.system import raise_on_signals


def train_command(arguments: Sequence[str]) -> int:
    """Runs ``trainyard train`` with arguments in Hydra's grammar, and returns the exit code.

    Raises:
        ConfigError: If the config is wrong; nothing was run.
    """
    arguments = add_recorded_overrides(normalize_overrides(arguments))
    options = parse_arguments(arguments)
    if uses_trainyard_sweeper(options):
        from trainyard.cli.sweep.command import run_sweep_command

        return run_sweep_command(options)
    if options.help:
        from trainyard.cli.help import print_train_help

        prepare_hydra(options.config_dir)
        print_train_help(options.config_dir)
        return 0
    if options.multirun:
        for overrides in expand_sweep(options.overrides):
            compose_job(options, overrides)
        _run_multirun(options)
        return 0
    config, tree = compose_job(options, options.overrides)
    if options.cfg or options.info or options.hydra_help:
        _show(options)
        return 0
    return _train(config, tree, options.overrides)


def add_recorded_overrides(arguments: Sequence[str]) -> list[str]:
    """Adds the recorded overrides of the run in ``resume=RUN_ID``, except those that the arguments set.

    Raises:
        ConfigError: If there is no such run.
    """
    options = parse_arguments(arguments)
    overrides_by_key = {get_override_key(override): override for override in options.overrides}
    resume = overrides_by_key.get("resume", "resume=null")
    reference = resume.partition("=")[2].strip("'\"")
    if reference.lower() == "null":
        return list(arguments)
    if options.multirun:
        raise ConfigError("resume: resumes a single run, but --multirun has several. Remove one of the two")
    tracking = [override for key, override in overrides_by_key.items() if key.partition(".")[0] == "tracking"]
    tree, _ = _compose(options, tracking)
    from trainyard.runs import find_run_folder, load_recorded_overrides
    from trainyard.tracking import TrackingStore

    folder = find_run_folder(reference, TrackingStore.from_config(build_run_config(tree).tracking))
    recorded = [
        override for override in load_recorded_overrides(folder) if get_override_key(override) not in overrides_by_key
    ]
    quoted = f"resume='{reference}'"  # because an id of digits would be parsed as a number
    return [*(argument for argument in arguments if argument != resume), *recorded, quoted]


def compose_job(options: Namespace, overrides: Sequence[str]) -> tuple[RunConfig, DictConfig]:
    """Returns the validated config of a job, and the tree it was composed from, with Hydra's section.

    Raises:
        ConfigError: If the config is invalid.
    """
    tree, hydra_section = _compose(options, overrides)
    forbid_code_execution(hydra_section, overrides)
    config = build_run_config(tree)
    from trainyard.tracking import TrackingStore  # after the checks of the config, which need less time than the import

    TrackingStore.from_config(config.tracking)
    if not options.cfg and not options.info:
        check_files_exist(config)
    with open_dict(tree):
        tree.hydra = hydra_section  # its values refer to the whole tree, for example to the name of the experiment
    return config, tree


def _compose(options: Namespace, overrides: Sequence[str]) -> tuple[DictConfig, DictConfig]:
    """Returns the trees of the run's config and of Hydra's section."""
    config_name = options.config_name or PRIMARY_CONFIG
    return compose_trees(overrides, config_name=config_name, config_dir=options.config_dir)


def _show(options: Namespace) -> None:
    """Prints what ``--cfg``, ``--info`` or ``--hydra-help`` asks for, with Hydra's own functions."""
    config_name = options.config_name or PRIMARY_CONFIG
    with open_hydra(options.config_dir) as hydra:
        if options.hydra_help:
            hydra.hydra_help(config_name=config_name, args_parser=build_parser(), args=options)
        elif options.info:
            hydra.show_info(options.info, config_name=config_name, overrides=options.overrides)
        else:
            hydra.show_cfg(
                config_name=config_name,
                overrides=options.overrides,
                cfg_type=options.cfg,
                package=options.package,
                resolve=options.resolve,
            )


def _train(config: RunConfig, tree: DictConfig, overrides: Sequence[str]) -> int:
    """Trains in this process, and returns the exit code."""
    configure_log(tree.hydra.job_logging, tree.hydra.verbose)
    if tree.hydra.job.chdir:
        raise ConfigError("hydra.job.chdir: expected false, because runs use the working directory, got true")
    from trainyard.runs import ScreenProgress, run_and_print

    try:
        with raise_on_signals():
            run_and_print(config, Path(str(tree.hydra.run.dir)), overrides, ScreenProgress())
    except Exception as error:  # noqa: BLE001 - run_and_print has printed it
        return find_exit_code(error)
    return 0


def _run_multirun(options: Namespace) -> None:
    """Trains several runs with another sweeper than Trainyard's."""
    with raise_on_signals(), open_hydra(options.config_dir) as hydra:
        hydra.multirun(
            config_name=options.config_name or PRIMARY_CONFIG, task_function=_run_job, overrides=options.overrides
        )


@raise_on_signals()
def _run_job(tree: DictConfig) -> None:
    """Performs a run that a sweeper of Hydra started: the task function."""
    from trainyard.runs import ScreenProgress, run_and_print

    load_plugins()  # a separate process has not loaded them yet
    job = HydraConfig.get()
    run_and_print(build_run_config(tree), Path(job.runtime.output_dir), list(job.overrides.task), ScreenProgress())
