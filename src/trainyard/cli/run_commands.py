"""The arguments of the commands that train."""

from __future__ import annotations

from typing import Annotated

import typer

from trainyard.cli.app import RunReference, StoreUri


def train(context: typer.Context) -> int:
    """Train one model from a config, and log everything to MLflow: `train experiment=quickstart`."""
    from trainyard.cli.train import train_command

    return train_command(context.args)


def sweep(context: typer.Context) -> int:
    """Train every combination of several values in parallel, or resume an interrupted sweep."""
    from trainyard.cli.sweep.command import sweep_command

    return sweep_command(context.args)


def rerun(
    run: RunReference,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Overrides of the run's config, as in `train`.", metavar="OVERRIDE")
    ] = None,
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="Exit with code 3 unless the weights are bitwise identical.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
    uri: StoreUri = None,
) -> int:
    """Repeat a logged run, and compare the two runs: `rerun RUN_ID --verify`."""
    from trainyard.cli.rerun import rerun_command

    return rerun_command(run, overrides or [], verify=verify, as_json=as_json, uri=uri)


def _complete_experiment(incomplete: str) -> list[str]:
    """Returns the names in ``experiments/`` that complete a word."""
    from trainyard.analysis import list_experiments

    return [name for name in list_experiments() if name.startswith(incomplete)]


def reproduce(
    experiment: Annotated[
        str,
        typer.Argument(
            help="Name of an experiment in `experiments/`, or path of its claim or target.",
            metavar="EXPERIMENT",
            autocompletion=_complete_experiment,
        ),
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Overrides for all runs, as in `sweep`.", metavar="OVERRIDE")
    ] = None,
    *,
    seeds: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Number of seeds. [default: as the experiment specifies]")
    ] = None,
    record: Annotated[
        bool,
        typer.Option("--record", help="Write the results next to the claim or target, not to `outputs/reproduce`."),
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over; do not resume interrupted sweeps.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures and verdicts as JSON.")] = False,
) -> int:
    """Train a recipe with many seeds, and compare the results with a published claim or a target."""
    from trainyard.cli.reproduce import reproduce_command

    return reproduce_command(experiment, overrides or [], seeds=seeds, record=record, fresh=fresh, as_json=as_json)
