"""The commands that resume a sweep or show its results, as suggested to the user."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from trainyard.sweep import SWEEPS, SweepFolder


def build_sweep_command(config_name: str | None, config_dir: Path | str | None, overrides: Sequence[str]) -> str:
    """Returns the command that runs or resumes a sweep, quoted for a shell: without ``--plan`` and ``--fresh``."""
    flags = {"--config-dir": config_dir, "--config-name": config_name}
    words = [word for flag, value in flags.items() if value for word in (flag, str(value))]
    return shlex.join(["trainyard", "sweep", *words, *overrides])


def build_resume_command(folder: SweepFolder) -> str:
    """Returns the command that resumes the sweep in a folder."""
    header = folder.read_header()
    return build_sweep_command(header["config_name"], header["config_dir"], header["overrides"])


def build_result_commands(folder: SweepFolder) -> dict[str, str]:
    """Returns the commands that show the runs of a sweep, by their purpose; empty if its tracking is off."""
    from trainyard.runs import build_store_command

    header = folder.read_header()
    name, uri = header["name"], header["store"]
    if uri is None:
        return {}
    is_listed = folder.path == (SWEEPS / name).absolute()
    page = ("--best", "3", "--html", f"{name}.html")
    return {
        "compare": build_store_command("compare", "--sweep", name, *page, uri=uri),
        "see it": build_store_command("ui", "--sweep", name if is_listed else os.path.relpath(folder.path), uri=uri),
    }
