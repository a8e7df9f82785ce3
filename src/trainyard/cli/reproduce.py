"""``trainyard reproduce``: train a recipe with many seeds, and set what was published, or is aimed at, beside that.

Each arm of the experiment is a sweep over seeds, with all that sweeps have: side by side, and gone on with where it was
ended.
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

from trainyard.analysis.claims.index import write_index
from trainyard.analysis.claims.provenance import describe_runs
from trainyard.analysis.claims.record import PAGE, write_record
from trainyard.analysis.claims.results import Results, read_arm
from trainyard.analysis.claims.selection import describe_search, refuse_other_recipe
from trainyard.analysis.claims.spec import CLAIM, EXPERIMENTS, TARGET, Claim, Target, find_aim, read_aim
from trainyard.analysis.claims.verdicts import describe_verdict, refuse_other_rows, summarise, verdict_of
from trainyard.cli.screen import print_heading
from trainyard.cli.sweep.command import sweep_command
from trainyard.config.compose import compose_config, expand_sweep, key_of
from trainyard.errors import ConfigError, TrialError
from trainyard.sweep.card import PAGE as CARD
from trainyard.sweep.folder import SWEEPS, SweepFolder
from trainyard.sweep.plan import is_about_running

OUT = Path("outputs/reproduce")
_EXIT_CODES = {"met": 0, "missed": 3, "supported": 0, "contradicted": 3, "undecided": 4}
"""By what is to be said of an experiment."""

_HARMLESS = ("hydra", "tracking", "dataset.path", "dataset.mirrors", "training.threads")
"""What may be said beside a record: where and how its runs are made, and not what they are."""
_OURS = ("seed", "sweep", "hydra.sweep", "hydra.sweeper.params")
"""What is ours to say."""
_POLICIES = ("sweep.on_error", "sweep.retries", "sweep.max_failures")
"""But for these."""


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
    count = seeds or aim.seeds
    if record:
        _refuse_changed_record(aim, overrides, seeds)
    for told in aim.arms.values():
        _refuse_what_is_ours(told, overrides)
    search, card = _search_behind(aim) if record else (None, None)
    experiment = _plain(folder.name if file.name in (TARGET, CLAIM) else file.stem)
    seeds_wanted = range(aim.first_seed, aim.first_seed + count)
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        folders = {}
        for number, (arm, told) in enumerate(aim.arms.items(), start=1):
            print_heading(f"{arm}: {' '.join(told)}, {count} seeds from {aim.first_seed}")
            sweep = f"{experiment}-{number}_{_plain(arm)}-{count}{_fingerprint(overrides)}"
            folders[arm] = _train(sweep, [*told, *overrides], seeds_wanted, fresh=fresh)
    with_report = isinstance(aim, Claim)
    arms = [read_arm(arm, (*told, *overrides), folders[arm], with_report=with_report) for arm, told in aim.arms.items()]
    about = describe_runs(list(folders.values()), _command(name, overrides, seeds, record=record))
    results = Results(aim=aim, arms=tuple(arms), about=about, search=search)
    refuse_other_rows(results)
    out = folder if record else OUT / experiment
    write_record(out, results, card)
    if as_json:
        sys.stdout.write(json.dumps(summarise(results), indent=2) + "\n")
    else:
        console = Console(soft_wrap=True, highlight=False)
        print_heading(aim.title)
        for line in describe_verdict(results):
            console.print(Text(line.replace("**", "")))
        console.print(Text(f"\nfiles  {os.path.relpath(out / PAGE)}"))
    if record and folder.parent == EXPERIMENTS.absolute() and not write_index(EXPERIMENTS):
        Console(soft_wrap=True, stderr=True).print(Text(f"{EXPERIMENTS / PAGE} is not ours, and was left as it is"))
    return _EXIT_CODES[verdict_of(results)]


def _refuse_what_is_ours(told: Sequence[str], overrides: Sequence[str]) -> None:
    """Checks that an arm is one recipe, whose seeds are ours to choose."""
    for override in overrides:
        key = key_of(override)
        if any(f"{key}.".startswith(f"{path}.") for path in _OURS) and key not in _POLICIES:
            raise ConfigError(
                f"{override}: reproduce chooses seeds and sweeps itself. Leave it out; for more seeds: --seeds"
            )
    jobs = expand_sweep([*told, *overrides])
    if len(jobs) > 1:
        raise ConfigError(
            f"reproduce: expected one recipe, got {len(jobs)}: {' '.join([*told, *overrides])}. Name one value of each"
        )
    if (config := compose_config([one for one in jobs[0] if not one.startswith("hydra")])).sweep.params:
        raise ConfigError(
            f"reproduce: expected one recipe, got a sweep over {', '.join(config.sweep.params)}. Leave sweep=... out"
        )


def _refuse_changed_record(aim: Target | Claim, overrides: Sequence[str], seeds: int | None) -> None:
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
    return search, folder.path / CARD if search["card"] else None


def _train(name: str, overrides: Sequence[str], seeds: range, *, fresh: bool) -> SweepFolder:
    """Trains an arm with all seeds, side by side; what is done of an earlier start is not done again."""
    further = [f"seed={seeds.start}", f"sweep.seeds={len(seeds)}", "sweep.objective=off", f"sweep.name={name}"]
    if sweep_command([*(["--fresh"] if fresh else []), *overrides, *further]):
        again = ", without --fresh," if fresh else ""
        raise TrialError(
            f"not all of the {len(seeds)} runs came to their end. See above; the same command{again} goes on"
        )
    return SweepFolder(SWEEPS / name)


def _plain(name: str) -> str:
    """Returns a name as the name of a folder that needs no quotes."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "it"


def _fingerprint(overrides: Sequence[str]) -> str:
    """Returns what tells apart runs that were changed in other ways; nothing where they were not changed."""
    changes = [override for override in overrides if not is_about_running(override)]
    return f"-{hashlib.sha256(json.dumps(changes).encode()).hexdigest()[:6]}" if changes else ""


def _command(name: str, overrides: Sequence[str], seeds: int | None, *, record: bool) -> str:
    """Returns what does it again."""
    options = [*(["--seeds", str(seeds)] if seeds else []), *(["--record"] if record else [])]
    return shlex.join(["trainyard", "reproduce", name, *options, *overrides])
