"""The commands whose arguments are parsed by Hydra. Their modules are imported only when they are run."""

from __future__ import annotations

import typer


def train(context: typer.Context) -> int:
    """Train one model from a config, and log everything to MLflow."""
    from trainyard.cli.train import train_command

    return train_command(context.args)


def sweep(context: typer.Context) -> int:
    """Train every combination of several values in parallel, or resume an interrupted sweep."""
    from trainyard.cli.sweep.command import sweep_command

    return sweep_command(context.args)
