"""The functions of the Python API that combine several packages; see ``docs/python.md``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from trainyard.analysis import (
    ClaimResult,
    Comparison,
    RerunResult,
    Run,
    RunCollection,
    Selection,
    compare_records,
    load_single_run,
    plan_rerun,
    reproduce_experiment,
    run_rerun,
    search_runs,
)
from trainyard.errors import ConfigError
from trainyard.runs import RunResult
from trainyard.serving import RegisteredVersion, export_run, promote_run
from trainyard.sweep import SweepBar, SweepPlan, SweepResult, run_plan
from trainyard.system import Progress, build_default_progress
from trainyard.tracking import TrackingStore

RunLike = Run | RunResult | str | Path
"""A logged run: as an object, or by its id or folder."""


def load_run(reference: RunLike, *, uri: str | None = None) -> Run:
    """Loads a logged run.

    Args:
        reference: The id of the run in the tracking store, its folder, or the result of `run_experiment`.
        uri: The tracking URI; None uses the default store of the working directory.

    Raises:
        ConfigError: If there is no such run, or it is the parent run of a sweep; see `load_runs`.
        TrackingError: If the store can't be reached.

    Example:
        >>> run = load_run("outputs/quickstart/2026-11-23_08-21-05_8ec42f")  # doctest: +SKIP
        >>> run.metrics["accuracy/test"]  # doctest: +SKIP
        0.9722
    """
    return Run(load_single_run(*_resolve(reference, uri, "load_run"), "load_run"))


def load_runs(
    experiment: str | None = None,
    *,
    sweep: str | None = None,
    filter: str | None = None,  # noqa: A002 - MLflow's name
    uri: str | None = None,
) -> RunCollection:
    """Loads the runs of a tracking store by start time, whatever their status. Parent runs of sweeps are left out.

    Args:
        experiment: Only the runs of this MLflow experiment; None for all experiments.
        sweep: Only the trials of the sweep with this name, or this ID of its parent run, one run per trial; None for
            all runs.
        filter: Only runs that match this MLflow filter string, such as ``"metrics.`accuracy/test` > 0.9"``.
        uri: The tracking URI; None uses the default store of the working directory.

    Raises:
        ConfigError: If there is no such experiment or sweep.
        TrackingError: If the store can't be reached.

    Example:
        >>> runs = load_runs(sweep="widths").filter({"status": "FINISHED"})  # doctest: +SKIP
        >>> runs.sort("accuracy/val", reverse=True).to_frame()  # doctest: +SKIP
    """
    selection = Selection(experiment=experiment, sweep=sweep, filter_string=filter)
    return RunCollection(map(Run, search_runs(selection, TrackingStore.from_option(uri, "uri"))))


def compare(
    runs: Iterable[RunLike],
    *,
    by: str | None = None,
    best: int | None = None,
    uri: str | None = None,
) -> Comparison:
    """Compares runs: settings, results, and whether the differences are significant.

    Args:
        runs: Runs, such as a `RunCollection`, or ids or folders of runs.
        by: The metric to compare by; None uses the accuracy on validation images if all runs have it, else that on
            test images.
        best: The number of configs in the table, best first; None keeps all.
        uri: The tracking URI of runs that are given by their ids; None uses the default store of the working directory.

    Raises:
        ConfigError: If a run does not exist, or the runs cannot be compared, for example because of different test
            images.
        TrackingError: If the store can't be reached.

    Example:
        >>> comparison = compare(load_runs(sweep="widths"))  # doctest: +SKIP
        >>> print(comparison.table.verdict)  # doctest: +SKIP
    """
    records = [
        run.record if isinstance(run, Run) else load_single_run(*_resolve(run, uri, "compare"), "compare")
        for run in runs
    ]
    return compare_records(records, by=by, best=best)


def reproduce(
    name: str,
    overrides: Sequence[str] = (),
    *,
    seeds: int | None = None,
    record: bool = False,
    fresh: bool = False,
) -> ClaimResult:
    """Trains the recipe of an experiment with many seeds, and compares the results with its claim or target.

    Args:
        name: The name of an experiment in ``experiments/``, or the path of its claim or target.
        overrides: Overrides for all runs, in Hydra's grammar.
        seeds: The number of seeds; None uses the number that the experiment specifies.
        record: Whether to write the results next to the claim or target, not to ``outputs/reproduce``.
        fresh: Whether to start over instead of resuming interrupted sweeps.

    Raises:
        ConfigError: If the claim or target, its recipe, or an override is wrong; nothing was run.
        TrialError: If a run failed.

    Example:
        >>> result = reproduce("mnist_baseline", seeds=3)  # doctest: +SKIP
        >>> result.verdict  # doctest: +SKIP
        'supported'
    """

    def run_arm(_: str, plan: SweepPlan) -> SweepResult:
        return run_plan(plan, fresh=fresh, display=SweepBar)

    return reproduce_experiment(name, overrides, run_arm, seeds=seeds, record=record)


def rerun(
    run: RunLike,
    overrides: Sequence[str] = (),
    *,
    progress: Progress | None = None,
    uri: str | None = None,
) -> RerunResult:
    """Repeats a logged run, and compares the two runs.

    Args:
        run: The run, its id, or its folder.
        overrides: Overrides of the run's config, in Hydra's grammar.
        progress: Receives the progress of the new run; None shows a bar in a notebook, and nothing elsewhere.
        uri: The tracking URI of the store that has the run; None uses the default store of the working directory.

    Raises:
        ConfigError: If there is no such run, or it cannot be repeated in this way; nothing was run.
        TrainyardError: If the new run failed; see `run_experiment`.

    Example:
        >>> rerun("outputs/quickstart/2026-11-23_08-21-05_8ec42f").is_bitwise  # doctest: +SKIP
        True
    """
    return run_rerun(plan_rerun(*_resolve(run, uri, "rerun"), overrides), progress)


def export(run: RunLike, folder: str | Path, *, uri: str | None = None) -> Path:
    """Writes the model, scores and report of a run to a new folder, with a README that explains how to load the model.

    Args:
        run: The run, its id, or its folder.
        folder: The folder to create. It may exist if it is empty.
        uri: The tracking URI of the store that has the run; None uses the default store of the working directory.

    Returns:
        The folder.

    Raises:
        ConfigError: If there is no such run, it is not FINISHED, a file is missing, or the folder is not empty.
        ModelError: If a model file was changed since it was saved.
        TrackingError: If the store can't be reached, or does not contain the files.

    Example:
        >>> export("outputs/quickstart/2026-11-23_08-21-05_8ec42f", "exported")  # doctest: +SKIP
    """
    return export_run(*_resolve(run, uri, "export"), Path(folder), build_default_progress().detail)


def promote(run: RunLike, name: str, *, alias: str | None = None, uri: str | None = None) -> RegisteredVersion:
    """Verifies the weights of a run's model, and registers the model in MLflow's model registry.

    Args:
        run: The run, its id, or its folder. It must be in a tracking store.
        name: The name of the registered model, which is created if it does not exist.
        alias: The alias to set on the version, such as ``champion``; None sets none.
        uri: The tracking URI of the store that has the run; None uses the default store of the working directory.

    Raises:
        ConfigError: If there is no such run, it is not FINISHED or logged no model, or the name or alias is invalid.
        ModelError: If the weights of the logged model are not those with which the run ended.
        TrackingError: If the store can't be reached.

    Example:
        >>> promote("8ec42f0d1c4b4d5e9a0b7c6d5e4f3a2b", "digits", alias="champion").uri  # doctest: +SKIP
        'models:/digits@champion'
    """
    reference, store = _resolve(run, uri, "promote")
    return promote_run(reference, name, alias, store)


def _resolve(run: RunLike, uri: str | None, function: str) -> tuple[str, TrackingStore]:
    """Returns the id or the folder of a run, and the store to look it up in.

    Raises:
        ConfigError: If the object is not a run, an id or a path.
    """
    if isinstance(run, Run):
        return run.record.reference, run.record.store or TrackingStore.from_option(uri, "uri")
    if isinstance(run, RunResult):
        return str(run.folder), TrackingStore.from_option(uri or run.tracking_uri, "uri")
    if not isinstance(run, str | Path):
        raise ConfigError(f"{function}: expected a run, its id or its folder, got {type(run).__name__}")
    return str(run), TrackingStore.from_option(uri, "uri")
