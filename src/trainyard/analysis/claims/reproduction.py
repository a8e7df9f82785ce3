"""Trains the recipes of an experiment with many seeds, and compares the results with its claim or target.

Each arm of the experiment is a sweep over seeds: its trials run in parallel, and an interrupted sweep can be resumed.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainyard.analysis.claims.claim_page import ClaimPage
from trainyard.analysis.claims.provenance import (
    check_recipe_matches_search,
    collect_runs_provenance,
    describe_search,
)
from trainyard.analysis.claims.record import PAGE, get_page, write_record
from trainyard.analysis.claims.results import Results, load_arm
from trainyard.analysis.claims.spec import CLAIM_FILE, TARGET_FILE, Claim, Target, changes_recipe, find_spec, load_spec
from trainyard.config import compose_config, expand_sweep, get_override_key
from trainyard.errors import ConfigError, TrialError
from trainyard.sweep import PAGE as CARD
from trainyard.sweep import SWEEPS, SweepFolder, SweepPlan, SweepResult, is_execution_override, make_plan

OUT = Path("outputs/reproduce")
"""Where results are written that are not the experiment's record, below the working directory."""

_RESERVED = ("seed", "sweep", "hydra.sweep", "hydra.sweeper.params")
"""Overrides that `reproduce` sets itself."""
_NOT_RESERVED = ("sweep.on_error", "sweep.retries", "sweep.max_failures")
"""Exceptions to `_RESERVED`."""

RunArm = Callable[[str, SweepPlan], SweepResult]
"""Runs the sweep of an arm. The first argument is a heading."""


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """The results of reproducing an experiment, and the folder with the page, the plot and ``results.json``."""

    results: Results
    folder: Path

    @property
    def verdict(self) -> str:
        """``met`` or ``missed`` for a target; ``supported``, ``contradicted`` or ``undecided`` for a claim."""
        return str(get_page(self.results).verdict)

    @property
    def page(self) -> Path:
        """The page with the verdict, the results and their provenance, in Markdown."""
        return self.folder / PAGE

    def describe(self) -> list[str]:
        """Returns the verdict and the reasons for it, as a few lines of Markdown."""
        return get_page(self.results).describe_verdict()

    def summarize(self) -> dict[str, Any]:
        """Returns the verdict with all values that it is based on, as JSON-compatible data."""
        page = get_page(self.results)
        summary: dict[str, Any] = {
            "title": self.results.spec.title,
            "verdict": self.verdict,
            "about": self.results.about,
        }
        if isinstance(page, ClaimPage):
            summary["wrong_counts"] = page.wrong_counts
            summary["cells"] = [asdict(judgement) for judgement in page.judgements]
        return {**summary, "arms": [asdict(arm) for arm in self.results.arms]}

    def __repr__(self) -> str:
        return f"<ClaimResult {self.results.spec.title!r}: {self.verdict}>"

    def _repr_markdown_(self) -> str:
        """Returns the title and the verdict for a notebook."""
        return "\n\n".join([f"**{self.results.spec.title}**", *self.describe()])


def reproduce_experiment(
    name: str, overrides: Sequence[str], run_arm: RunArm, *, seeds: int | None = None, record: bool = False
) -> ClaimResult:
    """Trains every arm of an experiment, given by its name or the path of its target or claim, and writes the results.

    `overrides`, in the grammar of ``trainyard sweep``, apply to all arms. None for `seeds` uses the number that the
    experiment specifies. With `record`, the results become the experiment's record, next to its target or claim.

    Raises:
        ConfigError: If the target or claim, its recipe, or an override is wrong; nothing was run.
        TrialError: If a run failed.
    """
    file = find_spec(name)
    spec, folder = load_spec(file), file.absolute().parent
    count = seeds or spec.seeds
    if record:
        _check_matches_spec(spec, overrides, seeds)
    for recipe in spec.arms.values():
        _check_single_recipe(recipe, overrides)
    search, card = _find_search(spec) if record else (None, None)
    experiment = _sanitize_name(folder.name if file.name in (TARGET_FILE, CLAIM_FILE) else file.stem)
    sweeps, arms = [], []
    for number, (arm, recipe) in enumerate(spec.arms.items(), start=1):
        sweep = f"{experiment}-{number}_{_sanitize_name(arm)}-{count}{_compute_fingerprint(overrides)}"
        fixed = [f"seed={spec.first_seed}", f"sweep.seeds={count}", "sweep.objective=off", f"sweep.name={sweep}"]
        plan = make_plan([*recipe, *overrides, *fixed])
        result = run_arm(f"{arm}: {' '.join(recipe)}, {count} seeds from {spec.first_seed}", plan)
        if not result.is_complete:
            raise TrialError(f"not all of the {count} runs finished. See above. To resume, run the same command")
        sweeps.append(SweepFolder(result.folder))
        arms.append(load_arm(arm, (*recipe, *overrides), sweeps[-1], with_report=isinstance(spec, Claim)))
    about = collect_runs_provenance(sweeps, _build_command(name, overrides, seeds, record=record))
    results = Results(spec=spec, arms=tuple(arms), about=about, search=search)
    if isinstance(page := get_page(results), ClaimPage):
        page.check_rows()
    out = folder if record else OUT / experiment
    write_record(out, results, card)
    return ClaimResult(results, out)


def _check_single_recipe(recipe: Sequence[str], overrides: Sequence[str]) -> None:
    """Raises ConfigError if an arm is not a single recipe, or an override sets what `reproduce` sets itself."""
    for override in overrides:
        key = get_override_key(override)
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


def _check_matches_spec(spec: Target | Claim, overrides: Sequence[str], seeds: int | None) -> None:
    """Raises ConfigError if an override changes a recipe, or there are fewer seeds than the experiment specifies."""
    for override in overrides:
        if changes_recipe(override):
            raise ConfigError(
                f"{override}: a record must use the recipes of the experiment without changes. Remove the override, "
                "or remove --record"
            )
    if seeds is not None and seeds < spec.seeds:
        raise ConfigError(f"--seeds: a record requires at least the experiment's {spec.seeds} seeds, got {seeds}")


def _find_search(spec: Target | Claim) -> tuple[dict[str, Any] | None, Path | None]:
    """Returns the description of the sweep that chose the recipe, and its card. Both are None without such a sweep."""
    if not isinstance(spec, Target) or spec.search is None:
        return None, None
    folder = SweepFolder(SWEEPS / spec.search)
    if not folder.plan.exists():
        return None, None
    search = describe_search(folder)
    check_recipe_matches_search(search, spec.arms[spec.main_arm_name])
    return search, folder.path / CARD if search["card"] else None


def _sanitize_name(name: str) -> str:
    """Returns a folder name with only letters, digits and underscores."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "it"


def _compute_fingerprint(overrides: Sequence[str]) -> str:
    """Returns a suffix that identifies the overrides that change results; empty if there are none."""
    changes = [override for override in overrides if not is_execution_override(override)]
    return f"-{hashlib.sha256(json.dumps(changes).encode()).hexdigest()[:6]}" if changes else ""


def _build_command(name: str, overrides: Sequence[str], seeds: int | None, *, record: bool) -> str:
    """Returns the command that repeats this one, without --fresh and --json."""
    options = [*(["--seeds", str(seeds)] if seeds else []), *(["--record"] if record else [])]
    return shlex.join(["trainyard", "reproduce", name, *options, *overrides])
