"""The winner of a sweep as a recipe: a YAML file that states every value, so that it can be trained again by name."""

from __future__ import annotations

import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trainyard.config.compose import literal
from trainyard.config.schema import COMPONENT_GROUPS
from trainyard.evaluation.trials import Trial
from trainyard.system.files import whole_file

_LEFT_OUT = ("tracking", "sweep", "resume")
"""Sections that say where a run is logged and what it belongs to, and not what it is."""


@dataclass(frozen=True, slots=True)
class Winner:
    """The best trial of the best point, by its recipe.

    Attributes:
        label: What distinguishes it.
        run_id: MLflow's id of its run, or None.
        recipe: The file.
        command: What trains it.
    """

    label: str
    run_id: str | None
    recipe: Path
    command: str


def write_recipe(trial: Trial, file: Path, told: str, threads: int | None) -> str:
    """Writes a trial as a recipe.

    Args:
        trial: What is to be trained again.
        file: Its place, ``<config dir>/experiment/<name>.yaml``.
        told: A sentence on where it comes from.
        threads: How many threads it had where its config does not say: they change bits.

    Returns:
        The command that trains it.
    """
    command = shlex.join(["trainyard", "train", "--config-dir", _shown(file.parents[1]), f"experiment={file.stem}"])
    config: dict[str, Any] = literal(dict(trial.config))
    config["training"]["threads"] = config["training"]["threads"] or threads
    groups = [group for group in COMPONENT_GROUPS if group not in _LEFT_OUT]
    defaults = [{f"override /{group}": config[group].pop("name")} for group in groups]
    body = {"defaults": defaults, **{key: value for key, value in config.items() if key not in _LEFT_OUT}}
    comment = [*textwrap.wrap(told, 110), "", f"  {command}"]
    head = "\n".join(["# @package _global_", "#", *(f"# {line}".rstrip() for line in comment)])
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as partial:
        partial.write_text(f"{head}\n{yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=110)}")
    return command


def _shown(folder: Path) -> str:
    """Returns a folder as it is typed: from the working directory where it lies in it."""
    folder = folder.absolute()
    return str(folder.relative_to(Path.cwd())) if folder.is_relative_to(Path.cwd()) else str(folder)
