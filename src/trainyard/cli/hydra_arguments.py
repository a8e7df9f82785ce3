"""The arguments of ``train`` and ``sweep``: Hydra's flags and overrides, those refused that have no place here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra._internal.utils import get_args_parser

from trainyard.config.compose import key_of
from trainyard.config.hydra_errors import find_path
from trainyard.config.search_path import groups
from trainyard.errors import ConfigError

if TYPE_CHECKING:
    from argparse import Namespace

SWEEPER = "hydra/sweeper"
"""The group by which Hydra's sweepers are chosen."""


def config_dir(options: Namespace) -> Path | None:
    """Returns the further folder with configs that the arguments name, or None."""
    return Path(options.config_dir) if options.config_dir else None


def parse_arguments(arguments: Sequence[str]) -> Namespace:
    """Parses what stands after ``trainyard train`` or ``sweep``, as Hydra does.

    Raises:
        ConfigError: If a flag is unknown or refused.
    """
    parser = get_args_parser()
    parser.prog = "trainyard train"
    parser.allow_abbrev = False  # or --experiment would be --experimental-rerun
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--status", nargs="?", const="", metavar="NAME")
    # intermixed, as Hydra itself wants all flags in one place
    options, unknown = parser.parse_known_intermixed_args(list(arguments))
    if unknown:
        raise ConfigError(_unknown_flag(unknown[0], groups(config_dir(options)), options.multirun))
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
    of_runs = [flag for flag in ("info", "hydra_help", "package", "run", "resolve") if getattr(options, flag)]
    if of_runs and options.multirun:
        raise ConfigError(f"--{of_runs[0].replace('_', '-')}: is about one run, and a sweep has several. Leave it out")
    of_sweeps = [flag for flag in ("plan", "fresh", "status") if getattr(options, flag) not in (False, None)]
    if of_sweeps and not options.multirun:
        raise ConfigError(f"--{of_sweeps[0]}: goes with a sweep: trainyard sweep --{of_sweeps[0]}")
    if options.config_dir and not Path(options.config_dir).is_dir():
        raise ConfigError(f"--config-dir: expected a folder with configs, got {options.config_dir!r}, which is none")
    return options


def wants_our_sweeper(options: Namespace) -> bool:
    """Tells whether the arguments are of a sweep that is ours, and not of another sweeper."""
    sweepers = [override for override in options.overrides if key_of(override) == SWEEPER]
    return options.multirun and not options.help and sweepers[-1:] in ([], [f"{SWEEPER}=trainyard"])


def _unknown_flag(flag: str, known_groups: Sequence[str], sweep: bool) -> str:
    """Returns the message for a flag that is not there; most are fields, written as other programs want them."""
    key = flag.partition("=")[0].lstrip("-").replace("-", "_")
    message = f"{flag}: there is no such flag. Groups and fields are set without dashes"
    if path := key if key in known_groups else find_path(key):
        return f"{message}: {path}=..."
    return f"{message}: training.epochs=5. All there are: trainyard {'sweep' if sweep else 'train'} --help"
