"""The best trial of a sweep as a recipe: a YAML file with all its values, which can be trained again by name."""

from __future__ import annotations

import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trainyard.config import COMPONENT_GROUPS, escape_interpolations
from trainyard.evaluation import Trial
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


def write_recipe(trial: Trial, file: Path, description: str, threads: int | None) -> str:
    """Writes a trial as a recipe, and returns the command that trains it.

    Args:
        trial: The trial to repeat.
        file: Path of the recipe, ``<config dir>/experiment/<name>.yaml``.
        description: A sentence about the origin of the recipe, for the comment at the top of the file.
        threads: Number of threads to write if the trial's config does not set it. It can change results bit for bit.
    """
    folder, here = file.parents[1].absolute(), Path.cwd()
    config_dir = str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)
    command = shlex.join(["trainyard", "train", "--config-dir", config_dir, f"experiment={file.stem}"])
    config: dict[str, Any] = escape_interpolations(dict(trial.config))
    config["training"]["threads"] = config["training"]["threads"] or threads
    groups = [group for group in COMPONENT_GROUPS if group not in _LEFT_OUT]
    defaults = [{f"override /{group}": config[group].pop("name")} for group in groups]
    body = {"defaults": defaults, **{key: value for key, value in config.items() if key not in _LEFT_OUT}}
    comment = [*textwrap.wrap(description, 110), "", f"  {command}"]
    header = "\n".join(["# @package _global_", "#", *(f"# {line}".rstrip() for line in comment)])
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as partial:
        partial.write_text(f"{header}\n{yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=110)}")
    return command
