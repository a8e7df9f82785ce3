"""Checks of the folder of a sweep before the sweep starts or resumes: its files, its definition and its ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainyard.config import compare_trees
from trainyard.errors import ConfigError
from trainyard.sweep.folder import START_AGAIN, SweepFolder
from trainyard.sweep.ledger import Draw
from trainyard.sweep.plan import SweepPlan
from trainyard.sweep.space import NOT_DRAWN, compute_identity
from trainyard.system import PARTIAL_PREFIX

_MAX_DIFFERENCES = 8
"""The number of differences that an error message lists."""


def check_folder(folder: SweepFolder, *, fresh: bool = False) -> None:
    """Raises ConfigError if the folder can't be used for a sweep.

    It may have no files that are not of a sweep, and must not be a parent of the working directory. If it contains a
    sweep, it must have a plan, except if the sweep starts `fresh`.
    """
    if Path.cwd().is_relative_to(folder.path):
        raise ConfigError(
            f"hydra.sweep.dir: expected a separate folder for the sweep, got {folder.path}, which is the working "
            "directory or one of its parents. Choose another folder"
        )
    if not folder.path.exists() or folder.plan.exists():
        return
    plans = (folder.plan.name, folder.overview.name)
    unfinished = {*plans, *(f"{PARTIAL_PREFIX}{name}" for name in plans)}  # the files of an interrupted `write_plan`
    files = {path.name for path in folder.path.iterdir()} if folder.path.is_dir() else {folder.path.name}
    if files <= unfinished:
        return
    if not folder.has_remains:
        raise ConfigError(
            f"{folder.path}: expected a new or empty folder, or the folder of a sweep, but it contains other files. "
            "Choose another sweep.name, or another folder: hydra.sweep.dir=..."
        )
    if not fresh:
        raise ConfigError(
            f"{folder.plan}: expected the plan of the sweep, whose ledger or trials are in this folder, but the file "
            f"is missing. Restore it from a copy, or {START_AGAIN}"
        )


def check_definition(folder: SweepFolder, plan: SweepPlan) -> None:
    """Raises a ConfigError, with the differences, if the definition of the sweep changed since it was started."""
    header = folder.read_header()
    before, now = header["objective"], plan.objective
    lines = [] if before == now else [f"sweep.objective was {before or 'off'}, is now {now or 'off'}"]
    if plan.definition is None:
        lines += _find_changed_trials(folder, plan)
    elif header.get("search") is None:
        lines += ["the sweep was a grid, is now a search with a sampler"]
    else:
        lines += _describe_differences(header["search"], json.loads(json.dumps(plan.definition)))
    if len(lines) > _MAX_DIFFERENCES:
        lines[_MAX_DIFFERENCES:] = [f"and {len(lines) - _MAX_DIFFERENCES} more"]
    if lines:
        raise ConfigError(
            f"sweep {folder.path.name}: its definition has changed since it was started. A sweep resumes only with the "
            "same definition:",
            *lines,
            "Restore the definition; or start again from the beginning with --fresh, which keeps the old sweep under "
            "another name; or choose another sweep.name",
        )


def check_ledger(folder: SweepFolder, plan: SweepPlan) -> None:
    """Raises a ConfigError if the plan lacks trials of the ledger, or the ledger of a search lacks draws.

    Lost results can be read from the folders of the trials, but not the draws of a sampler.
    """
    ledger, drawn = folder.ledger, [trial for trial in plan.trials if trial.label != NOT_DRAWN]
    points = {event.point for event in ledger.events if isinstance(event, Draw) and event.point is not None}
    numbers = {trial.number for trial in plan.trials}
    lost = {*ledger.trial_numbers} - {trial.number for trial in drawn} | {*range(1, max(numbers) + 1)} - numbers
    unplanned = [f"trial {number}" for number in sorted(lost)]
    unplanned += [f"point {point}" for point in sorted(points - {trial.point for trial in drawn})]
    if unplanned:
        raise ConfigError(
            f"{folder.plan}: expected all trials of the sweep, but the plan lacks {unplanned[0]}. Restore the file "
            f"from a copy, or {START_AGAIN}"
        )
    started = {*ledger.trial_numbers, *folder.list_attempt_folders()} if plan.space else set()
    if unknown := sorted(started - {trial.number for trial in drawn if trial.point in points}):
        raise ConfigError(
            f"{folder.ledger_file}: expected the draws of all trials that were started, but the ledger lacks that of "
            f"trial {unknown[0]}, without which a search can't continue. Restore the file from a copy, or "
            f"{START_AGAIN}"
        )


def _find_changed_trials(folder: SweepFolder, plan: SweepPlan) -> list[str]:
    """Returns a line for each trial of a grid that was added, removed or changed since the sweep was started."""
    lines = []
    planned = {compute_identity(trial.config): trial for trial in folder.read_trials()}
    requested = {compute_identity(trial.config): trial for trial in plan.trials}
    by_overrides = {trial.overrides: trial for text, trial in planned.items() if text not in requested}
    for trial in (trial for text, trial in requested.items() if text not in planned):
        earlier = by_overrides.pop(trial.overrides, None)
        differences = ", ".join(_describe_differences(earlier.config, trial.config)) if earlier else "was added"
        lines.append(f"trial {trial.label}: {differences}")
    return [*lines, *(f"trial {trial.label}: was removed" for trial in by_overrides.values())]


def _describe_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Returns ``<path> was <old>, is now <new>`` for each field that differs between two nested configs."""
    return [f"{path} was {old}, is now {new}" for path, old, new in compare_trees(before, after)]
