"""The commands that make runs, or do something with them: their arguments. What they do stands in modules of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trainyard.cli.app import STORE_HERE, app, exit_codes

_HYDRA_ARGUMENTS = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
"""How a command hands on whatever stands behind it."""


@app.command(add_help_option=False, context_settings=_HYDRA_ARGUMENTS)
def train(context: typer.Context) -> None:
    """Train one model from a config, evaluate it, and log everything to MLflow: `train experiment=quickstart`."""
    from trainyard.cli.train import train_command

    with exit_codes():
        raise typer.Exit(train_command(context.args))


@app.command(add_help_option=False, context_settings=_HYDRA_ARGUMENTS)
def sweep(context: typer.Context) -> None:
    """Train every combination of several values, side by side, and go on where it was ended."""
    from trainyard.cli.sweep.command import sweep_command

    with exit_codes():
        raise typer.Exit(sweep_command(context.args))


def _sweeps(incomplete: str) -> list[str]:
    from trainyard.cli.override_completion import complete_sweep

    return complete_sweep(incomplete)


@app.command()
def ui(
    experiment: Annotated[
        str | None, typer.Option(metavar="NAME", help="Open this experiment; else the one with the latest run.")
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Open this sweep of this folder, its trials with the best first.",
            autocompletion=_sweeps,
        ),
    ] = None,
    uri: Annotated[str | None, typer.Option(metavar="URI", help=f"The store to look into; {STORE_HERE}.")] = None,
    port: Annotated[
        int, typer.Option(min=1, max=65435, metavar="N", help="The port to listen on; if it is taken, the next free.")
    ] = 5000,
) -> None:
    """Open the MLflow UI on the store that runs go to, on this machine only."""
    from trainyard.cli.ui import ui_command

    with exit_codes():
        ui_command(experiment, sweep, uri, port)


@app.command()
def rerun(
    run: Annotated[str, typer.Argument(help="The run: its id, or its folder.", metavar="RUN")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="What is to be otherwise, as `train` takes it.", metavar="OVERRIDE")
    ] = None,
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="Exit with 3 if the weights are not the same, to the last bit.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
    uri: Annotated[str | None, typer.Option(metavar="URI", help=f"The store that knows the run; {STORE_HERE}.")] = None,
) -> None:
    """Train a logged run once more, and say how the two compare: `rerun RUN_ID --verify`."""
    from trainyard.cli.rerun import rerun_command

    with exit_codes():
        raise typer.Exit(rerun_command(run, overrides or [], verify=verify, as_json=as_json, uri=uri))


def _experiments(incomplete: str) -> list[str]:
    from trainyard.analysis.claims.spec import experiments

    return [name for name in experiments() if name.startswith(incomplete)]


@app.command(context_settings={"allow_interspersed_args": True})
def reproduce(
    experiment: Annotated[
        str,
        typer.Argument(
            help="The name of an experiment in `experiments/`, or the path of its claim or target.",
            metavar="EXPERIMENT",
            autocompletion=_experiments,
        ),
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="For all runs, as `sweep` takes them.", metavar="OVERRIDE")
    ] = None,
    *,
    seeds: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Runs of each recipe; else as many as the experiment says.")
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Write beside the claim or target; else into `outputs/reproduce`.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew; else it goes on where it was ended.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every figure and its verdict.")] = False,
) -> None:
    """Train a recipe with many seeds, and set what was published, or is aimed at, beside what came out."""
    from trainyard.cli.reproduce import reproduce_command

    with exit_codes():
        raise typer.Exit(
            reproduce_command(experiment, overrides or [], seeds=seeds, record=record, fresh=fresh, as_json=as_json)
        )


@app.command()
def compare(
    runs: Annotated[
        list[str] | None, typer.Argument(help="Runs, by their ids or their folders.", metavar="RUN")
    ] = None,
    *,
    experiment: Annotated[str | None, typer.Option(metavar="NAME", help="All runs of this experiment.")] = None,
    sweep: Annotated[
        str | None, typer.Option(metavar="NAME", help="All trials of this sweep.", autocompletion=_sweeps)
    ] = None,
    wanted: Annotated[
        str | None,
        typer.Option(
            "--filter", metavar="FILTER", help="All runs that match, in MLflow's language; narrows the others."
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="METRIC", help="Compare by this metric; else by `accuracy/val`, or `accuracy/test`."),
    ] = None,
    best: Annotated[int | None, typer.Option(min=1, metavar="N", help="Show only the best configs.")] = None,
    test_data: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="Only runs that were tested on the images of this digest.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every metric.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a line per config.")] = False,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a page with curves, scores by class, and the images that changed."),
    ] = None,
    uri: Annotated[
        str | None, typer.Option(metavar="URI", help=f"The store that knows the runs; {STORE_HERE}.")
    ] = None,
) -> None:
    """Set runs side by side: what differs, what came out, and whether that is more than chance."""
    from trainyard.analysis.compare.selection import Selection
    from trainyard.cli.compare import compare_command
    from trainyard.errors import ConfigError

    with exit_codes():
        if as_json and as_csv:
            raise ConfigError("--json: expected it or --csv, got both. Leave one out")
        selection = Selection(
            references=tuple(runs or ()), experiment=experiment, sweep=sweep, wanted=wanted, test_data=test_data
        )
        compare_command(
            selection,
            by=by,
            best=best,
            form="json" if as_json else "csv" if as_csv else "table",
            html=html,
            uri=uri,
        )


@app.command()
def export(
    run: Annotated[str, typer.Argument(help="The run's id, or its folder.", metavar="RUN")],
    folder: Annotated[Path, typer.Argument(help="The folder to make; new or empty.", metavar="DIR")],
    *,
    uri: Annotated[str | None, typer.Option(metavar="URI", help=f"The store that knows the run; {STORE_HERE}.")] = None,
) -> None:
    """Write a run's model, scores and page into a folder that stands alone, with a README that says how to load it."""
    from trainyard.cli.export import export_command

    with exit_codes():
        export_command(run, folder, uri)


@app.command()
def promote(
    run: Annotated[str, typer.Argument(help="The run's id.", metavar="RUN_ID")],
    name: Annotated[str, typer.Argument(help="Of the registered model.", metavar="NAME")],
    *,
    alias: Annotated[str | None, typer.Option(metavar="ALIAS", help="To point to this version: `champion`.")] = None,
    uri: Annotated[str | None, typer.Option(metavar="URI", help=f"The store that knows the run; {STORE_HERE}.")] = None,
) -> None:
    """Register a run's model in MLflow's registry, once its weights are shown to be those that the run trained."""
    from trainyard.cli.export import promote_command

    with exit_codes():
        promote_command(run, name, alias, uri)


@app.command()
def predict(
    model: Annotated[
        str, typer.Argument(help="The trained model: a run's id, its folder, or a .keras or .h5 file.", metavar="MODEL")
    ],
    images: Annotated[list[Path], typer.Argument(help="Images to classify: PNG, JPEG or npz files.", metavar="IMAGE")],
    *,
    top: Annotated[int, typer.Option(min=1, metavar="N", help="Print this many classes of each image.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the probabilities of all classes.")] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw images and probabilities into this PNG file.")
    ] = None,
    resize: Annotated[
        bool, typer.Option("--resize", help="Resize images of another size than the model's; else they are refused.")
    ] = False,
    invert: Annotated[
        bool, typer.Option("--invert", help="Swap light and dark: ink on paper, for a model of white on black.")
    ] = False,
    as_is: Annotated[
        bool, typer.Option("--as-is", help="Don't refuse images whose background is not as light or dark as learnt.")
    ] = False,
    uri: Annotated[str | None, typer.Option(metavar="URI", help=f"The store that knows the run; {STORE_HERE}.")] = None,
) -> None:
    """Tell what a trained model says of images: `predict RUN_ID digit.png`."""
    from trainyard.cli.predict import predict_command
    from trainyard.serving.image_inputs import Treatment

    with exit_codes():
        treatment = Treatment(resize=resize, invert=invert, as_is=as_is)
        predict_command(model, images, treatment=treatment, top=top, as_json=as_json, plot=plot, uri=uri)


@app.command()
def sync(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders of runs, or folders with such folders in them.", metavar="RUN_FOLDER")
    ],
    *,
    to: Annotated[
        str | None, typer.Option(metavar="URI", help="The tracking store; else the one that each run was meant for.")
    ] = None,
) -> None:
    """Upload runs that the tracking store lacks, or lost the middle of, from their folders: `sync outputs`."""
    from trainyard.cli.sync import sync_command

    with exit_codes():
        raise typer.Exit(sync_command(folders, to))
