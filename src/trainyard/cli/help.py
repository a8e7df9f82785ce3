"""The help of ``trainyard train`` and ``sweep``: what can be chosen, the fields with their defaults, the flags."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

from trainyard.config.compose import compose_config, dump_config
from trainyard.config.search_path import choices, groups

_FLAGS = {
    "--cfg job": "Print the composed config and stop.",
    "--config-dir DIR": "Look for configs in DIR too; ./conf is looked at anyway.",
    "--multirun, -m": "Run every combination of the values, as trainyard sweep does.",
    "--help": "Print this.",
    "--hydra-help": "The flags that Hydra adds to these.",
}


_SWEEP_FLAGS = {
    "--plan": "Print all trials, checked, and start none.",
    "--status [NAME]": "Tell how the sweeps of this folder stand, or the trials of one, also while it runs.",
    "--fresh": "Begin anew; what was there is kept aside. Else the same command goes on where it was ended.",
    "--config-dir DIR": "Look for configs in DIR too; ./conf is looked at anyway.",
    "--help": "Print this.",
}

_SWEEP_FIELDS = {
    "sweep.objective": "accuracy/val, loss/val, or off: nothing is compared",
    "sweep.seeds": "repeat each point with so many seeds, and tell what is chance",
    "sweep.on_error": "continue or stop, when a trial fails",
    "sweep.retries": "how often a failed trial is tried again",
    "sweep.max_failures": "after so many failed trials no other starts",
    "hydra.launcher.n_jobs": "how many trials run side by side; else one per GPU, or per core",
    "hydra.launcher.time_limit_seconds": "how long a trial may take",
}


def print_sweep_help(config_dir: Path | None) -> None:
    """Prints the help of ``trainyard sweep``.

    Args:
        config_dir: A further folder with configs, whose sweeps are listed too.
    """
    console = Console(soft_wrap=True, highlight=False)
    title = partial(_print_title, console)
    console.print(Text("Usage: trainyard sweep [FLAGS] [OVERRIDES]", style="bold"))
    console.print(
        "\nTrain every combination of several values, each in a process of its own, side by side. A trial that fails "
        "costs\nthat trial; a sweep that was ended goes on when the same command is given again."
    )
    title("Examples")
    for example in (
        "sweep=widths",
        "experiment=quickstart optimizer.learning_rate=0.01,0.003,0.001",
        "experiment=mnist_baseline sweep.objective=off model.hidden_units='[300,200,100],[512,256]' seed='range(0,5)'",
        "model=mlp,cnn dataset.validation_fraction=0.1 sweep.seeds=5",
    ):
        console.print(Text(f"  trainyard sweep {example}"))
    title("What is swept (a group or field with several values)")
    console.print(
        Text("  1,2,3   [64],[64,32]   range(1,10)   choice(a,b)   shuffle(...)   glob(*)   as in Hydra's grammar")
    )
    console.print(Text(f"  sweep=NAME, a file in conf/sweep: {', '.join(choices('sweep', config_dir))}"))
    title("How it is run (defaults: trainyard config schema)")
    for field, meaning in _SWEEP_FIELDS.items():
        console.print(Text(f"  {field:35}{meaning}"))
    title("Flags")
    for flag, meaning in _SWEEP_FLAGS.items():
        console.print(Text(f"  {flag:18}{meaning}"))
    console.print("\nAll groups and fields: trainyard train --help.")


def print_train_help(config_dir: Path | None) -> None:
    """Prints the help of ``trainyard train``.

    Args:
        config_dir: A further folder with configs, whose choices are listed too.
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
    title("Groups (choose one of each: group=name)")
    for group in groups(config_dir):
        console.print(Text(f"  {group + ':':14}{', '.join(choices(group, config_dir))}"))
    title("Fields, with what they are when nothing is said (change one by its path: training.epochs=5)")
    for line in dump_config(compose_config(config_dir=config_dir)).splitlines():
        console.print(Text(f"  {line}"))
    console.print("\nWhat each field takes and means: trainyard config schema, or docs/config.md.")
    title("Flags")
    for flag, meaning in _FLAGS.items():
        console.print(Text(f"  {flag:18}{meaning}"))


def _print_title(console: Console, text: str) -> None:
    console.print(Text(f"\n{text}", style="bold"))
