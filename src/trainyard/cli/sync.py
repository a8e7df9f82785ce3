"""``trainyard sync``: uploads runs from their folders to the tracking store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from trainyard.cli.terminal import print_error
from trainyard.config import prepare_hydra
from trainyard.errors import TrainyardError
from trainyard.runs import LiveRunError, find_run_folders, sync_run
from trainyard.tracking import TrackingStore


def sync_command(paths: Sequence[Path], to: str | None) -> int:
    """Uploads runs that are not in the tracking store yet, and prints the location of each run.

    Args:
        paths: Run folders, or folders that contain run folders.
        to: The tracking URI; None uses the store that each run was configured for.

    Returns:
        The exit code: 1 if a run could not be uploaded, or a run named in `paths` is still running. All other runs
        are uploaded.

    Raises:
        ConfigError: If a folder contains no run, or the URI is invalid; nothing was uploaded.
    """
    store = None if to is None else TrackingStore.from_option(to, "--to")
    folders = {folder: folder in paths for path in paths for folder in find_run_folders(path)}
    prepare_hydra()
    code = 0
    for folder, named in folders.items():
        try:
            synced = sync_run(folder, store)
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
            outcome = "uploaded to" if synced.uploaded else "already in"
            gap = " The disk was full during the run: some data is missing." if synced.has_gap else ""
            typer.echo(f"{folder}: {synced.status}, {outcome} {synced.uri} as run {synced.run_id}{gap}")
    return code
