"""``trainyard sync``: uploads runs from their folders to the tracking store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trainyard.errors import TrainyardError
from trainyard.system import print_error, print_next_steps, print_styled


def sync(
    folders: Annotated[
        list[Path], typer.Argument(help="Run folders, or folders that contain run folders.", metavar="RUN_FOLDER")
    ],
    to: Annotated[
        str | None, typer.Option(metavar="URI", help="Tracking store. [default: the one in the config of each run]")
    ] = None,
) -> int:
    """Upload runs that are missing or incomplete in the tracking store.

    Examples:
      trainyard sync outputs
      trainyard sync outputs --to http://host:5000
    """
    from trainyard.config import prepare_hydra
    from trainyard.runs import LiveRunError, build_store_command, find_run_folders, sync_run
    from trainyard.tracking import TrackingStore

    store = None if to is None else TrackingStore.from_option(to, "--to")
    run_folders = {run_folder: run_folder in folders for folder in folders for run_folder in find_run_folders(folder)}
    prepare_hydra()
    code, notices, uri = 0, set[str](), None
    for folder, named in run_folders.items():
        try:
            synced = sync_run(folder, store)
        except TrainyardError as error:
            if isinstance(error, LiveRunError) and not named:
                print_styled(str(error))
                continue
            print_error(error)
            code = 1
        else:
            outcome = "uploaded to" if synced.uploaded else "already in"
            gap = " The disk was full during the run: some data is missing." if synced.has_gap else ""
            for notice in set(synced.notices) - notices:
                print_styled(notice)
            notices.update(synced.notices)
            print_styled(f"{folder}: {synced.status}, {outcome} {synced.uri} as run {synced.run_id}{gap}")
            uri = synced.uri
    print_next_steps({"see it": build_store_command("ui", uri=uri)} if uri else {})
    return code
