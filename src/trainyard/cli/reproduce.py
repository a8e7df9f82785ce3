"""``trainyard reproduce``: train what an experiment is about with many seeds, and set its target beside what came out.

Each arm of the experiment is a sweep over seeds, with all that sweeps have: side by side, and gone on with where it was
ended.

Before it: sweep, records. After it: the command line.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from trainyard.cli.arguments import key_of
from trainyard.cli.screen import print_heading
from trainyard.cli.sweep import sweep_command
from trainyard.errors import ConfigError, TrialError
from trainyard.origin import describe_origin
from trainyard.records.chosen import describe_search, refuse_other_recipe
from trainyard.records.page import is_met, verdict
from trainyard.records.results import Results, read_arm
from trainyard.records.target import Target, find_target, read_target
from trainyard.records.writing import PAGE, write_record
from trainyard.runtime import available_cores, import_tensorflow
from trainyard.sweep.card import PAGE as CARD
from trainyard.sweep.folder import SWEEPS, SweepFolder
from trainyard.sweep.ledger import Ledger

OUT = Path("outputs/reproduce")
NOT_MET = 3
"""The exit code where the target is missed."""

_HARMLESS = ("hydra", "tracking", "dataset.path", "dataset.mirrors", "training.threads")
"""What may be said beside a record: where and how its runs are made, and not what they are."""


def reproduce_command(name: str, overrides: Sequence[str], *, seeds: int | None, record: bool, fresh: bool) -> int:
    """Trains every arm with all seeds, and tells what came out.

    Args:
        name: Of an experiment, or the path of its target.
        overrides: For all arms, as ``trainyard sweep`` takes them.
        seeds: How many, in the place of what the target says.
        record: Whether what came out is to be the record of the experiment, beside its target.
        fresh: Whether to begin anew where an earlier start was ended.

    Returns:
        The exit code: 0 where the target is met, 3 where it is missed.

    Raises:
        ConfigError: If the target, an override, or the recipe behind it is wrong; nothing was run.
        TrialError: If a run failed.
    """
    file = find_target(name)
    target, folder = read_target(file), file.absolute().parent
    _refuse_changed_record(target, overrides, seeds, record=record)
    count = seeds or target.seeds
    search, card = _search_behind(target)
    folders = {}
    for arm, told in target.arms.items():
        print_heading(f"{arm}: {' '.join(told)}, {count} seeds from {target.first_seed}")
        folders[arm] = _train(folder.name, arm, [*told, *overrides], target.first_seed, count, fresh=fresh)
    arms = tuple(read_arm(arm, (*target.arms[arm], *overrides), folders[arm]) for arm in target.arms)
    results = Results(target=target, arms=arms, about=_describe(name, overrides, seeds, folders, record), search=search)
    out = folder if record else OUT / folder.name
    write_record(out, results, card)
    console = Console(soft_wrap=True, highlight=False)
    print_heading(target.title)
    for line in verdict(results):
        console.print(Text(line.replace("**", "")))
    console.print(Text(f"\nfiles  {os.path.relpath(out / PAGE)}"))
    return 0 if is_met(results) else NOT_MET


def _refuse_changed_record(target: Target, overrides: Sequence[str], seeds: int | None, *, record: bool) -> None:
    if not record:
        return
    for override in overrides:
        if not any(
            f"{key_of(override)}.".startswith(f"{path}.") or key_of(override).startswith(f"{path}/")
            for path in _HARMLESS
        ):
            raise ConfigError(
                f"{override}: a record is what the target says, and nothing else. Leave it out, or leave out --record"
            )
    if seeds is not None and seeds < target.seeds:
        raise ConfigError(f"--seeds: expected at least the {target.seeds} of the target for a record, got {seeds}")


def _search_behind(target: Target) -> tuple[dict[str, Any] | None, Path | None]:
    """Returns what the sweep was that chose the recipe, and its card, where it lies here."""
    folder = SweepFolder(SWEEPS / target.search) if target.search else None
    if folder is None or not folder.plan.exists():
        return None, None
    search = describe_search(folder)
    refuse_other_recipe(search, target.arms[target.ours])
    return search, folder.path / CARD


def _train(experiment: str, arm: str, overrides: Sequence[str], first: int, count: int, *, fresh: bool) -> SweepFolder:
    """Trains an arm with all seeds, side by side; what is done of an earlier start is not done again."""
    name = f"{experiment}-{re.sub(r'[^A-Za-z0-9]+', '_', arm).strip('_')}-{count}"
    seeds = [f"seed={first}", f"sweep.seeds={count}", "sweep.objective=off", f"sweep.name={name}"]
    if sweep_command([*(["--fresh"] if fresh else []), *overrides, *seeds]):
        raise TrialError(f"{arm}: not all of its {count} runs came to their end. See above; the same command goes on")
    return SweepFolder(SWEEPS / name)


def _describe(
    name: str, overrides: Sequence[str], seeds: int | None, folders: dict[str, SweepFolder], record: bool
) -> dict[str, Any]:
    """Returns where all of it was measured."""
    options = [*(["--seeds", str(seeds)] if seeds else []), *(["--record"] if record else [])]
    command = shlex.join(["trainyard", "reproduce", name, *options, *overrides])
    threads = next(iter(folders.values())).threads or available_cores()
    import_tensorflow(threads)
    seconds = sum(session.seconds for folder in folders.values() for session in Ledger(folder.ledger).sessions)
    return {**describe_origin(threads, command), "seconds": seconds}
