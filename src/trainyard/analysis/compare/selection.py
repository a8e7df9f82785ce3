"""Which runs are compared: those that are named, those of an experiment, of a sweep, or that a filter finds.

Of runs that are not named one by one, only those that are FINISHED count, and a sweep's own run does not.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainyard.analysis.compare.runs import DIGEST, ComparedRun, from_folder, from_store
from trainyard.config.registry import did_you_mean
from trainyard.errors import ConfigError, TrackingError
from trainyard.tracking.runs import PARENT_TAG
from trainyard.tracking.search import search_runs, stored_run
from trainyard.tracking.trial_runs import TRIAL_TAG

_UNKNOWN = "not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a user asks for.

    Attributes:
        references: Ids of runs, and folders.
        experiment: All runs of this experiment.
        sweep: All trials of this sweep.
        wanted: All that this filter finds, in MLflow's language.
        test_data: The beginning of the digest of the test images; of no other runs.
    """

    references: tuple[str, ...] = ()
    experiment: str | None = None
    sweep: str | None = None
    wanted: str | None = None
    test_data: str | None = None

    @property
    def searches(self) -> bool:
        """Whether runs are to be found, beside those that are named."""
        return bool(self.experiment or self.sweep or self.wanted)


@dataclass(frozen=True, slots=True)
class Selected:
    """What was found.

    Attributes:
        runs: Tested on the same images: those that were named, in the order given, then the others, the earliest first.
        left_out: How many more there are, by why they don't count.
    """

    runs: list[ComparedRun]
    left_out: Counter[str] = field(default_factory=Counter)


def select_runs(selection: Selection, uri: str) -> Selected:
    """Finds the runs.

    Args:
        selection: Which.
        uri: Of the store that knows them.

    Raises:
        ConfigError: If there is no such run, experiment or sweep, or they were tested on different images.
        TrackingError: If the store can't be reached.
    """
    found = {run.identity: run for run in (_by_reference(reference, uri) for reference in selection.references)}
    left_out: Counter[str] = Counter()
    if selection.searches:
        for run in sorted(_search(selection, uri), key=lambda run: run.started):
            if run.tags.get("trainyard.role") == "sweep" or run.identity in found:
                continue
            if run.status == "FINISHED":
                found[run.identity] = run
            else:
                left_out["pruned" if "pruned" in run.tags else run.status] += 1
    if not found:
        besides = f" There are {_counted(left_out)}." if left_out else ""
        raise ConfigError(f"compare: expected runs that came to their end, found none.{besides} Ask for others")
    return Selected(_on_same_images(list(found.values()), selection.test_data, left_out), left_out)


def _counted(left_out: Counter[str]) -> str:
    return ", ".join(f"{count:,} {why}" for why, count in left_out.items())


def _by_reference(reference: str, uri: str) -> ComparedRun:
    if Path(reference).is_dir():
        return from_folder(Path(reference))
    try:
        run = from_store(stored_run(uri, reference), uri)
    except TrackingError as error:
        raise ConfigError(f"compare: {error}") from error
    if run.tags.get("trainyard.role") == "sweep":
        raise ConfigError(
            f"compare: {reference} is a sweep and no single run. To compare its trials: --sweep {run.tags['sweep_id']}"
        )
    return run


def _search(selection: Selection, uri: str) -> list[ComparedRun]:
    conditions = [selection.wanted] if selection.wanted else []
    if selection.sweep:
        quote = '"' if "'" in selection.sweep else "'"
        conditions += [f"tags.sweep_id = {quote}{selection.sweep}{quote}", "tags.`trainyard.role` = 'trial'"]
    found = search_runs(uri, selection.experiment, " and ".join(conditions))
    runs = [from_store(run, uri) for run in found]
    return _trials(runs, selection.sweep, uri) if selection.sweep else runs


def _trials(runs: list[ComparedRun], sweep: str, uri: str) -> list[ComparedRun]:
    """Returns the trials of a sweep, of each its latest run."""
    if not runs:
        known = {run.tags["sweep_id"] for run in search_runs(uri, None, "tags.`trainyard.role` = 'sweep'")}
        if sweep in known:
            raise ConfigError(f"--sweep: no trial of {sweep!r} is of that experiment, or matches that filter")
        told = f" There are: {', '.join(sorted(known))}" if known else " There are none"
        raise ConfigError(f"--sweep: the store has no sweep {sweep!r}.{did_you_mean(sweep, sorted(known))}{told}")
    parents = sorted({run.tags.get(PARENT_TAG, "") for run in runs})
    if len(parents) > 1:
        raise ConfigError(
            f"--sweep: expected one sweep of the name {sweep!r}, found {len(parents)}. Name its run: "
            f"--filter 'tags.`{PARENT_TAG}` = \"{parents[0]}\"'. There are: {', '.join(parents)}"
        )
    latest: dict[str, ComparedRun] = {}
    for run in sorted(runs, key=lambda run: (run.status == "FINISHED", run.started)):
        latest[run.tags.get(TRIAL_TAG, run.reference)] = run
    return list(latest.values())


def _on_same_images(runs: list[ComparedRun], wanted: str | None, left_out: Counter[str]) -> list[ComparedRun]:
    """Returns the runs that were tested on the images that are asked for, and checks that these are the same.

    Where a limit has the seed draw the test images, every config has to have been tested on all of the sets.
    """
    kept = [run for run in runs if wanted is None or (run.test_digest or "").startswith(wanted[:DIGEST])]
    if len(runs) > len(kept) > 0:
        left_out["on other test images"] = len(runs) - len(kept)
    by_config: dict[str, set[str]] = defaultdict(set)
    for run in kept:
        by_config[run.config].add(run.test_digest or _UNKNOWN)
    digests = {digest for those in by_config.values() for digest in those}
    if not kept:
        there = _digests_in_words(runs)
        raise ConfigError(f"--test-data: no run was tested on images whose digest begins with {wanted!r}. {there}")
    if any(those != digests for those in by_config.values()) or (len(digests) > 1 and len(by_config) == 1):
        raise ConfigError(
            f"compare: expected runs that were tested on the same images, got {len(digests)} sets of them. "
            f"{_digests_in_words(kept)}. Choose one: --test-data DIGEST"
        )
    return kept


def _digests_in_words(runs: Sequence[ComparedRun]) -> str:
    by_digest: dict[str, list[ComparedRun]] = {}
    for run in runs:
        by_digest.setdefault(run.test_digest or _UNKNOWN, []).append(run)
    return "; ".join(f"{digest}: {_some(those)}" for digest, those in by_digest.items())


def _some(runs: Sequence[ComparedRun]) -> str:
    return runs[0].reference if len(runs) == 1 else f"{len(runs):,} runs, {runs[0].reference} among them"
