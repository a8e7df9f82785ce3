"""``trainyard rerun``: have a logged run again, and say how the two compare."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout

from rich.console import Console
from rich.text import Text

from trainyard.analysis.rerun.comparison import Comparison, Likeness, compare
from trainyard.analysis.rerun.original import Original, keeps_engine, read_original, restore
from trainyard.cli.screen import ScreenProgress, print_heading, print_result
from trainyard.config.compose import compose_trees, config_differences
from trainyard.config.security import refuse_doors
from trainyard.config.validation import require_files
from trainyard.errors import ConfigError, TrackingError
from trainyard.runs.pretrained import find_start_model
from trainyard.system.signals import signals_raise
from trainyard.tracking.history import accuracies_of_siblings
from trainyard.tracking.stores import store_of_command

NOT_CONFIRMED = 3
"""The exit code where a verification asked for the same bits and got others."""

_SHOWN_CAUSES = 8
_LABEL = 12
"""Characters of what stands before a line."""


def rerun_command(reference: str, changes: Sequence[str], *, verify: bool, as_json: bool, uri: str | None) -> int:
    """Trains a logged run once more, and prints how the two compare.

    Args:
        reference: The run's id, or its folder.
        changes: Overrides, as ``trainyard train`` takes them.
        verify: Whether anything but the same bits is a failure.
        as_json: Whether to print the comparison as JSON, and everything else on stderr.
        uri: The store that knows the run; None: the one that runs go to from here.

    Returns:
        The exit code: 3 where `verify` asked for the same bits and got others.

    Raises:
        ConfigError: If there is no such run, or what is asked of it makes no sense; nothing was run.
        TrainyardError: If the new run failed.
    """
    store = store_of_command(uri)
    original = read_original(reference, store)
    config, overrides = restore(original, tuple(changes))
    refuse_doors(compose_trees(overrides)[1], overrides)
    require_files(config)
    start, same_start = config.training.start_from, config.training.start_from == original.config.training.start_from
    start_model = find_start_model(start, store) if same_start else None  # where runs go to it may not be known
    as_it_was = restore(original, keep_engine=keeps_engine(changes))[0]
    changed = config_differences(as_it_was, config)
    if verify:
        _refuse_other_run(original, changed)
    from trainyard.runs.experiment import run_experiment

    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        print_heading(f"Again: {original.account.name}, {reference}")
        with signals_raise(), ScreenProgress() as progress:
            result = run_experiment(config, progress=progress, overrides=overrides, start_model=start_model)
        print_result(result)
    again = read_original(str(result.folder), None)
    comparison = compare(original, again, _siblings(original, store, result.run_id), changed)
    if as_json:
        told = dataclasses.asdict(comparison) | {
            "original": reference,
            "run_id": result.run_id,
            "folder": str(result.folder),
        }
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
    else:
        print_comparison(comparison)
    return NOT_CONFIRMED if verify and comparison.likeness is not Likeness.BITWISE else 0


def print_comparison(comparison: Comparison) -> None:
    """Prints how alike two runs are, where they part, and why that may be."""
    console = Console(soft_wrap=True, highlight=False)
    print_heading("The two runs")
    likeness = comparison.likeness
    console.print(Text(_headline(comparison), style="green" if likeness is Likeness.BITWISE else "bold"))
    if comparison.parted is not None:
        console.print(Text(_parted(comparison.parted)))
    for line in comparison.changed:
        console.print(Text(f"{'changed':{_LABEL}}{line}"))
    causes = comparison.causes
    told = causes if len(causes) <= _SHOWN_CAUSES else causes[:_SHOWN_CAUSES]
    label = "around it" if likeness is Likeness.BITWISE else "may be why"
    for one in told:
        console.print(Text(f"{label:{_LABEL}}{one}"))
    if len(causes) > len(told):
        console.print(Text(f"{'':{_LABEL}}and {len(causes) - len(told)} more"))
    if not causes and likeness not in (Likeness.BITWISE, None) and not comparison.changed:
        console.print(Text("Nothing around them is known to differ: training.determinism tells what is promised"))


def _headline(comparison: Comparison) -> str:
    within, source = comparison.spread
    figures = f"accuracy {comparison.now:.4f}, was {comparison.before:.4f}" if comparison.before is not None else ""
    match comparison.likeness:
        case None:
            return f"not compared: the earlier run did not come to its end; accuracy {comparison.now:.4f}"
        case Likeness.BITWISE:
            return f"bitwise: all weights are the same; {figures}"
        case Likeness.METRICS:
            return f"same metrics: the weights differ, and no figure on the test images does; {figures}"
        case likeness:
            return f"{likeness}: {figures}; spread {within:.4f}, {source}"


def _parted(epoch: int) -> str:
    if epoch == 0:
        return "They part before the first epoch: their initial weights differ"
    return f"They part in epoch {epoch}: up to there all metrics are the same" if epoch > 1 else "They part in epoch 1"


def _refuse_other_run(original: Original, differences: Sequence[str]) -> None:
    """Checks that a verification repeats a run that can be repeated, as it was."""
    if differences:
        told = "; ".join(differences)
        raise ConfigError(f"--verify: expected the run as it was, got {told}. Leave that, or --verify, out")
    if original.config.training.determinism == "off":
        raise ConfigError(
            "--verify: expected a run whose seed fixes its draws, got training.determinism=off. Leave it out"
        )
    if original.account.status != "FINISHED":
        raise ConfigError(
            f"--verify: expected a run that is FINISHED, got {original.reference}, which is {original.account.status}: "
            "there is nothing to compare with. Leave out --verify"
        )


def _siblings(original: Original, uri: str | None, again: str | None) -> list[float]:
    """Returns what runs of the same config with other seeds came to, where a store knows; not what came out now."""
    if uri is None:
        return []
    try:
        return list(accuracies_of_siblings(uri, original.account, without=again).values())
    except TrackingError:  # the comparison is no reason to fail after all that
        return []
