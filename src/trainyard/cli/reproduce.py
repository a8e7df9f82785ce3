"""``trainyard reproduce``: trains a recipe with many seeds, and compares the results with a claim or a target.

Each arm of the experiment is a sweep over seeds: its trials run in parallel, and an interrupted sweep can be resumed.
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
from trainyard.analysis.claims.provenance import collect_runs_provenance
from trainyard.analysis.claims.record import PAGE, write_record
from trainyard.analysis.claims.results import Results, load_arm
from trainyard.analysis.claims.selection import check_recipe_matches_search, describe_search
from trainyard.analysis.claims.spec import CLAIM_FILE, EXPERIMENTS, TARGET_FILE, Claim, Target, find_spec, load_spec
from trainyard.analysis.claims.verdicts import build_summary, check_report_rows, describe_verdict, verdict_of
from trainyard.cli.screen import print_heading
from trainyard.cli.sweep.command import sweep_command
from trainyard.config.compose import compose_config, expand_sweep, override_key
from trainyard.errors import ConfigError, TrialError
from trainyard.sweep.card import PAGE as CARD
from trainyard.sweep.folder import SWEEPS, SweepFolder
from trainyard.sweep.plan import is_execution_override

OUT = Path("outputs/reproduce")
_EXIT_CODES = {"met": 0, "missed": 3, "supported": 0, "contradicted": 3, "undecided": 4}
"""The exit code of each verdict."""

_ALLOWED_WITH_RECORD = ("hydra", "tracking", "dataset.path", "dataset.mirrors", "training.threads")
"""Overrides allowed together with --record: they set where and how runs are executed, not what is trained."""
_RESERVED = ("seed", "sweep", "hydra.sweep", "hydra.sweeper.params")
"""Overrides that `reproduce` sets itself."""
_NOT_RESERVED = ("sweep.on_error", "sweep.retries", "sweep.max_failures")
"""Exceptions to `_RESERVED`."""


def reproduce_command(
    name: str, overrides: Sequence[str], *, seeds: int | None, record: bool, fresh: bool, as_json: bool
) -> int:
    """Trains every arm with all seeds, writes the results, and prints the verdict.

    Args:
        name: The name of an experiment, or the path of its target or claim.
        overrides: Overrides for all arms, in the grammar of ``trainyard sweep``.
        seeds: The number of seeds; None uses the number that the experiment specifies.
        record: Whether to write the results as the experiment's record, next to its target or claim.
        fresh: Whether to start over instead of resuming interrupted sweeps.
        as_json: Whether to print the results with all verdicts as JSON, and everything else on stderr.

    Returns:
        The exit code: 0 where the target is met or the claim supported, 3 where it is missed or contradicted, 4 where
        the claim is undecided.

    Raises:
        ConfigError: If the target or claim, its recipe, or an override is wrong; nothing was run.
        TrialError: If a run failed.
    """
    file = find_spec(name)
    spec, folder = load_spec(file), file.absolute().parent
    count = seeds or spec.seeds
    if record:
        _check_record_is_unchanged(spec, overrides, seeds)
    for recipe in spec.arms.values():
        _check_single_recipe(recipe, overrides)
    search, card = _find_search(spec) if record else (None, None)
    experiment = _sanitize_name(folder.name if file.name in (TARGET_FILE, CLAIM_FILE) else file.stem)
    seed_range = range(spec.first_seed, spec.first_seed + count)
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        folders = {}
        for number, (arm, recipe) in enumerate(spec.arms.items(), start=1):
            print_heading(f"{arm}: {' '.join(recipe)}, {count} seeds from {spec.first_seed}")
            sweep = f"{experiment}-{number}_{_sanitize_name(arm)}-{count}{_fingerprint(overrides)}"
            folders[arm] = _train(sweep, [*recipe, *overrides], seed_range, fresh=fresh)
    with_report = isinstance(spec, Claim)
    arms = [
        load_arm(arm, (*recipe, *overrides), folders[arm], with_report=with_report) for arm, recipe in spec.arms.items()
    ]
    about = collect_runs_provenance(list(folders.values()), _command(name, overrides, seeds, record=record))
    results = Results(spec=spec, arms=tuple(arms), about=about, search=search)
    check_report_rows(results)
    out = folder if record else OUT / experiment
    write_record(out, results, card)
    if as_json:
        sys.stdout.write(json.dumps(build_summary(results), indent=2) + "\n")
    else:
        console = Console(soft_wrap=True, highlight=False)
        print_heading(spec.title)
        for line in describe_verdict(results):
            console.print(Text(line.replace("**", "")))
        console.print(Text(f"\nfiles  {os.path.relpath(out / PAGE)}"))
    if record and folder.parent == EXPERIMENTS.absolute() and not write_index(EXPERIMENTS):
        Console(soft_wrap=True, stderr=True).print(
            Text(f"{EXPERIMENTS / PAGE} was not generated by Trainyard, so it is unchanged")
        )
    return _EXIT_CODES[verdict_of(results)]


def _check_single_recipe(recipe: Sequence[str], overrides: Sequence[str]) -> None:
    """Raises ConfigError if an arm is not a single recipe, or an override sets what `reproduce` sets itself."""
    for override in overrides:
        key = override_key(override)
        if any(f"{key}.".startswith(f"{path}.") for path in _RESERVED) and key not in _NOT_RESERVED:
            raise ConfigError(
                f"{override}: reproduce sets seeds and sweeps itself. Remove it; to change the number of seeds: --seeds"
            )
    jobs = expand_sweep([*recipe, *overrides])
    if len(jobs) > 1:
        raise ConfigError(
            f"reproduce: expected one recipe, got {len(jobs)}: {' '.join([*recipe, *overrides])}. Give one value each"
        )
    if (config := compose_config([job for job in jobs[0] if not job.startswith("hydra")])).sweep.params:
        raise ConfigError(
            f"reproduce: expected one recipe, got a sweep over {', '.join(config.sweep.params)}. Remove sweep=..."
        )


def _check_record_is_unchanged(spec: Target | Claim, overrides: Sequence[str], seeds: int | None) -> None:
    """Raises ConfigError if a record would not be of the experiment as it is specified."""
    for override in overrides:
        key = override_key(override)
        if not any(f"{key}.".startswith(f"{path}.") or key.startswith(f"{path}/") for path in _ALLOWED_WITH_RECORD):
            raise ConfigError(
                f"{override}: a record must use the recipes of the experiment without changes. Remove the override, "
                "or remove --record"
            )
    if seeds is not None and seeds < spec.seeds:
        raise ConfigError(f"--seeds: a record requires at least the experiment's {spec.seeds} seeds, got {seeds}")


def _find_search(spec: Target | Claim) -> tuple[dict[str, Any] | None, Path | None]:
    """Returns the description of the sweep that chose the recipe, and its card; None each if it is not here."""
    if not isinstance(spec, Target) or spec.search is None:
        return None, None
    folder = SweepFolder(SWEEPS / spec.search)
    if not folder.plan.exists():
        return None, None
    search = describe_search(folder)
    check_recipe_matches_search(search, spec.arms[spec.main_arm_name])
    return search, folder.path / CARD if search["card"] else None


def _train(name: str, overrides: Sequence[str], seeds: range, *, fresh: bool) -> SweepFolder:
    """Trains an arm with all seeds in parallel. Runs that an interrupted sweep has finished are not repeated."""
    sweep_overrides = [f"seed={seeds.start}", f"sweep.seeds={len(seeds)}", "sweep.objective=off", f"sweep.name={name}"]
    if sweep_command([*(["--fresh"] if fresh else []), *overrides, *sweep_overrides]):
        without_fresh = " without --fresh" if fresh else ""
        raise TrialError(
            f"not all of the {len(seeds)} runs finished. See above. To resume, run the same command{without_fresh}"
        )
    return SweepFolder(SWEEPS / name)


def _sanitize_name(name: str) -> str:
    """Returns a folder name with only letters, digits and underscores."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "it"


def _fingerprint(overrides: Sequence[str]) -> str:
    """Returns a suffix that identifies the overrides that change results; empty if there are none."""
    changes = [override for override in overrides if not is_execution_override(override)]
    return f"-{hashlib.sha256(json.dumps(changes).encode()).hexdigest()[:6]}" if changes else ""


def _command(name: str, overrides: Sequence[str], seeds: int | None, *, record: bool) -> str:
    """Returns the command that repeats this one, without --fresh and --json."""
    options = [*(["--seeds", str(seeds)] if seeds else []), *(["--record"] if record else [])]
    return shlex.join(["trainyard", "reproduce", name, *options, *overrides])
