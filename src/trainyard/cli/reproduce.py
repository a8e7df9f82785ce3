"""``trainyard reproduce``: train a recipe with many seeds, and set what was published, or is aimed at, beside that.

Each arm of the experiment is a sweep over seeds, with all that sweeps have: side by side, and gone on with where it was
ended.

Before it: sweep, records. After it: the command line.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from trainyard.cli.arguments import key_of
from trainyard.cli.screen import print_heading
from trainyard.cli.sweep import sweep_command
from trainyard.errors import ConfigError, TrialError
from trainyard.origin import describe_origin
from trainyard.records.aims import Claim, Target, find_aim, read_aim
from trainyard.records.chosen import describe_search, refuse_other_recipe
from trainyard.records.results import Results, read_arm
from trainyard.records.verdicts import describe_verdict, summarise, verdict_of
from trainyard.records.writing import PAGE, write_record
from trainyard.runtime import available_cores, import_tensorflow
from trainyard.sweep.card import PAGE as CARD
from trainyard.sweep.folder import SWEEPS, SweepFolder
from trainyard.sweep.ledger import Ledger

OUT = Path("outputs/reproduce")
_EXIT_CODES = {"met": 0, "missed": 3, "supported": 0, "contradicted": 3, "undecided": 4}
"""By what is to be said of an experiment."""

_HARMLESS = ("hydra", "tracking", "dataset.path", "dataset.mirrors", "training.threads")
"""What may be said beside a record: where and how its runs are made, and not what they are."""


def reproduce_command(
    name: str, overrides: Sequence[str], *, seeds: int | None, record: bool, fresh: bool, as_json: bool
) -> int:
    """Trains every arm with all seeds, and tells what came out.

    Args:
        name: Of an experiment, or the path of its target or claim.
        overrides: For all arms, as ``trainyard sweep`` takes them.
        seeds: How many, in the place of what the experiment says.
        record: Whether what came out is to be the record of the experiment, beside what it is held against.
        fresh: Whether to begin anew where an earlier start was ended.
        as_json: Whether to print the results with all verdicts as JSON, and everything else on stderr.

    Returns:
        The exit code: 0 where the target is met or the claim supported, 3 where it is missed or contradicted, 4 where
        the claim is undecided.

    Raises:
        ConfigError: If the target, an override, or the recipe behind it is wrong; nothing was run.
        TrialError: If a run failed.
    """
    file = find_aim(name)
    aim, folder = read_aim(file), file.absolute().parent
    _refuse_changed_record(aim, overrides, seeds, record=record)
    count = seeds or aim.seeds
    search, card = _search_behind(aim)
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        folders = {}
        for arm, told in aim.arms.items():
            print_heading(f"{arm}: {' '.join(told)}, {count} seeds from {aim.first_seed}")
            folders[arm] = _train(
                folder.name, arm, told, overrides, range(aim.first_seed, aim.first_seed + count), fresh=fresh
            )
    with_report = isinstance(aim, Claim)
    arms = [read_arm(arm, (*told, *overrides), folders[arm], with_report=with_report) for arm, told in aim.arms.items()]
    command = _command(name, overrides, seeds, record=record)
    results = Results(aim=aim, arms=tuple(arms), about=_describe(command, folders), search=search)
    out = folder if record else OUT / folder.name
    write_record(out, results, card)
    if as_json:
        sys.stdout.write(json.dumps(summarise(results), indent=2) + "\n")
    else:
        console = Console(soft_wrap=True, highlight=False)
        print_heading(aim.title)
        for line in describe_verdict(results):
            console.print(Text(line.replace("**", "")))
        console.print(Text(f"\nfiles  {os.path.relpath(out / PAGE)}"))
    return _EXIT_CODES[verdict_of(results)]


def _refuse_changed_record(aim: Target | Claim, overrides: Sequence[str], seeds: int | None, *, record: bool) -> None:
    if not record:
        return
    for override in overrides:
        key = key_of(override)
        if not any(f"{key}.".startswith(f"{path}.") or key.startswith(f"{path}/") for path in _HARMLESS):
            raise ConfigError(
                f"{override}: a record is of what the experiment says, and of nothing else. Leave it out, or leave out "
                "--record"
            )
    if seeds is not None and seeds < aim.seeds:
        raise ConfigError(f"--seeds: expected at least the {aim.seeds} of the experiment for a record, got {seeds}")


def _search_behind(aim: Target | Claim) -> tuple[dict[str, Any] | None, Path | None]:
    """Returns what the sweep was that chose the recipe, and its card, where it lies here."""
    if not isinstance(aim, Target) or aim.search is None:
        return None, None
    folder = SweepFolder(SWEEPS / aim.search)
    if not folder.plan.exists():
        return None, None
    search = describe_search(folder)
    refuse_other_recipe(search, aim.arms[aim.ours])
    return search, folder.path / CARD


def _train(
    experiment: str, arm: str, told: Sequence[str], overrides: Sequence[str], seeds: range, *, fresh: bool
) -> SweepFolder:
    """Trains an arm with all seeds, side by side; what is done of an earlier start is not done again."""
    changed = f"-{hashlib.sha256(repr(overrides).encode()).hexdigest()[:6]}" if overrides else ""
    name = f"{experiment}-{re.sub(r'[^A-Za-z0-9]+', '_', arm).strip('_')}-{len(seeds)}{changed}"
    further = [f"seed={seeds.start}", f"sweep.seeds={len(seeds)}", "sweep.objective=off", f"sweep.name={name}"]
    if sweep_command([*(["--fresh"] if fresh else []), *told, *overrides, *further]):
        raise TrialError(
            f"{arm}: not all of its {len(seeds)} runs came to their end. See above; the same command goes on"
        )
    return SweepFolder(SWEEPS / name)


def _command(name: str, overrides: Sequence[str], seeds: int | None, *, record: bool) -> str:
    """Returns what does it again."""
    options = [*(["--seeds", str(seeds)] if seeds else []), *(["--record"] if record else [])]
    return shlex.join(["trainyard", "reproduce", name, *options, *overrides])


def _describe(command: str, folders: dict[str, SweepFolder]) -> dict[str, Any]:
    """Returns where all of it was measured."""
    threads = next(iter(folders.values())).threads or available_cores()
    import_tensorflow(threads)
    seconds = sum(session.seconds for folder in folders.values() for session in Ledger(folder.ledger).sessions)
    return {**describe_origin(threads, command), "seconds": seconds}
