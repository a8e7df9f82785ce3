"""Repeats a logged run, and compares the two runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainyard.analysis.rerun.comparison import Agreement, RerunComparison, compare_runs
from trainyard.analysis.rerun.original import OriginalRun, keeps_engine, load_original, restore_config
from trainyard.config import (
    RunConfig,
    check_files_exist,
    compose_trees,
    find_config_differences,
    forbid_code_execution,
    normalize_overrides,
)
from trainyard.errors import ConfigError, TrackingError
from trainyard.runs import RunResult, find_start_model, run_experiment
from trainyard.system import Progress, raise_on_signals
from trainyard.tracking import TrackingStore


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunPlan:
    """The config of the new run that repeats a logged run, and the overrides that compose it.

    Attributes:
        changes: The differences between the configs, one line each.
        start_model: The model file that the original run started from; None if it started from random weights, or if
            the changes name another.
        store: The store that has the original run.
    """

    original: OriginalRun
    config: RunConfig
    overrides: Sequence[str]
    changes: Sequence[str]
    start_model: Path | None
    store: TrackingStore


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunResult:
    """A repeated run: the original run, the result of the new run, and the comparison of the two."""

    original: OriginalRun
    result: RunResult
    comparison: RerunComparison

    @property
    def is_bitwise(self) -> bool:
        """Whether weights, data, metrics and predictions of the two runs are bitwise identical."""
        return self.comparison.agreement is Agreement.BITWISE

    def __repr__(self) -> str:
        before, now = self.comparison.before, self.comparison.now
        was = "" if before is None else f", was {before:.4f}"
        return f"<RerunResult {self.comparison.agreement or 'not compared'}: accuracy/test {now:.4f}{was}>"


def plan_rerun(reference: str, store: TrackingStore, changes: Sequence[str] = (), *, verify: bool = False) -> RerunPlan:
    """Loads a logged run by its id or its folder, and determines the config that repeats it.

    `changes` are overrides of the run's config, in the grammar of ``trainyard train``. With `verify`, the runs must be
    comparable bit for bit.

    Raises:
        ConfigError: If there is no such run, or it cannot be repeated in this way.
        TrackingError: If the store cannot be reached.
    """
    original = load_original(reference, store)
    config, overrides = restore_config(original, tuple(normalize_overrides(changes)))
    forbid_code_execution(compose_trees(overrides)[1], overrides)
    check_files_exist(config)
    start, same_start = config.training.start_from, config.training.start_from == original.config.training.start_from
    start_model = find_start_model(start, store) if same_start else None  # the run's own store may not have it
    original_config = restore_config(original, keep_engine=keeps_engine(changes))[0]
    differences = find_config_differences(original_config, config)
    if verify:
        _check_verifiable(original, differences)
    return RerunPlan(
        original=original,
        config=config,
        overrides=overrides,
        changes=differences,
        start_model=start_model,
        store=store,
    )


def run_rerun(plan: RerunPlan, progress: Progress | None = None) -> RerunResult:
    """Performs the new run, and compares it with the original. For the errors, see `run_experiment`."""
    with raise_on_signals():
        result = run_experiment(plan.config, progress=progress, overrides=plan.overrides, start_model=plan.start_model)
    comparison = compare_runs(
        plan.original,
        load_original(str(result.folder), None),
        _find_sibling_accuracies(plan.original, plan.store, result.run_id),
        plan.changes,
        test_images=len(result.dataset.test),
    )
    return RerunResult(original=plan.original, result=result, comparison=comparison)


def _check_verifiable(original: OriginalRun, differences: Sequence[str]) -> None:
    """Raises ConfigError unless the original run is finished and deterministic, and its config is unchanged."""
    if differences:
        changes = "; ".join(differences)
        raise ConfigError(f"--verify: expected the original config, got {changes}. Remove the overrides, or --verify")
    if original.config.training.determinism == "off":
        raise ConfigError("--verify: expected a deterministic run, got training.determinism=off. Remove --verify")
    if original.run.status != "FINISHED":
        raise ConfigError(
            f"--verify: expected a run that is FINISHED, got {original.run.reference}, which is "
            f"{original.run.status}: there is no result to compare with. Remove --verify"
        )


def _find_sibling_accuracies(original: OriginalRun, store: TrackingStore, excluded_run_id: str | None) -> list[float]:
    """Returns the test accuracies of runs with the same config and other seeds, without the new run.

    The list is empty if the store cannot be read.
    """
    try:
        return list(store.find_sibling_accuracies(original.run, excluded_run_id=excluded_run_id).values())
    except TrackingError:  # the run itself succeeded, so the command must not fail
        return []
