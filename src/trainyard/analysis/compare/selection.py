"""Selects the runs to compare: by ID or folder, by experiment, by sweep, or with an MLflow filter string.

A search returns only finished runs, and no parent runs of sweeps.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trainyard.config import format_suggestion
from trainyard.errors import ConfigError
from trainyard.runs import find_run
from trainyard.tracking import DIGEST_LENGTH, RunRecord, TrackingStore, names

_UNKNOWN = "not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The runs that the user wants to compare. None disables a criterion.

    Attributes:
        references: Run IDs and folders.
        experiment: Selects all runs of this MLflow experiment.
        sweep: Selects all trials of this sweep.
        filter_string: Selects all runs that match this MLflow filter string.
        test_data: First characters of the digest of the test images. Runs with other test images are left out.
    """

    references: tuple[str, ...] = ()
    experiment: str | None = None
    sweep: str | None = None
    filter_string: str | None = None
    test_data: str | None = None

    @property
    def is_search(self) -> bool:
        """Whether the store is searched for runs, in addition to the given references."""
        return bool(self.experiment or self.sweep or self.filter_string)


class SelectedRuns(NamedTuple):
    """Runs with the same test images, and the number of runs that were found and left out, by reason."""

    runs: list[RunRecord]
    left_out: Counter[str]


def select_runs(selection: Selection, store: TrackingStore) -> SelectedRuns:
    """Loads the selected runs: first the given references in their order, then the runs found, by start time.

    Raises:
        ConfigError: If a run, an experiment or a sweep does not exist, or if the runs have different test images.
        TrackingError: If the tracking store cannot be reached.
    """
    selected = {
        run.identity: run
        for run in (load_single_run(reference, store, "compare") for reference in selection.references)
    }
    left_out: Counter[str] = Counter()
    if selection.is_search:
        for run in search_runs(selection, store):
            if run.identity in selected:
                continue
            if run.status == "FINISHED":
                selected[run.identity] = run
            else:
                left_out["pruned" if names.PRUNED in run.tags else run.status] += 1
    if not selected:
        other_runs = f" Other runs: {format_left_out(left_out)}." if left_out else ""
        raise ConfigError(f"compare: expected finished runs, found none.{other_runs} Select other runs")
    return SelectedRuns(check_same_images(list(selected.values()), selection.test_data, left_out), left_out)


def format_left_out(left_out: Mapping[str, int]) -> str:
    """Returns the numbers of runs that were left out, by reason: ``2 FAILED, 1 pruned``."""
    return ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())


def load_single_run(reference: str, store: TrackingStore, setting: str) -> RunRecord:
    """Loads a run from its folder or by its ID; for the arguments, see `find_run`.

    Raises:
        ConfigError: If there is no such run, or it is the parent run of a sweep.
    """
    run = find_run(reference, store, setting)
    if run.tags.get(names.ROLE) == "sweep":
        raise ConfigError(
            f"{setting}: expected a single run, got the sweep {reference}. Select its trials by the name of the sweep, "
            f"{run.tags[names.SWEEP_ID]!r}, or by this ID"
        )
    return run


def search_runs(selection: Selection, store: TrackingStore) -> list[RunRecord]:
    """Returns the runs in the store that match a selection, by start time, without parent runs of sweeps.

    Of a sweep, returns one run per trial; see `_keep_latest_trials`.

    Raises:
        ConfigError: If the experiment or the sweep does not exist.
        TrackingError: If the tracking store cannot be reached.
    """
    conditions = [selection.filter_string] if selection.filter_string else []
    if selection.sweep:
        tag = names.PARENT_RUN_ID if re.fullmatch("[0-9a-f]{32}", selection.sweep) else names.SWEEP_ID
        quote = '"' if "'" in selection.sweep else "'"
        conditions += [f"tags.`{tag}` = {quote}{selection.sweep}{quote}", f"tags.`{names.ROLE}` = 'trial'"]
    runs = store.search_runs(selection.experiment, " and ".join(conditions))
    if selection.sweep:
        runs = _keep_latest_trials(runs, selection.sweep, store)
    return sorted((run for run in runs if run.tags.get(names.ROLE) != "sweep"), key=lambda run: run.started)


def _keep_latest_trials(runs: list[RunRecord], sweep: str, store: TrackingStore) -> list[RunRecord]:
    """Returns one run of each trial of a sweep: the latest that is FINISHED, else the latest.

    Raises ConfigError if no run matches, or if several sweeps have this name.
    """
    if not runs:
        sweep_names = {run.tags[names.SWEEP_ID] for run in store.search_runs(None, "tags.`trainyard.role` = 'sweep'")}
        if sweep in sweep_names:
            raise ConfigError(
                f"sweep: no trial of {sweep!r} is in the selected experiment and matches the filter. Change or omit "
                "them"
            )
        available = f" Available: {', '.join(sorted(sweep_names))}" if sweep_names else " It has no sweeps"
        raise ConfigError(
            f"sweep: the store has no sweep {sweep!r}.{format_suggestion(sweep, sorted(sweep_names))}{available}"
        )
    parents = sorted({run.tags.get(names.PARENT_RUN_ID, "") for run in runs})
    if len(parents) > 1:
        raise ConfigError(
            f"sweep: expected one sweep with the name {sweep!r}, got {len(parents)}. Select one by its run ID: "
            f"{', '.join(parents)}"
        )
    latest: dict[str, RunRecord] = {}
    for run in sorted(runs, key=lambda run: (run.status == "FINISHED", run.started)):
        latest[run.tags.get(names.TRIAL_NUMBER, run.reference)] = run
    return list(latest.values())


def check_same_images(runs: list[RunRecord], digest: str | None, left_out: Counter[str]) -> list[RunRecord]:
    """Returns the runs with the given digest of the test images, and checks that all of them have the same test images.

    Counts the runs with other digests in `left_out`. If `digest` is None, returns all runs. If the seed draws the test
    images (`dataset.limit`), every config must have been tested on all of the sets.

    Raises:
        ConfigError: If no run has the digest, or the runs have different test images.
    """
    matching = [run for run in runs if digest is None or (run.test_digest or "").startswith(digest[:DIGEST_LENGTH])]
    if not matching:
        raise ConfigError(
            f"--test-data: no run has test images with a digest that starts with {digest!r}. "
            f"Available: {_format_digests(runs)}"
        )
    if len(runs) > len(matching):
        left_out["on other test images"] = len(runs) - len(matching)
    by_config: dict[str, set[str]] = defaultdict(set)
    for run in matching:
        by_config[run.config_key].add(run.test_digest or _UNKNOWN)
    all_digests = set().union(*by_config.values())
    if any(digests != all_digests for digests in by_config.values()) or (len(all_digests) > 1 and len(by_config) == 1):
        raise ConfigError(
            f"compare: expected runs with the same test images, got {len(all_digests)} sets of test images: "
            f"{_format_digests(matching)}. Choose one: --test-data DIGEST"
        )
    return matching


def _format_digests(runs: Sequence[RunRecord]) -> str:
    """Returns each digest of test images with its run, or the number of its runs and an example, for a message."""
    by_digest: dict[str, list[str]] = defaultdict(list)
    for run in runs:
        by_digest[run.test_digest or _UNKNOWN].append(run.reference)
    return "; ".join(
        f"{digest}: {first}" if not others else f"{digest}: {len(others) + 1:,} runs, including {first}"
        for digest, (first, *others) in by_digest.items()
    )
