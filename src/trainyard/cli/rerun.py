"""``trainyard rerun``: repeats a logged run, and compares the two runs."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout

from rich.console import Console
from rich.text import Text

from trainyard.analysis import (
    Likeness,
    OriginalRun,
    RerunComparison,
    compare_runs,
    keeps_engine,
    load_original,
    restore_config,
)
from trainyard.cli.terminal import ScreenProgress, print_heading, print_result
from trainyard.config import check_files_exist, compose_trees, find_config_differences, forbid_code_execution
from trainyard.errors import ConfigError, TrackingError
from trainyard.runs import find_start_model
from trainyard.system import raise_on_signals
from trainyard.tracking import TrackingStore

EXIT_NOT_CONFIRMED = 3
"""The exit code if a verification finds that the weights are not bitwise identical."""

_SHOWN_CAUSES = 8
_LABEL = 16
"""Width of the label at the start of a line."""


def rerun_command(reference: str, changes: Sequence[str], *, verify: bool, as_json: bool, uri: str | None) -> int:
    """Repeats a logged run, and prints a comparison of the two runs.

    Args:
        reference: The run's id, or its folder.
        changes: Overrides of the run's config, in the grammar of ``trainyard train``.
        verify: Whether to fail unless the weights are bitwise identical.
        as_json: Whether to print the comparison as JSON, and everything else on stderr.
        uri: The tracking store that has the run; None uses the default store of this folder.

    Returns:
        The exit code: 3 if `verify` is set and the weights are not bitwise identical, else 0.

    Raises:
        ConfigError: If there is no such run, or it cannot be repeated in this way; nothing was run.
        TrainyardError: If the new run failed.
    """
    store = TrackingStore.from_option(uri)
    original = load_original(reference, store)
    config, overrides = restore_config(original, tuple(changes))
    forbid_code_execution(compose_trees(overrides)[1], overrides)
    check_files_exist(config)
    start, same_start = config.training.start_from, config.training.start_from == original.config.training.start_from
    start_model = find_start_model(start, store) if same_start else None  # the run's own store may not have it
    original_config = restore_config(original, keep_engine=keeps_engine(changes))[0]
    changed = find_config_differences(original_config, config)
    if verify:
        _check_verifiable(original, changed)
    from trainyard.runs import run_experiment

    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        print_heading(f"Rerun of {original.run.name}, {reference}")
        with raise_on_signals(), ScreenProgress() as progress:
            result = run_experiment(config, progress=progress, overrides=overrides, start_model=start_model)
        print_result(result)
    rerun = load_original(str(result.folder), None)
    siblings = _find_sibling_accuracies(original, store, result.run_id)
    comparison = compare_runs(original, rerun, siblings, changed, test_images=len(result.dataset.test))
    if as_json:
        record = dataclasses.asdict(comparison) | {
            "original": reference,
            "run_id": result.run_id,
            "folder": str(result.folder),
        }
        sys.stdout.write(json.dumps(record, indent=2) + "\n")
    else:
        print_comparison(comparison)
    return EXIT_NOT_CONFIRMED if verify and comparison.likeness is not Likeness.BITWISE else 0


def print_comparison(comparison: RerunComparison) -> None:
    """Prints how similar two runs are, in which epoch they diverge, and possible causes."""
    console = Console(soft_wrap=True, highlight=False)
    print_heading("Comparison with the original run")
    likeness = comparison.likeness
    console.print(Text(_format_headline(comparison), style="green" if likeness is Likeness.BITWISE else "bold"))
    if comparison.parted is not None:
        console.print(Text(_describe_divergence(comparison.parted)))
    for line in comparison.changed:
        console.print(Text(f"{'changed':{_LABEL}}{line}"))
    causes = comparison.causes
    listed_causes = causes if len(causes) <= _SHOWN_CAUSES else causes[:_SHOWN_CAUSES]
    label = "differs" if likeness is Likeness.BITWISE else "possible cause"
    for cause in listed_causes:
        console.print(Text(f"{label:{_LABEL}}{cause}"))
    if len(causes) > len(listed_causes):
        console.print(Text(f"{'':{_LABEL}}and {len(causes) - len(listed_causes)} more"))
    if not causes and likeness not in (Likeness.BITWISE, None) and not comparison.changed:
        console.print(Text("No difference in the environment was found. See training.determinism for the guarantees"))


def _format_headline(comparison: RerunComparison) -> str:
    """Returns one line with the likeness of two runs and their test accuracies."""
    within, source = comparison.spread
    figures = f"accuracy {comparison.now:.4f}, was {comparison.before:.4f}" if comparison.before is not None else ""
    match comparison.likeness:
        case None:
            return f"not compared: the original run did not finish; accuracy {comparison.now:.4f}"
        case Likeness.BITWISE:
            return f"bitwise: all weights are the same; {figures}"
        case Likeness.METRICS:
            return f"same metrics: the weights differ, but all metrics on the test images are the same; {figures}"
        case likeness:
            return f"{likeness}: {figures}; spread {within:.4f}, {source}"


def _describe_divergence(epoch: int) -> str:
    """Returns a sentence on the first epoch in which two runs differ; 0 means that the initial weights differ."""
    if epoch == 0:
        return "The runs diverge before the first epoch: their initial weights differ"
    return (
        f"The runs diverge in epoch {epoch}: all earlier metrics are the same"
        if epoch > 1
        else "The runs diverge in epoch 1"
    )


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
