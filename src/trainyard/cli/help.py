"""The help texts of ``trainyard train`` and ``sweep``: groups and choices, fields and defaults, flags."""

from __future__ import annotations

from functools import partial
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
    """Prints the help of ``trainyard sweep``.

    Args:
        config_dir: An additional folder with configs, whose sweeps are listed too.
    """
    console = Console(soft_wrap=True, highlight=False)
    title = partial(_print_title, console)
    console.print(Text("Usage: trainyard sweep [FLAGS] [OVERRIDES]", style="bold"))
    console.print(
        "\nTrain every combination of several values in parallel. Each trial runs in a separate process, so a failure "
        "does\nnot stop the others. To resume an interrupted sweep, run the same command again."
    )
    title("Examples")
    for example in (
        "sweep=widths",
        "experiment=quickstart optimizer.learning_rate=0.01,0.003,0.001",
        "experiment=mnist_baseline sweep.objective=off model.hidden_units='[300,200,100],[512,256]' seed='range(0,5)'",
        "model=mlp,cnn dataset.validation_fraction=0.1 sweep.seeds=5",
    ):
        console.print(Text(f"  trainyard sweep {example}"))
    title("Values to sweep (assign several values to a group or a field)")
    console.print(
        Text("  1,2,3   [64],[64,32]   range(1,10)   choice(a,b)   shuffle(...)   glob(*)   (Hydra's grammar)")
    )
    console.print(Text(f"  sweep=NAME, a file in conf/sweep: {', '.join(list_choices('sweep', config_dir))}"))
    title("Settings of the sweep (defaults: trainyard config schema)")
    for field, meaning in _SWEEP_FIELDS.items():
        console.print(Text(f"  {field:35}{meaning}"))
    title("Flags")
    for flag, meaning in _SWEEP_FLAGS.items():
        console.print(Text(f"  {flag:18}{meaning}"))
    console.print("\nFor all groups and fields: trainyard train --help.")


def print_train_help(config_dir: Path | None) -> None:
    """Prints the help of ``trainyard train``.

    Args:
        config_dir: An additional folder with configs, whose choices are listed too.
    """
    console = Console(soft_wrap=True, highlight=False)
    title = partial(_print_title, console)
    console.print(Text("Usage: trainyard train [FLAGS] [OVERRIDES]", style="bold"))
    console.print("\nTrain one model from a config, evaluate it on the test images, and log everything to MLflow.")
    title("Examples")
    console.print(Text("  trainyard train experiment=quickstart"))
    console.print(Text("  trainyard train experiment=mnist_baseline seed=1"))
    console.print(
        Text("  trainyard train dataset=mnist model.hidden_units='[512,256]' optimizer=sgd training.epochs=3")
    )
    title("Groups (choose one option of each: group=name)")
    for group in list_groups(config_dir):
        console.print(Text(f"  {group + ':':14}{', '.join(list_choices(group, config_dir))}"))
    title("Fields and their defaults (set a field by its path: training.epochs=5)")
    for line in dump_config(compose_config(config_dir=config_dir)).splitlines():
        console.print(Text(f"  {line}"))
    console.print("\nFor the meaning and range of every field: trainyard config schema, or docs/config.md.")
    title("Flags")
    for flag, meaning in _FLAGS.items():
        console.print(Text(f"  {flag:18}{meaning}"))


def _print_title(console: Console, text: str) -> None:
    """Prints the title of a section in bold, after an empty line."""
    console.print(Text(f"\n{text}", style="bold"))
