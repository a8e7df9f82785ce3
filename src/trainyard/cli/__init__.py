"""The command line: argv, what is printed, and exit codes. What the commands do stands in the modules above.

Exit codes: 0 done, 1 the work failed, 2 the command or the config is wrong, 130 and 143 interrupted.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from trainyard.cli.screen import print_error
from trainyard.collector import process_is_ours, spare_the_last_collection
from trainyard.errors import ConfigError, Terminated, TrainyardError
from trainyard.interrupts import ignore_signals

_ELSE_HERE = "else the one that runs go to from this folder"
_BEGIN = """Begin with `trainyard train experiment=quickstart`, which needs no download, and look at the run with
`trainyard ui`. `trainyard train --help` lists all that can be chosen and changed."""

_HYDRA_ARGUMENTS = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
"""How a command hands on whatever stands behind it."""

app = typer.Typer(
    name="trainyard",
    help="Run, compare and believe Keras experiments that are described in YAML.",
    epilog=_BEGIN,
    context_settings={"help_option_names": ["--help", "-h"]},
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Runs the command line and exits."""
    process_is_ours()
    for word in sys.argv[1:2]:
        if "=" in word and not word.startswith("-"):
            print_error(ConfigError(f"{word!r} is no command. Did you mean 'trainyard train {word}'?"))
            raise SystemExit(ConfigError.exit_code)
    command = typer.main.get_command(app)
    _leave_out_bool(command, None)
    try:
        command()
    finally:
        spare_the_last_collection()


def _leave_out_bool(command: Any, parent: typer.Context | None) -> None:  # noqa: ANN401 - a command of typer
    """Takes the `<bool>` that Typer puts beside flags, which take nothing, out of the help of all commands."""
    context = typer.Context(command, parent=parent, **command.context_settings)
    for option in command.get_params(context):
        if getattr(option, "is_flag", False):
            option.metavar = ""
    for inner in getattr(command, "commands", {}).values():
        _leave_out_bool(inner, context)


@contextlib.contextmanager
def _exit_codes() -> Iterator[None]:
    """Tells an error of ours in a line or two, and ends with the exit code of its kind."""
    try:
        yield
    except TrainyardError as error:
        print_error(error)
        raise typer.Exit(error.exit_code) from error
    except typer.Exit:
        raise
    except Exception as error:
        print_error(TrainyardError(f"{type(error).__name__}: {error}"))
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        ignore_signals()
        raise typer.Exit(error.exit_code if isinstance(error, Terminated) else 130) from error


@app.callback(invoke_without_command=True)
def _version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if show:
        typer.echo(f"trainyard {version('trainyard')}")
        raise typer.Exit


@app.command(add_help_option=False, context_settings=_HYDRA_ARGUMENTS)
def train(context: typer.Context) -> None:
    """Train one model from a config, evaluate it, and log everything to MLflow: `train experiment=quickstart`."""
    from trainyard.cli.train import train_command

    with _exit_codes():
        raise typer.Exit(train_command(context.args))


@app.command(add_help_option=False, context_settings=_HYDRA_ARGUMENTS)
def sweep(context: typer.Context) -> None:
    """Train every combination of several values, side by side, and go on where it was ended."""
    from trainyard.cli.sweep import sweep_command

    with _exit_codes():
        raise typer.Exit(sweep_command(context.args))


def _sweeps(incomplete: str) -> list[str]:
    from trainyard.cli.overrides import complete_sweep

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
    uri: Annotated[str | None, typer.Option(metavar="URI", help=f"The store to look into; {_ELSE_HERE}.")] = None,
    port: Annotated[
        int, typer.Option(min=1, max=65435, metavar="N", help="The port to listen on; if it is taken, the next free.")
    ] = 5000,
) -> None:
    """Open the MLflow UI on the store that runs go to, on this machine only."""
    from trainyard.cli.ui import ui_command

    with _exit_codes():
        ui_command(experiment, sweep, uri, port)


def _paths(incomplete: str) -> list[str]:
    from trainyard.cli.overrides import complete_path

    return complete_path(incomplete)


def _bench_parts(incomplete: str) -> list[str]:
    from trainyard.bench.results import PARTS

    return [part for part in PARTS if part.startswith(incomplete)]


@app.command()
def bench(
    parts: Annotated[
        list[str] | None,
        typer.Argument(
            help="What to measure: `epoch`, `grid`, `xla`, `memory`, `seeds`, `run`, `sweep`; if none is named, all.",
            metavar="PART",
            autocompletion=_bench_parts,
        ),
    ] = None,
    *,
    mnist: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where MNIST lies; else it is found or downloaded as by `dataset=mnist`.",
            autocompletion=_paths,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where results go; those of other parts, from earlier, stay there. [default: experiments/performance]",
            autocompletion=_paths,
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Threads of TensorFlow and NumPy; else one per core.")
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=1, metavar="N", help="How often `run` and `sweep` repeat whole commands.")
    ] = 3,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only see that it works, in a few minutes, on small data.")
    ] = False,
) -> None:
    """Measure Trainyard beside plain Keras, in turns: epochs, whole runs and sweeps, memory, and the ratios."""
    from trainyard.cli.bench import bench_command

    with _exit_codes():
        bench_command(parts or [], mnist=mnist, out=out, threads=threads, rounds=rounds, quick=quick)


data_app = typer.Typer(help="List, download and verify data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")


def _published_sets(incomplete: str) -> list[str]:
    from trainyard.cli.data import published_sets

    return [name for name in published_sets() if name.startswith(incomplete)]


Names = Annotated[
    list[str] | None,
    typer.Argument(
        help="Published data sets, such as `mnist`; if none is named, all.",
        metavar="NAME",
        autocompletion=_published_sets,
    ),
]


@data_app.command("list")
def data_list() -> None:
    """List the data sets, and where they lie on this machine."""
    from trainyard.cli.data import list_data

    with _exit_codes():
        list_data()


@data_app.command("fetch")
def data_fetch(names: Names = None) -> None:
    """Download published data sets that are not on this machine yet: `data fetch mnist`."""
    from trainyard.cli.data import fetch_data

    with _exit_codes():
        fetch_data(names or [])


@data_app.command("verify")
def data_verify(names: Names = None) -> None:
    """Check that downloaded data sets are what was published, digest by digest: `data verify mnist`."""
    from trainyard.cli.data import verify_data

    with _exit_codes():
        verify_data(names or [])


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
    uri: Annotated[str | None, typer.Option(metavar="URI", help=f"The store that knows the run; {_ELSE_HERE}.")] = None,
) -> None:
    """Tell what a trained model says of images: `predict RUN_ID digit.png`."""
    from trainyard.cli.predict import predict_command
    from trainyard.imagefiles import Treatment

    with _exit_codes():
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

    with _exit_codes():
        raise typer.Exit(sync_command(folders, to))


@app.command()
def doctor(
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what can be mended; without this nothing is changed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Look for what is wrong on this machine, in its caches and in the store, and say how to mend it."""
    from trainyard.cli.doctor import doctor_command

    with _exit_codes():
        raise typer.Exit(doctor_command(fix=fix, as_json=as_json))


config_app = typer.Typer(
    help="Explain every field of a config: what it takes, its default, what it means.", no_args_is_help=True
)
app.add_typer(config_app, name="config")


def _schema_targets(incomplete: str) -> list[str]:
    from trainyard.cli.config import schema_targets

    return [target for target in schema_targets() if target.startswith(incomplete)]


@config_app.command("schema")
def config_schema(
    form: Annotated[
        Literal["markdown", "json"], typer.Option("--format", help="A page to read, or a JSON Schema for editors.")
    ] = "markdown",
    target: Annotated[
        str,
        typer.Option(
            "--for",
            metavar="KIND",
            help="What the JSON Schema checks: a `recipe`, the `config` of a run, or files of a group, as `optimizer`.",
            autocompletion=_schema_targets,
        ),
    ] = "recipe",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write this file; else print.", autocompletion=_paths)
    ] = None,
) -> None:
    """Print a reference of every field, or a JSON Schema for editors; your plugins and `./conf` are in it too."""
    from trainyard.cli.config import show_schema

    with _exit_codes():
        show_schema(form, target, out)


@app.command()
def completion(
    shell: Annotated[
        Literal["bash", "zsh", "fish"], typer.Argument(help="The shell that you type in.", metavar="SHELL")
    ],
) -> None:
    """Print a script that completes commands and overrides on Tab: `eval "$(trainyard completion bash)"`."""
    from trainyard.cli.completion import SCRIPTS

    typer.echo(SCRIPTS[shell].strip())


@app.command("complete-words", hidden=True)
def complete_words(
    shell: Literal["bash", "zsh", "fish"], line: str, breaks: Annotated[str, typer.Argument()] = ""
) -> None:
    """Answer the script of `completion`: what the last word of a line may become."""
    from trainyard.cli.completion import complete_line

    with contextlib.suppress(Exception):  # half a line is no mistake, and nobody reads an error between two keys
        for word in complete_line(typer.main.get_command(app), shell, line, breaks):
            typer.echo(word)
