"""The help texts of ``trainyard train`` and ``sweep``: groups and choices, fields and defaults, flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from trainyard.config import compose_config, dump_config, list_choices, list_groups

_FLAGS = {
    "--cfg job": "Print the composed config and exit.",
    "--config-dir DIR": "Search DIR for configs as well; ./conf is always searched.",
    "--multirun, -m": "Run every combination of the given values, like trainyard sweep.",
    "--help": "Show this message and exit.",
    "--hydra-help": "Show Hydra's own flags and exit.",
}

_SWEEP_FLAGS = {
    "--plan": "Check and print all trials, but do not start them.",
    "--status [NAME]": "Show the status of the sweeps in this folder, or of the trials of one sweep.",
    "--fresh": "Start over; earlier files are kept in another folder. Without it, an interrupted sweep resumes.",
    "--config-dir DIR": "Search DIR for configs as well; ./conf is always searched.",
    "--help": "Show this message and exit.",
}

_SWEEP_EXAMPLES = (
    "sweep=widths",
    "experiment=quickstart optimizer.learning_rate=0.01,0.003,0.001",
    "experiment=mnist_baseline sweep.objective=off model.hidden_units='[300,200,100],[512,256]' seed='range(0,5)'",
    "model=mlp,cnn dataset.validation_fraction=0.1 sweep.seeds=5",
)

_SWEEP_FIELDS = {
    "sweep.objective": "metric that ranks the trials: accuracy/val or loss/val; off disables the ranking",
    "sweep.seeds": "number of seeds per point; more seeds make the ranking more reliable",
    "sweep.on_error": "what to do when a trial fails: continue or stop",
    "sweep.retries": "number of times that a failed trial is retried",
    "sweep.max_failures": "number of failed trials after which no other trial starts",
    "hydra.launcher.n_jobs": "number of trials that run in parallel; default: one per GPU, or per core",
    "hydra.launcher.time_limit_seconds": "time limit of a trial, in seconds",
}


def print_sweep_help(config_dir: Path | None) -> None:
    """Prints the help of ``trainyard sweep``, with the sweeps in an additional config folder."""
    sections = {
        "Examples": [f"trainyard sweep {example}" for example in _SWEEP_EXAMPLES],
        "Values to sweep (assign several values to a group or a field)": [
            "1,2,3   [64],[64,32]   range(1,10)   choice(a,b)   shuffle(...)   glob(*)   (Hydra's grammar)",
            f"sweep=NAME, a file in conf/sweep: {', '.join(list_choices('sweep', config_dir))}",
        ],
        "Settings of the sweep (defaults: trainyard config schema)": [
            f"{field:35}{meaning}" for field, meaning in _SWEEP_FIELDS.items()
        ],
        "Flags": [
            *(f"{flag:18}{meaning}" for flag, meaning in _SWEEP_FLAGS.items()),
            "\nFor all groups and fields: trainyard train --help.",
        ],
    }
    _print_help(
        "sweep",
        "Train every combination of several values in parallel. Each trial runs in a separate process, so a failure "
        "does\nnot stop the others. To resume an interrupted sweep, run the same command again.",
        sections,
    )


def print_train_help(config_dir: Path | None) -> None:
    """Prints the help of ``trainyard train``, with the choices in an additional config folder."""
    sections = {
        "Examples": [
            "trainyard train experiment=quickstart",
            "trainyard train experiment=mnist_baseline seed=1",
            "trainyard train dataset=mnist model.hidden_units='[512,256]' optimizer=sgd training.epochs=3",
        ],
        "Groups (choose one option of each: group=name)": [
            f"{group + ':':14}{', '.join(list_choices(group, config_dir))}" for group in list_groups(config_dir)
        ],
        "Fields and their defaults (set a field by its path: training.epochs=5)": [
            *dump_config(compose_config(config_dir=config_dir)).splitlines(),
            "\nFor the meaning and range of every field: trainyard config schema, or docs/config.md.",
        ],
        "Flags": [f"{flag:18}{meaning}" for flag, meaning in _FLAGS.items()],
    }
    _print_help(
        "train",
        "Train one model from a config, evaluate it on the test images, and log everything to MLflow.",
        sections,
    )


def _print_help(command: str, summary: str, sections: Mapping[str, Sequence[str]]) -> None:
    """Prints a help text. `sections` are the lines by title; lines are indented unless they start a paragraph."""
    console = Console(soft_wrap=True, highlight=False)
    console.print(Text(f"Usage: trainyard {command} [FLAGS] [OVERRIDES]", style="bold"))
    console.print(Text(f"\n{summary}"))
    for title, lines in sections.items():
        console.print(Text(f"\n{title}", style="bold"))
        for line in lines:
            console.print(Text(line if line.startswith("\n") else f"  {line}"))
