"""The arguments of ``train`` and ``sweep``: parses Hydra's flags and overrides, and rejects flags that do not apply."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainyard.config import build_argument_parser, find_field_path, get_override_key, list_groups
from trainyard.errors import ConfigError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SWEEPER_GROUP = "hydra/sweeper"
"""The config group that selects a sweeper."""


def build_parser() -> ArgumentParser:
    """Returns a parser of Hydra's flags and those of ``trainyard sweep``."""
    parser = build_argument_parser()
    parser.prog = "trainyard train"
    parser.allow_abbrev = False  # or --experiment would be --experimental-rerun
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--status", nargs="?", const="", metavar="NAME")
    return parser


def parse_arguments(arguments: Sequence[str]) -> Namespace:
    """Parses the arguments after ``trainyard train`` or ``sweep`` with Hydra's parser.

    In the result, `config_dir` is a path or None.

    Raises:
        ConfigError: If a flag is unknown, refused, or does not apply to the command.
    """
    # Hydra itself requires all flags in one block; intermixed parsing accepts them anywhere
    options, unknown = build_parser().parse_known_intermixed_args(list(arguments))
    options.config_dir = Path(options.config_dir) if options.config_dir else None
    if unknown:
        raise ConfigError(_format_unknown_flag(unknown[0], list_groups(options.config_dir), options.multirun))
    if options.shell_completion:
        raise ConfigError('--shell-completion: not supported. Use Trainyard\'s: eval "$(trainyard completion bash)"')
    if options.experimental_rerun:
        raise ConfigError(
            "--experimental-rerun: refused, because it unpickles a file. Train from the config: trainyard train ..."
        )
    if options.config_path:
        raise ConfigError(
            "--config-path: not supported. Put your configs into ./conf, or add their folder with --config-dir"
        )
    if options.cfg and options.multirun:
        raise ConfigError("--cfg: prints one config, but a sweep has several. Remove --cfg, or train one run")
    if options.resolve and not options.cfg:
        raise ConfigError("--resolve: requires --cfg job")
    run_flags = [flag for flag in ("info", "hydra_help", "package", "run", "resolve") if getattr(options, flag)]
    if run_flags and options.multirun:
        raise ConfigError(f"--{run_flags[0].replace('_', '-')}: applies to a single run, not to a sweep. Remove it")
    sweep_flags = [flag for flag in ("plan", "fresh", "status") if getattr(options, flag) not in (False, None)]
    if sweep_flags and not options.multirun:
        raise ConfigError(f"--{sweep_flags[0]}: requires a sweep. Use: trainyard sweep --{sweep_flags[0]}")
    if options.config_dir and not options.config_dir.is_dir():
        raise ConfigError(
            f"--config-dir: expected a folder with configs, got '{options.config_dir}', which is not a folder"
        )
    return options


def uses_trainyard_sweeper(options: Namespace) -> bool:
    """Returns whether the arguments start a sweep with Trainyard's sweeper, not with another one."""
    sweepers = [override for override in options.overrides if get_override_key(override) == SWEEPER_GROUP]
    return options.multirun and not options.help and sweepers[-1:] in ([], [f"{SWEEPER_GROUP}=trainyard"])


def _format_unknown_flag(flag: str, known_groups: Sequence[str], sweep: bool) -> str:
    """Returns the message for an unknown flag. Most are fields that are written like the flags of other programs."""
    key = flag.partition("=")[0].lstrip("-").replace("-", "_")
    message = f"{flag}: unknown flag. Set groups and fields without dashes"
    if path := key if key in known_groups else find_field_path(key):
        return f"{message}: {path}=..."
    return f"{message}: training.epochs=5. For a list: trainyard {'sweep' if sweep else 'train'} --help"
