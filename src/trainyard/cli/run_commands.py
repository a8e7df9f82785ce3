"""The arguments of the commands that create runs or use them. Each command is implemented in a separate module."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trainyard.cli.app import DEFAULT_STORE_HELP, app, exit_on_error

_HYDRA_ARGUMENTS = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
"""Click settings of a command that passes its arguments to Hydra's parser."""


@app.command(add_help_option=False, context_settings=_HYDRA_ARGUMENTS)
def train(context: typer.Context) -> None:
    """Train one model from a config, and log everything to MLflow: `train experiment=quickstart`."""
    from trainyard.cli.train import train_command

    with exit_on_error():
        raise typer.Exit(train_command(context.args))


@app.command(add_help_option=False, context_settings=_HYDRA_ARGUMENTS)
def sweep(context: typer.Context) -> None:
    """Train every combination of several values in parallel, or resume an interrupted sweep."""
    from trainyard.cli.sweep.command import sweep_command

    with exit_on_error():
        raise typer.Exit(sweep_command(context.args))


def _complete_sweep(incomplete: str) -> list[str]:
    """Returns the names of the sweeps in this folder that complete a word."""
    from trainyard.cli.override_completion import complete_sweep

    return complete_sweep(incomplete)


@app.command()
def ui(
    experiment: Annotated[
        str | None, typer.Option(metavar="NAME", help="Experiment to open. [default: that of the latest run]")
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Sweep in this folder to open. The best trials are listed first.",
            autocompletion=_complete_sweep,
        ),
    ] = None,
    uri: Annotated[str | None, typer.Option(metavar="URI", help=f"Tracking store. {DEFAULT_STORE_HELP}")] = None,
    port: Annotated[
        int,
        typer.Option(
            min=1, max=65435, metavar="N", help="Port to listen on. If it is in use, the next free port is used."
        ),
    ] = 5000,
) -> None:
    """Start the MLflow UI on the tracking store; only this machine can reach it."""
    from trainyard.cli.mlflow_ui import ui_command

    with exit_on_error():
        ui_command(experiment, sweep, uri, port)


@app.command()
def rerun(
    run: Annotated[str, typer.Argument(help="ID or folder of the run.", metavar="RUN")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Overrides of the run's config, as in `train`.", metavar="OVERRIDE")
    ] = None,
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="Exit with code 3 unless the weights are bitwise identical.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
    uri: Annotated[str | None, typer.Option(metavar="URI", help=f"Tracking store. {DEFAULT_STORE_HELP}")] = None,
) -> None:
    """Repeat a logged run, and compare the two runs: `rerun RUN_ID --verify`."""
    from trainyard.cli.rerun import rerun_command

    with exit_on_error():
        raise typer.Exit(rerun_command(run, overrides or [], verify=verify, as_json=as_json, uri=uri))


def _complete_experiment(incomplete: str) -> list[str]:
    """Returns the names in ``experiments/`` that complete a word."""
    from trainyard.analysis import list_experiments

    return [name for name in list_experiments() if name.startswith(incomplete)]


@app.command(context_settings={"allow_interspersed_args": True})
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
) -> None:
    """Train a recipe with many seeds, and compare the results with a published claim or a target."""
    from trainyard.cli.reproduce import reproduce_command

    with exit_on_error():
        raise typer.Exit(
            reproduce_command(experiment, overrides or [], seeds=seeds, record=record, fresh=fresh, as_json=as_json)
        )


@app.command()
def compare(
    runs: Annotated[list[str] | None, typer.Argument(help="IDs or folders of runs.", metavar="RUN")] = None,
    *,
    experiment: Annotated[str | None, typer.Option(metavar="NAME", help="Select the runs of this experiment.")] = None,
    sweep: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Select the trials of this sweep.", autocompletion=_complete_sweep),
    ] = None,
    filter_string: Annotated[
        str | None,
        typer.Option(
            "--filter",
            metavar="FILTER",
            help="Select runs with an MLflow filter string; restricts the other selections.",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="METRIC", help="Metric to compare by. [default: `accuracy/val`, else `accuracy/test`]"),
    ] = None,
    best: Annotated[int | None, typer.Option(min=1, metavar="N", help="Show only the N best configs.")] = None,
    test_data: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="Select only runs whose test images have this digest.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all metrics as JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one line per config.")] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write an HTML page with learning curves, scores per class, and changed predictions."
        ),
    ] = None,
    uri: Annotated[str | None, typer.Option(metavar="URI", help=f"Tracking store. {DEFAULT_STORE_HELP}")] = None,
) -> None:
    """Compare runs: settings, results, and whether the differences are significant."""
    from trainyard.analysis import Selection
    from trainyard.cli.compare import compare_command
    from trainyard.errors import ConfigError

    with exit_on_error():
        if as_json and as_csv:
            raise ConfigError("--json: cannot be combined with --csv. Remove one of them")
        selection = Selection(
            references=tuple(runs or ()),
            experiment=experiment,
            sweep=sweep,
            filter_string=filter_string,
            test_data=test_data,
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
    run: Annotated[str, typer.Argument(help="ID or folder of the run.", metavar="RUN")],
    folder: Annotated[Path, typer.Argument(help="Folder to create; it must be new or empty.", metavar="DIR")],
    *,
    uri: Annotated[str | None, typer.Option(metavar="URI", help=f"Tracking store. {DEFAULT_STORE_HELP}")] = None,
) -> None:
    """Export a run's model, scores and report to a folder, with a README that explains how to load the model."""
    from trainyard.cli.export import export_command

    with exit_on_error():
        export_command(run, folder, uri)


@app.command()
def promote(
    run: Annotated[str, typer.Argument(help="ID of the run.", metavar="RUN_ID")],
    name: Annotated[str, typer.Argument(help="Name of the registered model.", metavar="NAME")],
    *,
    alias: Annotated[
        str | None, typer.Option(metavar="ALIAS", help="Alias to set on this version, such as `champion`.")
    ] = None,
    uri: Annotated[str | None, typer.Option(metavar="URI", help=f"Tracking store. {DEFAULT_STORE_HELP}")] = None,
) -> None:
    """Verify the weights of a run's model, and register the model in MLflow's model registry."""
    from trainyard.cli.export import promote_command

    with exit_on_error():
        promote_command(run, name, alias, uri)


@app.command()
def predict(
    model: Annotated[
        str, typer.Argument(help="Trained model: ID or folder of a run, or a .keras or .h5 file.", metavar="MODEL")
    ],
    images: Annotated[list[Path], typer.Argument(help="Images to classify: PNG, JPEG or npz files.", metavar="IMAGE")],
    *,
    top: Annotated[int, typer.Option(min=1, metavar="N", help="Number of classes to print per image.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print the probabilities of all classes as JSON.")] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the images and probabilities to this PNG file.")
    ] = None,
    resize: Annotated[
        bool, typer.Option("--resize", help="Resize images to the model's input size, instead of rejecting them.")
    ] = False,
    invert: Annotated[
        bool, typer.Option("--invert", help="Invert light and dark, for example for dark ink on paper.")
    ] = False,
    as_is: Annotated[
        bool, typer.Option("--as-is", help="Accept images whose background is lighter or darker than in training.")
    ] = False,
    uri: Annotated[str | None, typer.Option(metavar="URI", help=f"Tracking store. {DEFAULT_STORE_HELP}")] = None,
) -> None:
    """Predict the classes of images: `predict RUN_ID digit.png`."""
    from trainyard.cli.predict import predict_command
    from trainyard.serving import ImageConversion

    with exit_on_error():
        conversion = ImageConversion(resize=resize, invert=invert, as_is=as_is)
        predict_command(model, images, conversion=conversion, top=top, as_json=as_json, plot=plot, uri=uri)


@app.command()
def sync(
    folders: Annotated[
        list[Path], typer.Argument(help="Run folders, or folders that contain run folders.", metavar="RUN_FOLDER")
    ],
    *,
    to: Annotated[
        str | None, typer.Option(metavar="URI", help="Tracking store. [default: the one in the config of each run]")
    ] = None,
) -> None:
    """Upload runs that are missing or incomplete in the tracking store: `sync outputs`."""
    from trainyard.cli.sync import sync_command

    with exit_on_error():
        raise typer.Exit(sync_command(folders, to))
