"""``trainyard train --help``: the groups and what can be chosen in each, the fields with their defaults, the flags."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from trainyard.compose import compose_config, dump_config
from trainyard.conffiles import choices, groups

_FLAGS = {
    "--cfg job": "Print the composed config and stop.",
    "--config-dir DIR": "Look for configs in DIR too; ./conf is looked at anyway.",
    "--multirun, -m": "Run every combination of the values: optimizer.learning_rate=1e-3,1e-4",
    "--help": "Print this.",
    "--hydra-help": "The flags that Hydra adds to these.",
}


def print_train_help(config_dir: Path | None) -> None:
    """Prints the help of ``trainyard train``.

    Args:
        config_dir: A further folder with configs, whose choices are listed too.
    """
    console = Console(soft_wrap=True, highlight=False)

    def title(text: str) -> None:
        console.print(Text(f"\n{text}", style="bold"))

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
