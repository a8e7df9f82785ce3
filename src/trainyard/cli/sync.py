"""``trainyard sync``: runs from their folders into the tracking store, once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import typer

from trainyard.cli.screen import print_error
from trainyard.config.search_path import prepare_hydra
from trainyard.errors import ConfigError, TrainyardError
from trainyard.runs.sync import LiveRunError, find_runs, sync_run
from trainyard.system.uris import absolute_uri, uri_problem


def sync_command(paths: Sequence[Path], to: str | None) -> int:
    """Uploads runs, and says of each where it is.

    Args:
        paths: Folders of runs, or folders with such folders in them.
        to: The tracking URI, or None for the store that each run was meant for.

    Returns:
        The exit code: 1 if a run could not be uploaded, or one that was named still goes on; the others were.

    Raises:
        ConfigError: If a folder holds no run, or the URI is none; nothing was uploaded.
    """
    if to is not None:
        if problem := uri_problem(to):
            raise ConfigError(f"--to: {problem}")
        to = absolute_uri(to, Path.cwd())
    folders = {folder: folder in paths for path in paths for folder in find_runs(path)}
    prepare_hydra()
    code = 0
    for folder, named in folders.items():
        try:
            synced = sync_run(folder, to, os.environ)
        except LiveRunError as error:
            if named:
                print_error(error)
                code = 1
            else:
                typer.echo(str(error))
        except TrainyardError as error:
            print_error(error)
            code = 1
        else:
            did = "uploaded to" if synced.uploaded else "is already in"
            gap = " The disk was full while it ran: some of it is missing." if synced.has_gap else ""
            typer.echo(f"{folder}: {synced.status}, {did} {synced.uri} as run {synced.run_id}{gap}")
    return code
