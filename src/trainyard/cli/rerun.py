"""``trainyard rerun``: repeats a logged run, and compares the two runs."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from contextlib import nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from trainyard.cli.app import RunReference, StoreUri
from trainyard.system import print_heading, print_next_steps, print_styled, print_wrapped

if TYPE_CHECKING:
    from trainyard.analysis import RerunComparison, RerunResult
    from trainyard.tracking import TrackingStore

EXIT_NOT_CONFIRMED = 3
"""The exit code if a verification finds that the results are not bitwise identical."""

_SHOWN_CAUSES = 8
_LABEL = 16
"""Width of the label at the start of a line."""


def rerun(
    run: RunReference,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="Changes of the run's config, each as FIELD=VALUE, such as `training.epochs=20`.", metavar="OVERRIDE"
        ),
    ] = None,
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="Exit with code 3 unless the results are bitwise identical.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
    uri: StoreUri = None,
) -> int:
    """Repeat a logged run, and compare the two runs.

    Examples:
      trainyard rerun RUN_ID --verify
      trainyard rerun RUN_ID training.epochs=20
    """
    from trainyard.analysis import plan_rerun, run_rerun
    from trainyard.runs import ScreenProgress, print_result
    from trainyard.tracking import TrackingStore

    plan = plan_rerun(run, TrackingStore.from_option(uri), overrides or [], verify=verify)
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        print_heading(f"Rerun of {plan.original.run.name}, {run}")
        with ScreenProgress() as progress:
            repeated = run_rerun(plan, progress)
        print_result(repeated.result)
    if as_json:
        record = dataclasses.asdict(repeated.comparison) | {
            "original": run,
            "run_id": repeated.result.run_id,
            "folder": str(repeated.result.folder),
        }
        typer.echo(json.dumps(record, indent=2))
    else:
        print_comparison(repeated.comparison)
        print_next_steps(_list_next_steps(run, repeated, plan.store))
    return EXIT_NOT_CONFIRMED if verify and not repeated.is_bitwise else 0


def _list_next_steps(original: str, repeated: RerunResult, store: TrackingStore) -> dict[str, str]:
    """Returns the command that exports a confirmed model, or that shows the differences between the two runs."""
    from trainyard.runs import build_store_command

    result = repeated.result
    reference = result.run_id or os.path.relpath(result.folder)
    if repeated.is_bitwise:
        return {"export": build_store_command("export", reference, f"model-{result.folder.name}", uri=store.uri)}
    if repeated.comparison.agreement is None:  # the original run did not finish
        return {"see it": build_store_command("ui", uri=store.uri)}
    page = ("--html", "compared.html")
    return {"compare": build_store_command("compare", original, reference, *page, uri=store.uri)}


def print_comparison(comparison: RerunComparison) -> None:
    """Prints how similar two runs are, in which epoch they diverge, and possible causes."""
    from trainyard.analysis import Agreement

    print_heading("Comparison with the original run")
    agreement = comparison.agreement
    is_bitwise = agreement is Agreement.BITWISE
    print_styled(_format_headline(comparison), "green" if is_bitwise else "bold")
    for part in comparison.different:
        _print_item("result differs", part)
    match comparison.first_different_epoch:
        case None:
            pass
        case 0:
            print_styled("The runs diverge before the first epoch: their initial weights differ")
        case 1:
            print_styled("The runs diverge in epoch 1")
        case epoch:
            print_styled(f"The runs diverge in epoch {epoch}: all earlier metrics are the same")
    for line in comparison.changed:
        _print_item("changed", line)
    causes = comparison.causes
    for cause in causes[:_SHOWN_CAUSES]:
        _print_item("differs" if is_bitwise else "possible cause", str(cause))
    if (hidden_count := len(causes) - _SHOWN_CAUSES) > 0:
        _print_item("", f"and {hidden_count} more")
    if not causes and agreement not in (Agreement.BITWISE, None) and not comparison.changed:
        print_styled("No difference in the environment was found. See training.determinism for the guarantees")


def _print_item(label: str, text: str) -> None:
    """Prints a line of the comparison behind its label."""
    print_wrapped(Console(highlight=False), Text(text), Text(f"{label:{_LABEL}}"))


def _format_headline(comparison: RerunComparison) -> str:
    """Returns one line with the agreement of two runs and their test accuracies."""
    from trainyard.analysis import Agreement

    within, source = comparison.spread
    figures = f"accuracy {comparison.now:.4f}, was {comparison.before:.4f}" if comparison.before is not None else ""
    match comparison.agreement:
        case None:
            return f"not compared: the original run did not finish; accuracy {comparison.now:.4f}"
        case Agreement.BITWISE:
            return f"bitwise: weights, data, metrics and predictions are the same; {figures}"
        case Agreement.METRICS:
            return f"same metrics: all metrics on the test images are the same; {figures}"
        case agreement:
            return f"{agreement}: {figures}; spread {within:.4f}, {source}"
