"""The best trial of a sweep as a recipe: a YAML file with all its values, which can be trained again by name."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trainyard.config import COMPONENT_GROUPS, escape_interpolations
from trainyard.evaluation import RankedPoint, Trial
from trainyard.sweep.folder import SweepFolder
from trainyard.system import atomic_write

_LEFT_OUT = ("tracking", "sweep", "resume")
"""Config sections that do not define the training itself, and are left out of the recipe."""


@dataclass(frozen=True, slots=True)
class Winner:
    """The best point of a sweep, with the recipe of one of its trials and the command that trains it."""

    label: str
    run_id: str | None
    recipe: Path
    command: str


def write_winner(folder: SweepFolder, best: RankedPoint, objective: str, trials: Sequence[Trial]) -> Winner:
    """Writes the recipe of the best point of a sweep, with its first seed."""
    run = best.runs[0]
    trial = next(trial for trial in trials if trial.number == run.number)
    description = (
        f"The winner of the sweep {folder.path.name}: {best.label}, {objective} {best.describe()} (n {best.n})."
    )
    file = folder.path / "conf" / "experiment" / "winner.yaml"
    conf, here = file.parents[1], Path.cwd()
    config_dir = str(conf.relative_to(here)) if conf.is_relative_to(here) else str(conf)
    command = shlex.join(["trainyard", "train", "--config-dir", config_dir, f"experiment={file.stem}"])
    config: dict[str, Any] = escape_interpolations(dict(trial.config))
    # the number of threads can change results bit for bit
    config["training"]["threads"] = config["training"]["threads"] or folder.threads
    groups = [group for group in COMPONENT_GROUPS if group not in _LEFT_OUT]
    defaults = [{f"override /{group}": config[group].pop("name")} for group in groups]
    body = {"defaults": defaults, **{key: value for key, value in config.items() if key not in _LEFT_OUT}}
    comment = [*textwrap.wrap(description, 110), "", f"  {command}"]
    header = "\n".join(["# @package _global_", "#", *(f"# {line}".rstrip() for line in comment)])
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as partial:
        partial.write_text(f"{header}\n{yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=110)}")
    return Winner(best.label, run.run_id, file, command)
